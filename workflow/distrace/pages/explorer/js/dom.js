// Elements. All text of models goes through textContent: nothing that they write becomes markup.

const byId = (id) => document.getElementById(id);

// Return a new element; a property with a dash, or `role`, becomes an attribute, `on...` a listener.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, v]) => made.style.setProperty(key, v));
    else if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Return a text of a model in an element that keeps its direction to itself.
function isolated(text, properties = {}) {
  return element("bdi", properties, visible(text));
}

const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

// Return a text with its control characters, also those that turn the direction of text, spelt out.
function visible(text) {
  return text.replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}

// Return the UTF-16 offsets of a text's code points, or null if they are the same: artifacts count code points.
function codePointOffsets(text) {
  if (!/[\ud800-\udfff]/.test(text)) return null;
  const offsets = [];
  let offset = 0;
  for (const character of text) {
    offsets.push(offset);
    offset += character.length;
  }
  offsets.push(offset);
  return offsets;
}

// Return the characters `start` to `end` of a text, counted in code points.
function slice(text, offsets, start, end) {
  return offsets ? text.slice(offsets[start], offsets[end]) : text.slice(start, end);
}

const percent = (share, digits = 1) => (Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : "-");
const fixed = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits) : "-");
const signed = (value, digits = 3) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const count = (value, one, many = `${one}s`) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
const verdict = (correct) => (correct === null ? "not judged" : correct ? "right" : "wrong");
const verdictMark = (correct) => (correct === null ? "?" : correct ? "✓" : "✗");

function say(text) {
  byId("status").textContent = text;
}

function fail(error) {
  console.error(error);
  byId("trouble").textContent = error.message;
  byId("trouble").hidden = false;
}
