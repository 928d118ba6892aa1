// The difference of two texts, word by word.

const LONGEST_TABLE = 9000000;
const ISLAND = 2;

/** Words with the white space that follows them. */
function words(text) {
  return text.match(/\s+|\S+\s*/g) || [];
}

/**
 * Runs of ["same" | "gone" | "come", text] that lead from one text to the other: a longest common
 * subsequence of words. White space after a word is not compared. Texts too long for the table
 * are taken as wholly different between what they begin and end with in common.
 */
function difference(before, after) {
  const a = words(before), b = words(after);
  const key = (word) => word.trim();
  let start = 0;
  while (start < a.length && start < b.length && key(a[start]) === key(b[start])) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && key(a[a.length - 1 - end]) === key(b[b.length - 1 - end])) end += 1;
  const steps = [];
  for (let i = 0; i < start; i += 1) steps.push(["same", b[i], a[i]]);
  steps.push(...middle(a.slice(start, a.length - end), b.slice(start, b.length - end), key));
  for (let i = end; i > 0; i -= 1) steps.push(["same", b[b.length - i], a[a.length - i]]);
  return runs(whole(steps));
}

function middle(a, b, key) {
  const gone = a.map((word) => ["gone", word]), come = b.map((word) => ["come", word]);
  if (!a.length || !b.length || a.length * b.length > LONGEST_TABLE) return [...gone, ...come];
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  const x = a.map(key), y = b.map(key);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = x[i] === y[j]
        ? lengths[(i + 1) * width + j + 1] + 1
        : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const steps = [];
  let i = 0, j = 0;
  while (i < a.length && j < b.length) {
    if (x[i] === y[j]) steps.push(["same", b[j], a[i]]), i += 1, j += 1;
    else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) steps.push(gone[i]), i += 1;
    else steps.push(come[j]), j += 1;
  }
  return [...steps, ...gone.slice(i), ...come.slice(j)];
}

/**
 * The same steps, without islands: a word or two kept by chance between two larger changes are
 * taken as changed too, since nobody reads a sentence around them.
 */
function whole(steps) {
  const changed = (from, by) => {
    const seen = { gone: 0, come: 0 };
    let i = from;
    for (; i >= 0 && i < steps.length && steps[i][0] !== "same"; i += by) seen[steps[i][0]] += 1;
    return Math.max(seen.gone, seen.come);
  };
  const made = [];
  for (let i = 0; i < steps.length;) {
    let end = i;
    while (end < steps.length && (steps[end][0] === "same") === (steps[i][0] === "same")) end += 1;
    const run = steps.slice(i, end);
    const island = run[0][0] === "same" && run.length <= ISLAND && changed(i - 1, -1) > run.length && changed(end, 1) > run.length;
    made.push(...(island ? run.flatMap(([, b, a]) => [["gone", a], ["come", b]]) : run));
    i = end;
  }
  return made;
}

/** Neighbours of one kind put together; within a change, what is gone comes first. */
function runs(steps) {
  const made = [];
  let gone = "", come = "";
  const change = () => {
    if (gone) made.push(["gone", gone]);
    if (come) made.push(["come", come]);
    gone = come = "";
  };
  for (const [kind, word] of steps) {
    if (kind === "gone") gone += word;
    else if (kind === "come") come += word;
    else {
      change();
      if (made.length && made[made.length - 1][0] === "same") made[made.length - 1][1] += word;
      else made.push(["same", word]);
    }
  }
  change();
  return made;
}

/** A revision beside the text that it revises. */
function revised(before, after) {
  const names = { gone: "del", come: "ins" };
  const parts = difference(plain(before), plain(after)).map(([kind, text]) => {
    if (kind === "same") return visible(text);
    const said = element("span", { class: "unseen" }, kind === "gone" ? "[gone: " : "[new: ");
    return element(names[kind], null, said, visible(text), element("span", { class: "unseen" }, "] "));
  });
  return [element("p", { class: "text", dir: "auto" }, element("bdi", null, parts)), missing(after)];
}
