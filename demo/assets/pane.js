// One player's pane: where they are, whom they see, what they can do, and what became of what they did.
// Shows a Player and passes clicks to it; must not know frames or sockets.

import { BellPanel } from "./bell.js";
import { ChatPanel } from "./chat.js";
import { EventLog } from "./cluster.js";
import { duration, make, nodeClass, refill, setAttribute, setText } from "./dom.js";
import { RosterPanel } from "./roster.js";
import { TopicsPanel } from "./topics.js";

const STATUSES = ["online", "away", "busy"];
const REJECTIONS = {
  no_warp: "no warp leads there",
  no_gate: "no gate leads there",
  cooling_down: "the drive is not ready",
  no_target: "it is not here any more",
  not_a_target: "that cannot be attacked",
  too_old: "too old: it did not run",
  unknown_actor: "this device's number is not known",
  too_far: "too many before it are missing",
  stale_session: "a newer connection took over",
  already: "it ran; the answer is no longer kept",
};

export class Pane {
  /** `root` is the pane's <section>, `label` its letter. */
  constructor(root, label) {
    this.label = label;
    const find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.parts = Object.fromEntries(
      ["name", "link", "node", "region", "sector", "owner", "version", "sum", "warps", "gates", "drive", "statuses", "ships", "ports",
        "credits", "actions", "again", "spoil", "log", "chat", "roster", "bell", "topics", "ask", "aria"].map((name) => [name, find(name)]),
    );
    this.log = new EventLog(this.parts.log);
    this.chat = new ChatPanel(this.parts.chat);
    this.roster = new RosterPanel(this.parts.roster);
    this.bell = new BellPanel(this.parts.bell);
    this.topics = new TopicsPanel(this.parts.topics);
    this.nodes = [];
    this.drawn = false;
  }

  /** Whose state is shown; given afterwards because it reports to this pane. */
  attach(player) {
    this.player = player;
    const { node, again, spoil, statuses, ask } = this.parts;
    node.onchange = () => player.client?.prefer(node.value || null);
    again.onclick = () => player.start();
    spoil.onclick = () => player.spoil();
    ask.onsubmit = (event) => {
      event.preventDefault();
      player.ask(ask.elements.text.value);
      ask.reset();
    };
    statuses.replaceChildren(...STATUSES.map((status) =>
      make("button", { type: "button", "data-status": status, onclick: () => player.act({ status: { status } }) }, capital(status))));
    // The drive's countdown and the state of the connection change without an event.
    setInterval(() => this.changed(), 100);
  }

  /** The cluster as /live says it: names and colours for addresses. Where they are others, the demo was started anew. */
  showNodes(nodes) {
    const known = this.nodes.map(({ address }) => address).join(" ");
    const now = nodes.map(({ address }) => address).join(" ");
    this.nodes = nodes;
    if (known !== "" && known !== now) this.player.start();
    this.changed();
  }

  /** Draws once per animation frame, however many frames arrive. */
  changed() {
    if (this.drawn) return;
    this.drawn = true;
    requestAnimationFrame(() => {
      this.drawn = false;
      if (this.player) this.draw();
    });
  }

  draw() {
    this.drawLink();
    const { client } = this.player;
    const room = client?.room;
    if (room) this.drawRoom(room);
    if (client && client !== this.chat.client) {
      this.chat.attach(client);
      this.bell.attach(client);
      this.topics.attach(client);
    }
    this.chat.draw();
    if (client) this.roster.draw(client);
    this.bell.draw();
    this.topics.draw();
    this.drawActions();
    this.drawTalk();
    this.showDrive(room);
  }

  drawLink() {
    const { client, urls, why } = this.player;
    const { name, link: chip, again, node } = this.parts;
    const state = client?.state ?? "connecting";
    const says = {
      connecting: () => why || "connecting…",
      live: () => client.node + (client.rttMs === null ? "" : ` · ${duration(client.rttMs)}`),
      dropped: () => `reconnecting: ${why}`,
      reconnecting: () => `reconnecting: ${why}`,
      left: () => `stopped: ${why}`,
    };
    setText(name, this.myShip()?.get("name") ?? client?.player ?? "…");
    setText(chip, says[state]());
    setAttribute(chip, "class", `chip link-${state} ${state === "live" ? nodeClass(this.nodes, client.node) : ""}`);
    again.hidden = client ? state !== "left" : why === "";
    // Behind a gate the client goes by the region's own address.
    const choice = this.regionNow() === this.player.region ? urls : [];
    refill(node, choice.map((url) => this.nodeNameOf(url)).join(" "), () => [
      make("option", { value: "" }, "any node"),
      ...choice.map((url) => make("option", { value: url }, this.nodeNameOf(url))),
    ]);
  }

  /** Of the node that the client is or was connected to; null: none yet. */
  regionNow() {
    const { client, region } = this.player;
    return this.nodes.find(({ name }) => name === client?.node)?.region ?? region;
  }

  nodeNameOf(url) {
    const address = new URL(url).host;
    return this.nodes.find((node) => node.address === address)?.name ?? address;
  }

  myShip() {
    const { client } = this.player;
    return client?.room?.ofKind("ship").find(([, ship]) => ship.get("player") === client.player)?.[1];
  }

  drawRoom(room) {
    const { region, sector, owner, version, sum, credits } = this.parts;
    const { verified } = this.player.client;
    setText(region, this.regionNow() ?? "–");
    setText(sector, room.sector);
    setText(owner, room.owner || "none yet");
    setAttribute(owner, "class", `tag ${nodeClass(this.nodes, room.owner)}`);
    setText(version, String(room.version));
    setText(sum, verified ? "verified" : "repairing");
    setAttribute(sum, "class", verified ? "good" : "bad");
    setText(credits, String(room.own.get("credits") ?? 0));
    this.drawWarps(room);
    this.drawGates(room);
    this.drawShips(room);
    this.drawPorts(room);
    const status = this.myShip()?.get("status");
    for (const button of this.parts.statuses.children) {
      setAttribute(button, "aria-pressed", String(button.dataset.status === status));
    }
  }

  drawWarps(room) {
    const { warps } = this.parts;
    const targets = room.ofKind("warp").map(([, warp]) => String(warp.get("to"))).sort(byNumber);
    const hadFocus = warps.contains(document.activeElement);
    refill(warps, `${room.sector}>${targets.join(" ")}`, () => targets.map((to) =>
      make("button", { type: "button", "aria-label": `Move to sector ${to}`, onclick: () => this.player.act({ move: { to } }) }, `→ ${to}`)));
    if (hadFocus && !warps.contains(document.activeElement)) warps.firstChild?.focus();
  }

  drawGates(room) {
    const targets = room.ofKind("gate").map(([, gate]) => String(gate.get("to"))).sort();
    refill(this.parts.gates, `${this.regionNow()} ${targets.join(" ")}`, () => targets.map((to) =>
      make("button", { type: "button", "aria-label": `Jump to ${to}`, onclick: () => this.player.act({ jump: { to } }) }, make("bdi", {}, `⇒ ${to}`))));
  }

  drawShips(room) {
    const ships = room.ofKind("ship").map(([alias, ship]) => ({
      alias,
      player: String(ship.get("player")),
      name: String(ship.get("name") ?? ship.get("player")),
      status: String(ship.get("status") ?? "online"),
      seen: ship.get("last_seen"),
      mine: ship.get("player") === this.player.client.player,
    }));
    ships.sort((a, b) => b.mine - a.mine || a.name.localeCompare(b.name));
    refill(this.parts.ships, JSON.stringify(ships), () => ships.map(({ alias, player, name, status, seen, mine }) => {
      const since = seen ? `, last seen ${new Date(seen).toLocaleTimeString("en-GB")}` : "";
      return make("li", {}, make("span", { class: `dot status-${status}` }), make("bdi", { class: "who" }, name),
        ...(mine ? [make("span", { class: "you" }, "you")] : [this.messageButton(player, name), this.attackButton(alias, name)]), make("span", { class: "quiet" }, status.replace("_", "-") + since));
    }));
  }

  messageButton(player, name) {
    const attributes = { type: "button", class: "link", "aria-label": `Message ${name}`, onclick: () => this.chat.openPrivate(player, name) };
    return make("button", attributes, "message");
  }

  attackButton(alias, name) {
    const attributes = { type: "button", class: "link", "aria-label": `Attack ${name}`, onclick: () => this.player.act({ attack: { target: alias } }) };
    return make("button", attributes, "attack");
  }

  drawPorts(room) {
    const ports = room.ofKind("port").map(([, port]) => String(port.get("name") ?? "port"));
    const drones = room.ofKind("drones").map(([alias, fields]) => ({ alias, of: String(fields.get("player") ?? "nobody") }));
    refill(this.parts.ports, JSON.stringify([ports, drones]), () => {
      const guards = drones.map(({ alias, of }) =>
        make("li", {}, make("bdi", {}, `Drones of ${of}`), of === this.player.client.player ? "" : this.attackButton(alias, `drones of ${of}`)));
      const rows = [...ports.map((name) => make("li", {}, name)), ...guards];
      return rows.length ? rows : [make("li", { class: "quiet" }, "none here")];
    });
  }

  drawActions() {
    const list = this.player.asked.slice(-8).reverse();
    refill(this.parts.actions, list.map((entry) => `${entry.seq}${JSON.stringify(entry.outcome)}`).join(" "), () => list.map(row));
    this.parts.actions.dataset.empty = String(list.length === 0);
  }

  drawTalk() {
    const talk = this.player.talk.slice(-8).reverse();
    refill(this.parts.aria, JSON.stringify(talk), () => talk.map(({ asked, said }) =>
      make("li", {}, make("span", { class: "quiet" }, `${asked} `), make("bdi", {}, said ?? "…"))));
  }

  showDrive(room) {
    const left = room ? (room.own.get("ready_at") ?? 0) - this.player.client.now() : 0;
    setText(this.parts.drive, left > 0 ? `drive ready in ${(left / 1000).toFixed(1)} s` : "drive ready");
  }
}

function row({ seq, action, outcome, took }) {
  const text = action.move ? `move to ${action.move.to}` : action.jump ? `jump to ${action.jump.to}` : action.status ? `status ${action.status.status}` : `attack ${action.attack.target}`;
  const [tone, result] = told(outcome);
  const time = outcome ? ` · ${duration(took)}` : "";
  return make("li", { class: tone }, make("span", { class: "seq" }, `#${seq}`), make("span", {}, text),
    make("span", { class: "result" }, result + time));
}

function told(outcome) {
  if (outcome === null) return ["pending", "waiting for its answer"];
  if (outcome.unknown) return ["bad", `unknown: ${outcome.unknown.reason} before its answer came`];
  if (outcome.ack) {
    const { version } = outcome.ack;
    return ["good", version === null ? "confirmed while away" : `confirmed in version ${version}`];
  }
  const { code, facts } = outcome.reject;
  const meaning = REJECTIONS[code] ?? facts.detail;
  return [code === "already" ? "good" : "bad", meaning ? `${code}: ${meaning}` : code];
}

function byNumber(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
