// One player's bell: what the universe and whoever runs it have told, how much is unread anywhere, what the player wants to
// be told of, and who passes by. Shows the client's bell; must not know frames. Whatever is in it was chosen by somebody: it
// only ever goes in as text, each in a <bdi>.

import { PREFERENCE_KINDS, wordsOf } from "./client.js";
import { make, refill, setText } from "./dom.js";

const ITEMS_SHOWN = 30;
const PASSAGES_SHOWN = 5;

export class BellPanel {
  /** `root` is the bell's part of the pane. */
  constructor(root) {
    const find = (name) => root.querySelector(`[data-bell="${name}"]`);
    const names = ["unread", "read", "why", "list", "kinds", "passages"];
    this.parts = Object.fromEntries(names.map((name) => [name, find(name)]));
    this.client = null;
    this.parts.read.onclick = () => this.markRead();
    this.boxes = PREFERENCE_KINDS.map((kind) =>
      make("input", { type: "checkbox", name: kind, onchange: (event) => this.prefer(kind, event.target) }));
    this.parts.kinds.append(...this.boxes.map((box) => make("label", {}, box, ` ${box.name}`)));
  }

  /** Another client: nothing of the last one's is shown any more. */
  attach(client) {
    this.client = client;
    this.passages = [];
    this.asked = false;
    // Who passed by elsewhere is not of this sector.
    client.onState(({ reason }) => {
      if (reason === "moved" && client === this.client) this.passages = [];
    });
    client.onPassages((passages) => {
      if (client !== this.client) return;
      this.passages = [...this.passages, ...told(passages)].slice(-PASSAGES_SHOWN);
    });
  }

  draw() {
    const { client, parts } = this;
    if (!client?.player || client.state === "left") return;
    this.loadOwn();
    const { unread, items } = client.bell;
    setText(parts.unread, unread > 0 ? String(unread) : "");
    parts.unread.hidden = unread === 0;
    parts.read.hidden = unread === 0;
    const shown = items.slice(-ITEMS_SHOWN).reverse();
    refill(parts.list, shown.map(({ message }) => `${message.msg} ${message.id}`).join(" "), () => shown.map(row));
    refill(parts.passages, JSON.stringify(this.passages), () => this.passages.map((text) => make("li", {}, make("bdi", {}, text))));
    for (const box of this.boxes) if (!box.disabled) box.checked = !client.unwanted.has(box.name);
  }

  /** What this player was told before and has read; once. */
  async loadOwn() {
    const { client } = this;
    const own = `player:${client.player}`;
    if (this.asked || !client.channels.get(own)?.open) return;
    this.asked = true;
    await client.history(own).catch(() => null);
  }

  markRead() {
    const { channels } = this.client;
    for (const { name, unread } of channels.all) if (unread > 0) this.client.markRead(name);
  }

  async prefer(kind, box) {
    box.disabled = true;
    try {
      await this.client.want(kind, box.checked);
      setText(this.parts.why, "");
    } catch (problem) {
      setText(this.parts.why, `Not done: ${problem.message}`);
    }
    box.disabled = false;
  }
}

function row({ channel, message }) {
  const { at, level, notice, event } = message;
  const kind = notice ?? event ?? "announcement";
  return make("li", { "data-level": level }, make("time", { class: "quiet" }, new Date(at).toLocaleTimeString("en-GB")),
    make("bdi", { class: "quiet", "data-told": "level" }, level), make("bdi", { class: "quiet", "data-told": "kind" }, kind),
    make("bdi", { class: "text" }, wordsOf(message)),
    channel.startsWith("player:") ? "" : make("bdi", { class: "quiet" }, channel));
}

function told({ entered, left }) {
  if (typeof entered === "number") return [`${entered} came, ${left} left`];
  return [...entered.map((name) => `${name} came`), ...left.map((name) => `${name} left`)];
}
