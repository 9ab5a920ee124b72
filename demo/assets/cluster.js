// The cluster beside the map: one card per node with its kill and restart button, the counters, and what happened.
// Shows what /live says; must not know players.

import { count, duration, make, nodeClass, refill, setAttribute, setText } from "./dom.js";

const EVENTS_SHOWN = 60;

export class NodeList {
  /** `control(action, node)` resolves when the demo has done it, and rejects with what it said. */
  constructor(list, control, log) {
    this.list = list;
    this.control = control;
    this.log = log;
    this.cards = new Map();
    this.before = null;
  }

  show(live) {
    refill(this.list, live.nodes.map((node) => node.name).join(" "), () => {
      this.cards = new Map(live.nodes.map((node) => [node.name, this.card(node.name)]));
      return [...this.cards.values()].map((card) => card.item);
    });
    const owned = new Map();
    for (const owner of Object.values(live.owners)) owned.set(owner, (owned.get(owner) ?? 0) + 1);
    for (const node of live.nodes) this.showNode(this.cards.get(node.name), node, owned.get(node.name) ?? 0, live);
    if (this.before) this.tellChanges(this.before, live);
    this.before = live;
  }

  card(name) {
    const parts = {
      swatch: make("span", { class: "swatch" }),
      state: make("span", { class: "node-state" }),
      rooms: make("span", { class: "node-rooms" }),
      button: make("button", { type: "button" }),
    };
    parts.button.onclick = () => this.press(name, parts.button);
    const text = make("div", { class: "node-text" }, make("strong", {}, name), parts.state, parts.rooms);
    return { item: make("li", { class: "node" }, parts.swatch, text, parts.button), ...parts };
  }

  showNode(card, node, rooms, live) {
    setAttribute(card.swatch, "class", `swatch ${nodeClass(live.nodes, node.name)}`);
    setAttribute(card.item, "class", node.up ? "node" : "node down");
    setText(card.state, `${node.region} · ${node.up ? node.address : "killed"}`);
    setText(card.rooms, rooms === 1 ? "1 sector" : `${rooms} sectors`);
    setText(card.button, node.up ? "Kill" : "Restart");
    setAttribute(card.button, "class", node.up ? "danger" : "primary");
    setAttribute(card.button, "aria-label", `${node.up ? "Kill" : "Restart"} node ${node.name}`);
    card.up = node.up;
  }

  async press(name, button) {
    const action = this.cards.get(name).up ? "kill" : "restart";
    button.disabled = true;
    try {
      await this.control(action, name);
    } catch (problem) {
      this.log.add(`Could not ${action} ${name}: ${problem.message}`, "bad");
    }
    button.disabled = false;
  }

  tellChanges(before, live) {
    const wasUp = new Map(before.nodes.map((node) => [node.name, node.up]));
    for (const { name, up } of live.nodes) {
      if (wasUp.get(name) && !up) this.log.add(`${name} was killed`, "bad");
      if (wasUp.get(name) === false && up) this.log.add(`${name} is back, as a new life`, "good");
    }
    const gained = new Map();
    for (const [sector, owner] of Object.entries(live.owners)) {
      if (owner && before.owners[sector] !== owner) gained.set(owner, (gained.get(owner) ?? 0) + 1);
    }
    for (const [owner, sectors] of gained) {
      this.log.add(`${owner} took over ${sectors === 1 ? "1 sector" : `${sectors} sectors`}`, "info");
    }
    if (live.counters.failover_ms && live.counters.failover_ms !== before.counters.failover_ms) {
      this.log.add(`Failed over in ${duration(live.counters.failover_ms)}`, "good");
    }
  }
}

export class Counters {
  /** `root` holds one element with `data-counter` per counter. */
  constructor(root) {
    this.values = [...root.querySelectorAll("[data-counter]")];
  }

  show(counters) {
    for (const element of this.values) {
      const value = counters[element.dataset.counter];
      const isTime = element.dataset.counter.endsWith("_ms");
      setText(element, !Number.isFinite(value) || (isTime && value === 0) ? "–" : isTime ? duration(value) : count(value));
      if (element.dataset.good === "zero") setAttribute(element, "class", value ? "value bad" : "value good");
    }
  }
}

export class EventLog {
  constructor(list) {
    this.list = list;
  }

  /** `tone`: good | bad | info. The newest comes first. */
  add(text, tone) {
    const time = new Date().toLocaleTimeString("en-GB");
    this.list.prepend(make("li", { class: tone }, make("time", {}, time), make("span", {}, text)));
    while (this.list.children.length > EVENTS_SHOWN) this.list.lastChild.remove();
  }
}
