// What joins the regions: the switch that cuts the bridge, and what waits to be carried over each of its links. Shows what
// /live says; must not know players.

import { count, make, refill, setAttribute, setText } from "./dom.js";

export class BridgePanel {
  /** `cut(wanted)` resolves when the nexus was told, and rejects with why it was not. */
  constructor(root, cut, log) {
    const find = (name) => root.querySelector(`[data-bridge="${name}"]`);
    this.parts = Object.fromEntries(["switch", "state", "links"].map((name) => [name, find(name)]));
    this.cut = cut;
    this.log = log;
    this.before = null;
    this.rows = new Map();
    this.parts.switch.onclick = () => this.press();
  }

  /** `bridge` is {cut, hub_up, failure, links: [{link, leader, paused, region_up, items, seconds}]}. */
  show(bridge) {
    const { links, state } = this.parts;
    refill(links, bridge.links.map(({ link }) => link).join(" "), () => {
      this.rows = new Map(bridge.links.map(({ link }) => [link, row(link)]));
      return [...this.rows.values()].map(({ item }) => item);
    });
    for (const link of bridge.links) showLink(this.rows.get(link.link), link, bridge.cut);
    setText(this.parts.switch, bridge.cut ? "Mend the bridge" : "Cut the bridge");
    setAttribute(this.parts.switch, "class", bridge.cut ? "primary" : "danger");
    const wrong = bridge.failure ?? (bridge.hub_up ? null : "redis-nexus does not answer");
    setText(state, wrong ?? (bridge.cut ? "cut: each region goes on by itself" : "stands"));
    setAttribute(state, "class", wrong !== null || bridge.cut ? "bad" : "good");
    if (this.before && this.before.cut !== bridge.cut) {
      this.log.add(bridge.cut ? "The bridge was cut" : "The bridge was mended: what waited is carried now", bridge.cut ? "bad" : "good");
    }
    this.before = bridge;
  }

  async press() {
    const wanted = !this.before?.cut;
    this.parts.switch.disabled = true;
    try {
      await this.cut(wanted);
    } catch (problem) {
      this.log.add(`Could not ${wanted ? "cut" : "mend"} the bridge: ${problem.message}`, "bad");
    }
    this.parts.switch.disabled = false;
  }
}

function row(link) {
  const state = make("span", { class: "quiet", "data-link-part": "state" });
  const lag = make("span", { "data-link-part": "lag" });
  return { item: make("li", { "data-link": link }, make("strong", {}, link), state, lag), state, lag };
}

/** A link is paused in redis-nexus first; it is cut when the nexus has heard of that. */
function showLink({ state, lag }, { leader, paused, region_up: up, items, seconds }, isCut) {
  const led = leader === null ? "nobody leads" : `carried by ${leader}`;
  setText(state, !up ? "region away" : !paused ? led : isCut ? "cut" : "being cut");
  setText(lag, items === 0 ? "no lag" : `lag ${count(items)} ${items === 1 ? "item" : "items"}, ${seconds.toFixed(1)} s`);
  setAttribute(lag, "class", items === 0 ? "good" : "bad");
}
