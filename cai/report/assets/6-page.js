// The page: theme, content warning, printing; starts the rest.

class Page {
  constructor() {
    this.data = JSON.parse(document.getElementById("data").textContent);
    this.blank = Object.fromEntries(CHOICES.map((name) => [name, ""]));
    this.shown = false;
    this.live = document.getElementById("count");
    for (const button of document.querySelectorAll("[data-show-texts]")) button.addEventListener("click", () => this.show(!this.shown));
    document.getElementById("theme").addEventListener("click", () => this.turn());
    for (const place of document.querySelectorAll("[data-command]")) {
      place.replaceWith(command(place.textContent, this));
    }
    window.addEventListener("beforeprint", () => this.unfold());
    window.addEventListener("afterprint", () => { for (const item of this.unfolded || []) item.open = false; });
    for (const place of document.querySelectorAll("[data-scripted]")) place.hidden = false;
    if (this.data.rows.length) {
      this.rows = new Rows(this);
      this.rows.follow();
    }
    for (const link of document.querySelectorAll('main a[href^="#"][href*="="]')) this.count(link);
  }

  /** Say beside a link to a group of rows how many of them stand on this page; not all do. */
  count(link) {
    const choice = readChoice(link.hash);
    if (choice.row || !Object.values(choice).some(Boolean)) return;
    const found = chosen(this.data, choice, false).length;
    link.after(element("span", { class: "quiet on-page" }, ` ${found.toLocaleString("en")} shown here`));
  }

  say(text) {
    if (this.live) this.live.textContent = text;
  }

  /** Show the texts, or hide them again; it holds until the page is closed. */
  show(shown = true) {
    this.shown = shown;
    for (const button of document.querySelectorAll("[data-show-texts]")) {
      button.textContent = shown ? "Hide texts" : "Show texts";
      button.setAttribute("aria-pressed", String(shown));
    }
    for (const place of document.querySelectorAll("[data-text]")) {
      const text = this.data.texts[Number(place.dataset.text)];
      place.replaceChildren(...(shown ? [element("bdi", null, visible(text))] : [document.createTextNode("hidden")]));
    }
    const sought = document.getElementById("sought");
    if (sought) sought.textContent = shown ? "Search ids, names and texts" : "Search ids and names";
    if (this.rows) this.rows.draw();
  }

  /** From the system's colours to light, to dark, and back. */
  turn() {
    const next = { "": "light", light: "dark", dark: "" }[document.documentElement.dataset.theme || ""];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    document.getElementById("theme").textContent = `Colours: ${next || "system"}`;
  }

  unfold() {
    this.unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const item of this.unfolded) item.open = true;
  }
}

new Page();
