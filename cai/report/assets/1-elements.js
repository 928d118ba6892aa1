"use strict";
// Elements and text. Text of the dataset reaches the page here and only here, as text nodes.

/** An element with attributes and children; a child that is a string becomes a text node. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** The same for SVG. */
function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Controls, marks of writing direction, characters of no width, line separators, private ones. Joiners
// are left alone after other than ASCII: emoji and many scripts are written with them.
const UNSEEN = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f]|(?<=^|[\u0000-\u007f])[\u200c\u200d]|[\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\ufffe\uffff\ue000-\uf8ff]|[\u{e0000}-\u{e0fff}])/u;

/** Nodes that show a string: what cannot be seen is written as its number. */
function visible(string) {
  return string.split(UNSEEN).filter((part) => part !== "").map((part) => {
    if (!UNSEEN.test(part)) return document.createTextNode(part);
    const number = part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return element("span", { class: "code", title: "a character that cannot be seen" }, `U+${number}`);
  });
}

/** A text of the dataset: a string, or a string and how many characters were left out. */
function plain(text) {
  return Array.isArray(text) ? text[0] : text;
}

/** What was left out of a text, in words. */
function missing(text) {
  if (!Array.isArray(text)) return null;
  return element("p", { class: "note" }, `${text[1].toLocaleString("en")} more characters: see the command above.`);
}

/** A text of the dataset as a block, apart from the direction of what is around it. */
function block(text) {
  return [element("p", { class: "text", dir: "auto" }, element("bdi", null, visible(plain(text)))), missing(text)];
}

function percent(value, digits = 0) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)} %`;
}

function probability(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}
