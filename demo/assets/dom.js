// Small tools for building the page. All text goes in as text, never as markup: names come from players.

/** `make("button", { class: "x", onclick: f, "aria-pressed": "true" }, "text", child)` */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Touches the page only if something changed: screen readers and selections stay undisturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Replaces the children only when `key` differs from the last call's. */
export function refill(element, key, build) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...build());
}

const thousands = new Intl.NumberFormat("en");

export function count(n) {
  return thousands.format(n);
}

export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

/** A colour class per node, the same in the map, the list and the panes. */
export function nodeClass(nodes, name) {
  const at = nodes.findIndex((node) => node.name === name);
  return at < 0 || !nodes[at].up ? "node-none" : `node-${at % 6}`;
}
