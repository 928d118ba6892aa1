// The table of rows: filters, order, opening; the keyboard.

const FIRST_ROWS = 25;
const STEP = 100;

/** The table of rows of a page. */
class Rows {
  constructor(page) {
    this.page = page;
    this.data = page.data;
    this.choice = { ...page.blank };
    this.length = FIRST_ROWS;
    this.body = document.querySelector("#rows-table tbody");
    this.more = document.getElementById("more-rows");
    this.controls = Object.fromEntries(["list", "subset", "principle", "flag", "q"].map((name) => [name, document.getElementById(`choose-${name}`)]));
    for (const [name, control] of Object.entries(this.controls)) {
      control.addEventListener(name === "q" ? "input" : "change", () => this.choose({ [name]: control.value, row: "" }));
    }
    for (const button of document.querySelectorAll("#rows-table thead button")) {
      button.addEventListener("click", () => this.sort(button.dataset.sort));
    }
    document.getElementById("clear").addEventListener("click", () => { this.choose(this.page.blank); this.controls.list.focus(); });
    this.more.addEventListener("click", () => this.lengthen());
    this.body.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.follow());
  }

  /** Do what the address says, where it says anything about rows. */
  follow() {
    if (location.hash && !location.hash.includes("=")) { if (!this.found) this.draw(); return; }
    this.choice = readChoice(location.hash);
    this.draw();
    if (!this.choice.row) {
      if (location.hash) document.getElementById("rows").scrollIntoView();
      return;
    }
    const button = this.button(this.choice.row);
    if (!button) return;
    button.scrollIntoView({ block: "start" });
    button.focus({ preventScroll: true });
  }

  choose(change) {
    this.choice = { ...this.choice, ...change };
    this.length = FIRST_ROWS;
    this.write();
    this.draw();
  }

  write() {
    history.replaceState(null, "", location.pathname + location.search + writeChoice(this.choice));
  }

  sort(name) {
    const now = this.choice.sort;
    const first = name === "row" ? name : `-${name}`, second = name === "row" ? `-${name}` : name;
    this.choose({ sort: now === first ? second : now === second ? "" : first });
  }

  draw() {
    this.found = chosen(this.data, this.choice, this.page.shown);
    const open = this.choice.row;
    if (open && !this.found.some((row) => row.id === open)) {
      const row = this.data.rows.find((item) => item.id === open);
      if (row) this.found = [row, ...this.found];
    }
    this.length = Math.max(this.length, this.found.findIndex((row) => row.id === open) + 1);
    for (const [name, control] of Object.entries(this.controls)) if (control.value !== this.choice[name]) control.value = this.choice[name];
    for (const button of document.querySelectorAll("#rows-table thead button")) this.mark(button);
    const shown = this.found.slice(0, this.length);
    this.body.replaceChildren(...shown.flatMap((row) => this.line(row)));
    this.more.hidden = this.found.length <= this.length;
    const count = `${this.found.length.toLocaleString("en")} of ${this.data.rows.length.toLocaleString("en")} rows`;
    const lost = open && !this.data.rows.some((row) => row.id === open);
    this.page.say(lost ? `Row ${open} is not on this page; type: ${this.data.command} ${open}` : shown.length < this.found.length ? `${count}, the first ${shown.length} shown` : count);
  }

  mark(button) {
    const sort = this.choice.sort, name = button.dataset.sort;
    const state = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
    button.closest("th").setAttribute("aria-sort", state);
    button.querySelector("span").textContent = { ascending: " ↑", descending: " ↓", none: "" }[state];
  }

  line(row) {
    const open = this.choice.row === row.id;
    const name = `${row.subset} ${row.split}${row.line === null ? "" : ` ${row.line}`}`;
    const button = element("button", { type: "button", class: "plain", "data-row": row.id, "aria-expanded": String(open) }, element("bdi", null, visible(name)));
    button.addEventListener("click", () => this.toggle(row.id));
    const last = row.prompt.length ? plain(row.prompt[row.prompt.length - 1][1]) : "";
    const excerpt = this.page.shown ? element("span", { class: "excerpt", dir: "auto" }, element("bdi", null, visible(last.slice(0, 300)))) : null;
    const tags = row.lists.map((list) => element("span", { class: "tag" }, this.data.lists[list] || list));
    const cell = (label, text) => element("td", { class: "number", role: "cell", "data-name": label }, text);
    const line = element("tr", { role: "row", class: open ? "open" : null },
      element("th", { scope: "row", role: "rowheader" }, button, excerpt, element("div", null, tags)),
      cell("AI’s choice", probability(row.ai)),
      cell("Principles for it", row.of ? `${row.for_ai} of ${row.of}` : "–"),
      cell("Orders agree", percent(row.orders)));
    if (!open) return [line];
    const detail = element("td", { class: "detail", colspan: 4, role: "cell" }, opened(row, this.page));
    return [line, element("tr", { class: "about", role: "row" }, detail)];
  }

  button(id) {
    return this.body.querySelector(`button[data-row="${CSS.escape(id)}"]`);
  }

  /** Open a row, or close it; the focus stays on its name. */
  toggle(id) {
    this.choice = { ...this.choice, row: this.choice.row === id ? "" : id };
    this.write();
    this.draw();
    const button = this.button(id);
    if (button) button.focus();
  }

  lengthen() {
    const from = this.length;
    this.length += STEP;
    this.draw();
    const next = this.body.querySelectorAll("button[data-row]")[from];
    if (next) next.focus();
  }

  key(event) {
    const buttons = [...this.body.querySelectorAll("button[data-row]")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "Escape" && this.choice.row) {
      this.toggle(this.choice.row);
    } else if (at >= 0 && ["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) {
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (buttons[to]) buttons[to].focus();
    } else return;
    event.preventDefault();
  }
}
