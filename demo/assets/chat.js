// One player's chat: a tab per channel with how much of it is unread, what was said there, and a line to say something.
// Shows the client's channels; must not know frames. Names and texts are chosen by players: they only ever go in as text,
// each in a <bdi>, so that neither markup nor marks of direction reach beyond it.

import { wordsOf } from "./client.js";
import { make, refill, setText } from "./dom.js";

const MESSAGES_SHOWN = 100;
const WATCHED_MAX = 100;
const REFUSALS = {
  empty: "there is nothing to say",
  too_long: "at most 500 characters",
  not_there: "you are not there any more",
  muted: "you may not say anything for now",
  not_accepted: "this player does not take messages of yours",
  unknown_player: "there is no such player",
  too_many: "no more players can be blocked",
  left: "this player has left",
};

export class ChatPanel {
  /** `root` is the chat's part of the pane. */
  constructor(root) {
    const find = (name) => root.querySelector(`[data-chat="${name}"]`);
    this.parts = Object.fromEntries(["tabs", "earlier", "presence", "block", "list", "line", "text", "why"].map((name) => [name, find(name)]));
    this.client = null;
    const { line, text, earlier, block } = this.parts;
    line.onsubmit = (event) => {
      event.preventDefault();
      this.say(text.value);
    };
    earlier.onclick = () => this.load(this.name, this.before.get(this.name));
    block.onclick = () => this.attempt(() => this.client.block(this.peer, !this.client.blocks.has(this.peer)));
  }

  /** Another client: nothing of the last one's is shown any more. */
  attach(client) {
    this.client = client;
    this.key = "global";
    /** Private channels that were opened here, with the names they were opened under. */
    this.opened = new Map();
    /** Where to ask on, by channel; null: there is nothing before. */
    this.before = new Map();
    this.shown = null;
    this.watched = "";
    client.channels.subscribe(({ kind, channel }) => {
      if (kind === "gap" && client === this.client && client.state !== "left") this.load(channel.name);
    });
  }

  /** Opens what is said between this player and another one. */
  openPrivate(player, name) {
    this.opened.set(`player:${player}`, name);
    this.open(`player:${player}`);
    this.parts.text.focus();
  }

  /** `sector` is the sector's, wherever the player goes. */
  open(key) {
    this.key = key;
    setText(this.parts.why, "");
    this.draw();
  }

  draw() {
    const { client } = this;
    if (!client?.room || client.state === "left") return;
    const { name, peer } = this;
    // A room gives its history to those who are there, and only then.
    const isThere = peer !== null || client.channels.get(name)?.open;
    if (isThere && !this.before.has(name)) this.load(name);
    this.drawTabs();
    this.drawMessages(client.channels.get(name)?.messages ?? []);
    this.watchPeers();
    this.parts.block.hidden = peer === null;
    setText(this.parts.presence, shown(client.presence.get(peer)));
    setText(this.parts.block, client.blocks.has(peer) ? "Unblock" : "Block");
    this.parts.earlier.hidden = !this.before.get(name);
    if (!document.hidden && client.channels.get(name)?.unread > 0) client.markRead(name);
  }

  /** How those are with whom there are private channels. */
  watchPeers() {
    const peers = this.keys().filter((key) => key.startsWith("player:")).map((key) => key.slice("player:".length));
    if (peers.join(" ") !== this.watched) this.client.watch(peers.slice(0, WATCHED_MAX));
    this.watched = peers.join(" ");
  }

  drawTabs() {
    const tabs = this.keys().map((key) => ({
      key,
      label: this.labelOf(key),
      unread: this.client.channels.get(this.nameOf(key))?.unread ?? 0,
      selected: key === this.key,
    }));
    const hadFocus = this.parts.tabs.contains(document.activeElement);
    refill(this.parts.tabs, JSON.stringify(tabs), () => tabs.map(({ key, label, unread, selected }) =>
      make("button", { type: "button", role: "tab", "data-key": key, "aria-selected": String(selected), onclick: () => this.open(key) },
        make("bdi", {}, label), unread > 0 ? make("span", { class: "badge", "aria-label": `${unread} unread` }, String(unread)) : "")));
    if (hadFocus) this.parts.tabs.querySelector('[aria-selected="true"]')?.focus();
  }

  drawMessages(messages) {
    const { list } = this.parts;
    if (this.shown === messages && list.dataset.key === this.name) return;
    const wasAtEnd = list.dataset.key !== this.name || list.scrollHeight - list.scrollTop - list.clientHeight < 8;
    this.shown = messages;
    list.dataset.key = this.name;
    list.replaceChildren(...messages.slice(-MESSAGES_SHOWN).map((message) => this.row(message)));
    if (wasAtEnd) list.scrollTop = list.scrollHeight;
  }

  row(message) {
    const { at, from, name, mine, notice, event } = message;
    const who = make("bdi", { class: "author" }, name ?? notice ?? event ?? "Announcement");
    const author = mine || from === null ? who
      : make("button", { type: "button", class: "link", title: "Message this player", onclick: () => this.openPrivate(from, name) }, who);
    return make("li", { class: mine ? "mine" : "" }, make("time", { class: "quiet" }, new Date(at).toLocaleTimeString("en-GB")),
      author, make("bdi", { class: "text" }, wordsOf(message)));
  }

  say(text) {
    this.parts.text.value = "";
    // In the room that is on the screen, though the player may be elsewhere before it is said.
    const room = this.name;
    this.attempt(() => this.client.say(room, text));
  }

  /** What was said before; what the server does not give is not missed. */
  async load(name, before) {
    this.before.set(name, null);
    const { client } = this;
    const page = await client.history(name, before ?? null).catch(() => null);
    if (page === null || client !== this.client) return;
    this.before.set(name, page.before);
    this.draw();
  }

  /** Does it; if it is refused, that is shown. */
  async attempt(ask) {
    try {
      await ask();
      setText(this.parts.why, "");
    } catch (problem) {
      setText(this.parts.why, `Not done: ${REFUSALS[problem.code] ?? problem.message}`);
    }
  }

  keys() {
    const { client } = this;
    const names = client.channels.all.map(({ name }) => name);
    const teams = names.filter((name) => name.startsWith("team:") && client.channels.get(name).open);
    // What only this player is told is no conversation: it has its own place.
    const peers = names.filter((name) => name.startsWith("player:") && name !== `player:${client.player}`);
    return ["global", "sector", ...teams, ...new Set([...this.opened.keys(), ...peers.sort()])];
  }

  nameOf(key) {
    return key === "sector" ? `sector:${this.client.room.sector}` : key;
  }

  labelOf(key) {
    if (key === "global") return "Global";
    if (key === "sector") return `Sector ${this.client.room.sector}`;
    if (key.startsWith("team:")) return "Team";
    const theirs = this.client.channels.get(key)?.messages.findLast(({ mine }) => !mine);
    return theirs?.name ?? this.opened.get(key) ?? key.slice("player:".length);
  }

  /** The channel on the screen. */
  get name() {
    return this.nameOf(this.key);
  }

  /** The other one of a private channel. */
  get peer() {
    return this.key.startsWith("player:") ? this.key.slice("player:".length) : null;
  }
}

function shown(presence) {
  if (!presence) return "";
  const { status, last_seen_ms: seen } = presence;
  return status.replace("_", " ") + (typeof seen === "number" ? `, last seen ${new Date(seen).toLocaleTimeString("en-GB")}` : "");
}
