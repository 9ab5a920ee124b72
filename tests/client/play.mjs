// Two players of the built client against real nodes, run by main.rs: node play.mjs <client.js> <what to play, as JSON>.
// Says on stdout, one JSON object per line, when the first player's node is to end, and at the end what each was told.
// Judges nothing; throws where what should come does not.

import { pathToFileURL } from "node:url";

const [clientFile, play] = process.argv.slice(2);
const { connect } = await import(pathToFileURL(clientFile));
const { urls, players, actions } = JSON.parse(play);

const WITHIN_MS = 30_000;
/** Statuses each player has under way at once, and how many answers to wait for before a node ends. */
const AT_ONCE = 5;
const ENDS_AFTER = 40;
const STATUSES = ["away", "busy", "online"];

const say = (line) => console.log(JSON.stringify(line));

class Player {
  constructor({ name, token, codec, url }) {
    this.name = name;
    this.told = { answers: [], unanswered: 0, moves: 0, drops: [], reconnects: [], notices: [] };
    this.asked = 0;
    this.changed = new Set();
    this.client = connect({ urls, token, codec });
    this.client.prefer(url);
    const on = (subscribe, listener) => subscribe.call(this.client, (event) => {
      listener(event);
      for (const changed of [...this.changed]) changed();
    });
    on(this.client.onState, () => {});
    on(this.client.onDelta, () => {});
    on(this.client.onNotice, (notice) => this.told.notices.push(notice.kind));
    on(this.client.onDrop, (event) => this.told.drops.push(event));
    on(this.client.onReconnect, (event) => this.told.reconnects.push(event));
    on(this.client.onLeave, ({ name }) => (this.told.left = name));
  }

  /** Waits until something is so; looked at after every event. */
  until(what, isSo) {
    if (isSo()) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers();
    const changed = () => isSo() && resolve();
    const timer = setTimeout(() => reject(new Error(`${this.name}: not ${what} within ${WITHIN_MS} ms: ${this}`)), WITHIN_MS);
    this.changed.add(changed);
    return promise.finally(() => {
      clearTimeout(timer);
      this.changed.delete(changed);
    });
  }

  toString() {
    const { state, node, room, pending } = this.client;
    return JSON.stringify({ state, node, sector: room?.sector, pending: pending.map(({ seq }) => seq), told: this.told });
  }

  ship(player) {
    return this.client.room?.ofKind("ship").find(([, ship]) => ship.get("player") === player)?.[1];
  }

  sees(player) {
    return this.until(`seeing ${player}`, () => this.client.state === "live" && this.ship(player) !== undefined);
  }

  /** Asks, and keeps what came of it: once per action, or the run ends with it unanswered. */
  async ask(action) {
    this.told.unanswered += 1;
    const { seq, answer } = this.client.act(action);
    this.asked += 1;
    const outcome = await answer;
    this.told.unanswered -= 1;
    this.told.answers.push([seq, outcome]);
    for (const changed of [...this.changed]) changed();
    return outcome;
  }

  async status() {
    const outcome = await this.ask({ status: { status: STATUSES[this.asked % STATUSES.length] } });
    if ("reject" in outcome && outcome.reject.code !== "already") throw new Error(`${this.name}: ${JSON.stringify(outcome)}`);
  }

  /** So many statuses, some always under way. */
  async work(count) {
    const end = this.asked + count;
    const worker = async () => {
      while (this.asked < end) await this.status();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  /** Flies to a sector (or along the first warp); a drive that is not ready is asked again. Answers where it is then. */
  async move(to = this.client.room.ofKind("warp")[0][1].get("to")) {
    for (;;) {
      const outcome = await this.ask({ move: { to } });
      if ("ack" in outcome || outcome.reject.code === "already") break;
      if (outcome.reject.code !== "cooling_down") throw new Error(`${this.name}: ${JSON.stringify(outcome)}`);
      const { ready_at, now } = outcome.reject.facts;
      await new Promise((resolve) => setTimeout(resolve, ready_at - now));
    }
    this.told.moves += 1;
    await this.until(`in ${to}`, () => this.client.room.sector === to);
    return to;
  }

  async leave() {
    const { sector, sum, known: { cursor } } = this.client.room;
    Object.assign(this.told, { sector, cursor, sum, verified: this.client.verified, node: this.client.node });
    this.told.pending = this.client.pending.length;
    this.client.leave();
    await this.until("gone", () => this.told.left !== undefined);
  }
}

const [ann, bob] = players.map((player) => new Player(player));

/** One leaves, the other sees it go, follows, and they see each other again. */
async function flyTogether() {
  await Promise.all([ann.sees(bob.name), bob.sees(ann.name)]);
  const to = await ann.move();
  await bob.until(`rid of ${ann.name}`, () => bob.ship(ann.name) === undefined);
  await bob.move(to);
  await Promise.all([ann.sees(bob.name), bob.sees(ann.name)]);
}

await flyTogether();
await Promise.all([ann, bob].map((player) => player.until("where it wants to be", () => player.client.state === "live")));
const hopsBefore = [ann, bob].map((player) => player.ship(player.name).get("hop") - player.told.moves);
const working = Promise.all([ann.work(actions), bob.work(actions)]);
await ann.until("answered often", () => ann.told.answers.length >= ENDS_AFTER);
say({ ends: ann.client.node });
await ann.until("back", () => ann.told.reconnects.some(({ node }) => node !== players[0].node));
await working;
await flyTogether();
await Promise.all([ann.work(10), bob.work(10)]);
for (const player of [ann, bob]) await player.leave();
say({ done: [ann, bob].map((player, at) => ({ player: player.name, hops_before: hopsBefore[at], ...player.told })) });
