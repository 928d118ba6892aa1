// One row, opened: what to type, what was said, every judgement, every revision.

const SIDES = { differs: "prefers the other response", agrees: "agrees", tie: "calls it a tie", abstained: "gave no answer" };

/** The whole of an open row. */
function opened(row, page) {
  const parts = [command(`${page.data.command} ${row.id}`, page), facts(row, page)];
  if (page.shown) parts.push(conversation(row), responses(row, page));
  else parts.push(hiddenTexts(page));
  for (const item of row.feedback) parts.push(judged(item, row, page));
  for (const item of row.revisions) parts.push(revision(item, row, page));
  return element("div", null, parts);
}

/** A command to copy. */
function command(text, page) {
  const button = element("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      page.say("Copied.");
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      page.say("Selected; copy it with the keyboard.");
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const code = element("code", null, text);
  return element("div", { class: "command" }, code, button);
}

function facts(row, page) {
  const said = row.label === "unpaired"
    ? "Not compared: there is no human pair here, or it was not judged."
    : `The AI ${SIDES[row.label]}: P(the human's choice is better) = ${probability(row.human)}.`;
  const link = element("a", { href: writeChoice({ ...page.blank, row: row.id }) }, "Link to this row");
  const where = `${row.source}${row.line === null ? "" : `, line ${row.line}`} · row ${row.id}`;
  const flags = [...new Set(rowFlags(row))];
  const harm = row.harm.filter((item) => item[2] !== null).map(([name, , p]) => `${name} ${probability(p)}`);
  return element("div", null,
    element("p", { class: "facts" }, said),
    element("p", { class: "note" }, visible(where), " · ", link),
    flags.length ? element("p", { class: "note" }, "Flags: ", visible(flags.join(", "))) : null,
    harm.length ? element("p", { class: "note" }, "P(harmful): ", visible(harm.join(", "))) : null);
}

function hiddenTexts(page) {
  const button = element("button", { type: "button" }, "Show texts");
  button.addEventListener("click", () => page.show());
  return element("p", { class: "hidden-texts" }, "The texts are hidden; some may be offensive. ", button);
}

function conversation(row) {
  const turns = row.prompt.map(([role, text]) => element("div", { class: "turn" },
    element("span", { class: "who" }, role === "user" ? "Human" : role === "assistant" ? "Assistant" : role), block(text)));
  return [element("h3", null, "Prompt"), ...turns];
}

function responses(row, page) {
  const ai = row.label === "differs" ? "rejected" : row.label === "agrees" ? "chosen" : null;
  const boxes = row.responses.map(([name, text]) => {
    const heads = [element("span", null, visible(name))];
    if (name === "chosen") heads.push(" · ", element("span", { class: "human" }, "the human's choice"));
    if (name === ai) heads.push(" · ", element("span", { class: "ai" }, "the AI's choice"));
    return element("div", { class: "response" }, element("span", { class: "who" }, heads), block(text));
  });
  return [element("h3", null, "Responses"), element("div", { class: "pair" }, boxes)];
}

/** Every judgement of one pair: a line for each principle (and sample), both orders side by side. */
function judged(item, row, page) {
  const names = `${item.first} or ${item.second}`;
  const heads = [["Principle", "words"], [`${item.first} is A`, "number"], [`${item.first} is B`, "number"], ["Mean", "number"], ["0 to 1", "chart"]];
  const lines = new Map();
  for (const [principle, order, p, why, sample] of item.judgements) {
    const key = `${principle} ${sample || 0}`;
    if (!lines.has(key)) lines.set(key, { principle, sample: sample || 0, said: [null, null] });
    lines.get(key).said[order] = p === null ? why : p;
  }
  const body = [...lines.values()].map(({ principle, sample, said }) => {
    const known = said.filter((value) => typeof value === "number");
    const mean = known.length === 2 ? (known[0] + known[1]) / 2 : null;
    const show = (value) => (typeof value === "string" ? `abstained (${value})` : probability(value));
    const cell = (name, value) => element("td", { class: "number", role: "cell", "data-name": name }, value);
    return element("tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, visible(page.data.principles[principle]), sample ? ` (${sample + 1})` : null),
      cell(heads[1][0], show(said[0])), cell(heads[2][0], show(said[1])), cell(heads[3][0], probability(mean)),
      element("td", { class: "chart", role: "cell" }, orders(said)));
  });
  const judge = page.data.judges.length > 1 ? `, by ${item.judge}` : "";
  const heading = item.kind === "human" ? `Judgements of the pair${judge}` : `Judgements: ${names}${judge}`;
  const result = `P(${item.first} is better than ${item.second}) = ${probability(item.p)}; mass on the options ${probability(item.mass)}.`;
  return [
    element("h3", null, visible(heading)),
    element("div", { class: "scroll" }, element("table", { class: "lines", role: "table" },
      element("caption", null, visible(result)),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, heads.map(([name, kind]) => element("th", { scope: "col", role: "columnheader", class: kind }, visible(name))))),
      element("tbody", { role: "rowgroup" }, body))),
    page.shown ? spoken(item, page) : null];
}

/** What the judge said instead of an option, and what it reasoned before it; nothing where it did neither. */
function spoken(item, page) {
  const parts = item.judgements.filter((one) => one.length > 5).map(([principle, order, , , sample, said, reasoning]) =>
    element("div", { class: "turn" },
      element("p", { class: "note" }, visible(`${page.data.principles[principle]}, ${item.first} is ${order ? "B" : "A"}${sample ? ` (${sample + 1})` : ""}`)),
      plain(reasoning) ? [element("span", { class: "who" }, "Reasoned"), block(reasoning)] : null,
      plain(said) ? [element("span", { class: "who" }, "Said instead of an option"), block(said)] : null));
  return parts.length ? element("details", { class: "spoken" }, element("summary", null, "What the judge said and reasoned"), parts) : null;
}

/** Both orders as dots on a line from 0 to 1; hollow where the first was shown as B. */
function orders(values) {
  const at = (value) => (4 + 112 * value).toFixed(1);
  return drawn("svg", { class: "strip", viewBox: "0 0 120 16", "aria-hidden": "true" },
    drawn("line", { x1: 4, x2: 116, y1: 8, y2: 8, class: "axis" }),
    drawn("line", { x1: 60, x2: 60, y1: 2, y2: 14, class: "reference" }),
    ...values.flatMap((value, order) => (typeof value === "number"
      ? [drawn("circle", { cx: at(value), cy: 8, r: 3.5, class: order ? "dot hollow" : "dot" })] : [])));
}

/** Every round of one response's revision: critique, and what it changed. */
function revision(item, row, page) {
  const found = row.responses.find(([name]) => name === item.of);
  let before = item.original !== undefined ? item.original : found ? found[1] : "";
  const rounds = item.rounds.map((round) => {
    const flags = round.flags.map((flag) => element("span", { class: "tag" }, visible(flag)));
    const head = element("p", { class: "note" }, `Round ${round.number}, `, visible(round.principle),
      round.usable ? "" : " · not usable", flags.length ? " · " : "", flags);
    const parts = [head];
    if (page.shown) {
      if (plain(round.critique)) parts.push(element("span", { class: "who" }, "Critique"), block(round.critique));
      parts.push(element("span", { class: "who" }, round.same ? "Revision: unchanged" : "Revision, beside what it revises"));
      if (!round.same) parts.push(revised(before, round.text));
      if (round.usable && !round.same) before = round.text;
    }
    return element("div", { class: "round" }, parts);
  });
  return [element("h3", null, visible(`Revision of ${item.of}`)), ...rounds];
}
