"use strict";
// One pair at a time; answers are kept under the sheet's name and saved as CSV: item, answer.
// Texts reach the page by textContent only.
(() => {
  const { sheet, items } = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const names = ["1", "2", "equal", "both-bad", "skip"];
  const keys = { 1: "1", 2: "2", 3: "equal", 4: "both-bad", 5: "skip" };
  const place = "cai.review." + sheet;
  let index = 0;
  let kept = true;
  let unsaved = false;
  const answers = new Map();

  const recall = () => {
    try {
      const found = JSON.parse(window.localStorage.getItem(place) || "{}");
      for (const { item } of items) if (names.includes(found[item])) answers.set(item, found[item]);
    } catch {
      kept = false;
    }
  };
  const keep = () => {
    try {
      window.localStorage.setItem(place, JSON.stringify(Object.fromEntries(answers)));
    } catch {
      kept = false;
    }
  };
  const turn = ([role, text]) => {
    const made = document.createElement("div");
    made.className = "turn";
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = { user: "Human", assistant: "Assistant", system: "System" }[role] || role;
    const said = document.createElement("div");
    said.dir = "auto";
    said.textContent = text;
    made.append(who, said);
    return made;
  };
  const show = () => {
    const { item, prompt, responses } = items[index];
    at("prompt").replaceChildren(...prompt.map(turn));
    at("prompt").scrollTop = at("prompt").scrollHeight;
    for (const [id, text] of [["one", responses[0]], ["two", responses[1]]]) {
      at(id).textContent = text;
      at(id).scrollTop = 0;
    }
    for (const button of at("choices").children) {
      button.setAttribute("aria-pressed", String(answers.get(item) === button.dataset.answer));
    }
    at("count").textContent = `Pair ${index + 1} of ${items.length}, ${answers.size} answered`;
    at("progress").max = items.length;
    at("progress").value = answers.size;
    at("back").disabled = index === 0;
    at("on").disabled = index === items.length - 1;
    at("open").disabled = answers.size === items.length;
  };
  const go = (to) => {
    index = Math.min(Math.max(to, 0), items.length - 1);
    show();
    window.scrollTo(0, 0);
  };
  const open = () => items.findIndex(({ item }) => !answers.has(item));
  const answer = (name) => {
    answers.set(items[index].item, name);
    unsaved = true;
    keep();
    if (answers.size === items.length) at("state").textContent = "All pairs are answered. Save the answers.";
    else at("state").textContent = kept ? "" : "This browser keeps nothing: save before you close the page.";
    go(index + 1);
  };
  const save = () => {
    const lines = items.map(({ item }) => `${item},${answers.get(item) || ""}`);
    const body = ["item,answer", ...lines, ""].join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([body], { type: "text/csv" }));
    link.download = `answers-${sheet.slice(0, 8)}.csv`;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    at("state").textContent = `Saved ${answers.size} of ${items.length} answers as ${link.download}.`;
  };
  const begin = () => {
    recall();
    at("warning").hidden = true;
    at("item").hidden = false;
    if (!kept) at("state").textContent = "This browser keeps nothing: save before you close the page.";
    go(Math.max(open(), 0));
    at("prompt").focus();
  };

  at("begin").addEventListener("click", begin);
  at("back").addEventListener("click", () => go(index - 1));
  at("on").addEventListener("click", () => go(index + 1));
  at("open").addEventListener("click", () => go(open()));
  at("save").addEventListener("click", save);
  for (const button of at("choices").children) {
    button.addEventListener("click", () => answer(button.dataset.answer));
  }
  document.addEventListener("keydown", (event) => {
    if (at("item").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (keys[event.key]) answer(keys[event.key]);
    else if (event.key === "ArrowLeft") go(index - 1);
    else if (event.key === "ArrowRight") go(index + 1);
    else return;
    event.preventDefault();
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved && !kept) event.preventDefault();
  });
})();
