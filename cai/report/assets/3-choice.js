// Which rows are shown, in which order, and which one is open: all of it stands in the address, after the #.

const CHOICES = ["list", "subset", "principle", "flag", "q", "sort", "row"];
const SORTS = {
  row: (row) => `${row.subset} ${row.split} ${String(row.line || 0).padStart(9, "0")}`,
  ai: (row) => row.ai,
  principles: (row) => (row.of ? row.for_ai / row.of : null),
  orders: (row) => row.orders,
};

/** The choice that an address makes; unknown keys are left alone. */
function readChoice(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return Object.fromEntries(CHOICES.map((name) => [name, given.get(name) || ""]));
}

/** The address of a choice. */
function writeChoice(choice) {
  const made = new URLSearchParams();
  for (const name of CHOICES) if (choice[name]) made.set(name, choice[name]);
  return `#${made}`;
}

/** What a search looks at: names always, texts once they are shown. */
function searched(row, data, withTexts) {
  const names = [row.id, row.source, row.subset, row.split, row.line, ...row.flags, ...row.lists, ...rowFlags(row)];
  for (const number of row.against) names.push(data.principles[number]);
  if (withTexts) {
    for (const [, text] of [...row.prompt, ...row.responses]) names.push(plain(text));
    for (const item of row.revisions) for (const round of item.rounds) names.push(plain(round.critique), plain(round.text));
  }
  return names.join("\n").toLowerCase();
}

function rowFlags(row) {
  return [...row.flags, ...row.revisions.flatMap((item) => item.rounds.flatMap((round) => round.flags))];
}

/** The rows of a choice, in its order. */
function chosen(data, choice, withTexts) {
  const sought = choice.q.toLowerCase().split(/\s+/).filter(Boolean);
  const [how, name] = [choice.principle.slice(0, 1), data.principles.indexOf(choice.principle.slice(2))];
  const found = data.rows.filter((row) =>
    (!choice.list || row.lists.includes(choice.list))
    && (!choice.subset || row.subset === choice.subset)
    && (!choice.principle || (how === "r" ? row.revised : row.against).includes(name))
    && (!choice.flag || rowFlags(row).includes(choice.flag))
    && (!sought.length || ((text) => sought.every((word) => text.includes(word)))(searched(row, data, withTexts))));
  const [sort, down] = [choice.sort.replace("-", ""), choice.sort.startsWith("-") ? -1 : 1];
  const value = Object.hasOwn(SORTS, sort) ? SORTS[sort] : null;
  if (!value) return found;
  return found.map((row) => [value(row), row]).sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return a === b ? 0 : a < b ? -down : down;
  }).map(([, row]) => row);
}
