// One player of the page: the sectorbus client (client.js, built from client/), what it was asked, and what to tell of
// it. The pane reads its fields; must not know how they are shown. Goes where the player is: through a gate to another region.

import { connect } from "./client.js";

const ASKED_MAX = 30;
/** From one region's word that the player is in another one until that one is asked. */
const FOLLOW_AFTER_MS = 250;

export class Player {
  /**
   * `seek(region)` resolves to {token, region, urls}, of the player's own region without one; `regions` are all their names;
   * `changed()` is called after every change; `note(text, tone)` tells of events.
   */
  constructor(seek, codec, regions, { changed, note }) {
    this.seek = seek;
    this.regions = regions;
    /** Where `urls` lead; null: nowhere yet. */
    this.region = null;
    /** Where a jump goes that was acked, until the player is there or stays; null: nowhere. */
    this.jumping = null;
    this.codec = codec;
    this.changed = changed;
    this.note = note;
    this.client = null;
    this.urls = [];
    this.why = "";
    this.droppedAt = null;
    /** Pending actions and the latest answered ones, oldest first: {seq, action, since, took, outcome}. */
    this.asked = [];
    /** What Aria was asked and has said, oldest first: {asked, said}. */
    this.talk = [];
    this.conversation = undefined;
  }

  /** Connects, in this region or where it was before; a client that is there leaves. */
  async start(wanted = this.region) {
    try {
      const { token, region, urls } = await this.seek(wanted);
      this.client?.leave();
      this.region = region;
      this.join(urls, token);
    } catch (problem) {
      this.why = "the demo does not answer";
      this.note(`The demo does not answer: ${problem.message}`, "bad");
    }
    this.changed();
  }

  /** The first token comes with the addresses; a later one is asked for. */
  join(urls, first) {
    let unused = first;
    const token = async () => {
      const token = unused ?? (await this.seek(this.region)).token;
      unused = null;
      return token;
    };
    const client = connect({ urls, token, codec: this.codec });
    this.client = client;
    this.urls = urls;
    this.droppedAt = null;
    this.why = "";
    const on = (subscribe, listener) => subscribe.call(client, (event) => {
      if (client !== this.client) return; // Another one has taken its place.
      listener(event);
      this.changed();
    });
    on(client.onState, ({ reason }) => this.loaded(reason));
    on(client.onDelta, () => {});
    on(client.onOwn, () => {});
    on(client.onNotice, (notice) => this.noticed(notice));
    on(client.onDrop, ({ code, reason }) => this.dropped(reason || (code === 1006 ? "connection lost" : `closed (${code})`)));
    on(client.onReconnect, (event) => this.reconnected(event));
    on((listener) => client.channels.subscribe(listener), () => {});
    for (const beside of [client.onTeam, client.onPopulation, client.onPresence, client.onPassages]) on(beside, () => {});
    on(client.onRegion, ({ region }) => {
      this.jumping = null;
      this.note(region === null ? "Back in the region it came from" : `In region ${region} now`, "good");
    });
    on(client.onLeave, ({ name, reason }) => {
      this.why = reason || name;
      if (name === "elsewhere") this.follow(client);
    });
  }

  /** The player is in another region, and the client was told no address there that it would go to. */
  follow(client) {
    this.jumping = null;
    const next = this.regions[(this.regions.indexOf(this.region) + 1) % this.regions.length];
    this.note(`In another region: going to ${next}`, "info");
    setTimeout(() => {
      if (client === this.client) void this.start(next);
    }, FOLLOW_AFTER_MS);
  }

  act(action) {
    if (!this.client || this.client.state === "left") return;
    const { seq, answer } = this.client.act(action);
    const entry = { seq, action, since: performance.now(), took: 0, outcome: null };
    this.asked.push(entry);
    while (this.asked.length > ASKED_MAX && this.asked[0].outcome !== null) this.asked.shift();
    answer.then((outcome) => {
      entry.outcome = outcome;
      entry.took = performance.now() - entry.since;
      if (action.jump && outcome.ack) this.departed(action.jump.to);
      this.changed();
    });
    this.changed();
  }

  departed(to) {
    this.jumping = to;
    this.note(`On the way to ${to}: taken back if that region does not take the player within 30 s`, "info");
  }

  /** Asks Aria, in the conversation that goes on with her. */
  async ask(text) {
    if (!this.client || this.client.state === "left") return;
    const entry = { asked: text, said: null };
    this.talk.push(entry);
    while (this.talk.length > ASKED_MAX) this.talk.shift();
    this.changed();
    const { reply, failed } = await this.client.call("aria", { ask: text }, this.conversation);
    // One that is over is begun anew by the next question.
    this.conversation = reply?.conversation;
    entry.said = reply ? String(reply.body?.text ?? JSON.stringify(reply.body)) : `(no answer: ${failed.code})`;
    this.changed();
  }

  /** Changes this copy behind its client's back, to show that it is noticed and repaired in place. */
  spoil() {
    const room = this.client?.room;
    const ship = room?.ofKind("ship")[0];
    if (!ship) return;
    room.change(ship[0], { name: "?!" });
    this.note("This copy was spoiled on purpose; the next checksum will not match", "info");
    this.changed();
  }

  loaded(reason) {
    if (this.jumping !== null && this.droppedAt === null) {
      this.note(`The jump to ${this.jumping} was taken back`, "bad");
      this.jumping = null;
    }
    if (reason === "join" && this.droppedAt === null) this.note(`Connected to ${this.client.node}`, "good");
    if (reason === "resync") this.note("This copy was repaired in place from a snapshot", "good");
    if (reason === "lost") this.note("The log lost what this client had seen; this is what is left", "bad");
    this.droppedAt = null;
  }

  noticed(notice) {
    const { room } = this.client;
    const says = {
      unavailable: () => ["Redis is away: actions wait and are answered when it is back", "bad"],
      busy: () => [`The node is busy: new actions wait ${notice.retryAfterMs} ms`, "bad"],
      limited: () => [`Too fast: what was not taken is sent again in ${notice.retryAfterMs} ms`, "bad"],
      refused: () => [`The server refused a frame: ${notice.code}, ${notice.detail}`, "bad"],
      owner: () => [`${notice.node} owns sector ${room.sector} now, from version ${notice.version}`, "info"],
      unreadable: () => [`${notice.count} of what came as ${notice.frame} could not be read and was passed over`, "bad"],
      repairing: () =>
        [notice.cause === "gap" ? "A version is missing: asking for the state" : "The checksum differs: asking for the state", "info"],
    };
    if (says[notice.kind]) this.note(...says[notice.kind]());
  }

  dropped(why) {
    this.why = why;
    this.droppedAt = performance.now();
    this.note(`Connection to ${this.client.node} ended: ${why}`, "info");
  }

  reconnected({ recovered, source, node }) {
    const took = Math.round(performance.now() - this.droppedAt);
    const kept = recovered ? "nothing missed" : "state loaded anew";
    this.note(`Playing again on ${node} after ${took} ms: resumed from its ${source}, ${kept}`, "good");
    if (source !== "snapshot") this.droppedAt = null;
  }
}
