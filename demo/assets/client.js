// One player's session: hello and resume, frames into the room and the action queue, resync when a sum differs.
// The page reads its fields; must not know how they are shown.

import { ActionQueue } from "./actions.js";
import { Connection } from "./connection.js";
import { RoomView } from "./room.js";

const SECTOR_SLOT = 0;

export class Client {
  /** `seek()` resolves to {token, urls}; `changed()` is called after every change; `note(text, tone)` tells of events. */
  constructor(seek, { changed, note }) {
    this.changed = changed;
    this.note = note;
    this.queue = new ActionQueue();
    this.room = null;
    this.welcome = null;
    this.link = { state: "connecting", url: null, why: "" };
    this.lostAt = null;
    this.clockAheadMs = 0;
    this.verified = true;
    this.lastSum = 0;
    this.repairing = false;
    this.resyncAt = -Infinity;
    this.resyncTimer = null;
    this.mustSendAgain = false;
    this.connection = new Connection(seek, {
      opened: () => this.sayHello(),
      frame: (frame) => this.take(frame),
      changed: (link) => this.linkChanged(link),
    });
  }

  get player() {
    return this.welcome?.player ?? null;
  }

  /** The region's time, ms since 1970, as well as this client knows it. */
  regionNow() {
    return Date.now() + this.clockAheadMs;
  }

  act(action) {
    if (!this.welcome) return;
    if (this.queue.nextSeq - this.queue.firstSeq >= this.welcome.limits.seq_window) {
      return this.note("Too many actions are waiting for an answer", "bad");
    }
    this.sendAct(this.queue.add(action, performance.now()));
    this.changed();
  }

  /** Spoils this copy, to show that it is noticed: the next delta's sum differs and the copy is repaired in place. */
  spoil() {
    const ship = this.room?.ofKind("ship")[0];
    if (!ship) return;
    ship[1].set("name", "?!");
    this.verified = this.room.publicSum() === this.lastSum;
    this.note("This copy was spoiled on purpose; the next checksum will not match", "info");
    this.changed();
  }

  leave() {
    this.connection.send({ bye: {} });
  }

  sayHello() {
    const hello = { features: [] };
    if (this.welcome) hello.resume = this.welcome.resume;
    if (this.queue.actor !== null) {
      hello.actor = this.queue.actor;
      hello.first_seq = this.queue.firstSeq;
    }
    // A copy known to be wrong is not continued.
    if (this.room && this.verified) {
      hello.cursor = this.room.cursor;
      hello.sector = this.room.sector;
    }
    this.connection.send({ hello });
  }

  /** Before `welcome` nothing is sent: what is pending then is sent after it. */
  sendAct({ seq, action }) {
    if (this.link.state === "open") this.connection.send({ act: { seq, action } });
  }

  take(frame) {
    const [name] = Object.keys(frame);
    const body = frame[name];
    if ("room" in body && body.room !== SECTOR_SLOT) return;
    switch (name) {
      case "welcome": this.welcomed(body); break;
      case "snapshot": this.loaded(body); break;
      case "moved": this.loaded(body.snapshot); break;
      case "delta": this.judge(this.room?.takeDelta(body), body.sum); break;
      case "own": this.judge(this.room?.takeOwn(body)); break;
      case "owner": this.ownerChanged(body); break;
      case "ack": this.queue.settle(body.seq, { ack: body.version }, performance.now()); break;
      case "reject": this.rejected(body); break;
      case "pong": this.clockAheadMs = body.now_ms - Date.now(); break;
      case "unavailable": this.note("Redis is away: actions wait and are answered when it is back", "bad"); break;
      case "leaving": this.connection.again("the node is leaving", body.reconnect_after_ms); break;
      case "error": this.refused(body); break;
      default: break; // Frames of a newer server.
    }
    this.changed();
  }

  welcomed(welcome) {
    const resumed = this.welcome !== null;
    this.welcome = welcome;
    this.queue.actor = welcome.actor;
    this.clockAheadMs = welcome.now_ms - Date.now();
    this.connection.welcomed();
    if (resumed) {
      const took = this.lostAt === null ? "" : ` after ${Math.round(performance.now() - this.lostAt)} ms`;
      const kept = welcome.recovered ? "nothing missed" : "state loaded anew";
      this.note(`Playing again on ${welcome.node}${took}: resumed from its ${welcome.source}, ${kept}`, "good");
    } else {
      this.note(`Connected to ${welcome.node}`, "good");
    }
    this.lostAt = null;
    // With a snapshot the marks come in it.
    this.mustSendAgain = welcome.source === "snapshot";
    if (!this.mustSendAgain) this.sendAgain(welcome.pending);
  }

  loaded(snapshot) {
    this.room = new RoomView(this.welcome.fields);
    const sumsAgree = this.room.load(snapshot);
    clearTimeout(this.resyncTimer);
    if (snapshot.reason === "resync") this.note("This copy was repaired in place from a snapshot", "good");
    if (snapshot.reason === "lost") this.note("The log lost what this client had seen; this is what is left", "bad");
    this.repairing = false;
    this.judge(sumsAgree ? "applied" : "drift", snapshot.sum);
    if (this.mustSendAgain) this.sendAgain(snapshot.marks);
    else this.queue.settleFrom(snapshot.marks, performance.now());
    this.mustSendAgain = false;
  }

  sendAgain(marks) {
    for (const entry of this.queue.settleFrom(marks, performance.now())) this.sendAct(entry);
  }

  /** What a step led to. A copy that has a hole or differs is replaced, once, on the same connection. */
  judge(result, sum) {
    if (sum !== undefined) this.lastSum = sum;
    if (this.repairing || result === undefined || result === "stale") return;
    this.verified = result === "applied";
    if (!this.verified) this.repair(result);
  }

  repair(result) {
    this.repairing = true;
    this.note(result === "gap" ? "A version is missing: asking for the state" : "The checksum differs: asking for the state", "info");
    this.askResync();
  }

  askResync() {
    const wait = this.resyncAt + this.welcome.limits.resync_every_ms - performance.now();
    clearTimeout(this.resyncTimer);
    this.resyncTimer = setTimeout(() => {
      this.resyncAt = performance.now();
      this.connection.send({ resync: {} });
    }, Math.max(0, wait));
  }

  ownerChanged(body) {
    const result = this.room?.takeOwner(body);
    if (result === "gap") this.judge(result);
    if (result === "applied") this.note(`${body.node} owns sector ${this.room.sector} now, from version ${body.version}`, "info");
  }

  rejected({ seq, code, facts }) {
    this.queue.settle(seq, { reject: code, facts }, performance.now());
    // The room has forgotten this queue: go on with a new one. What was pending did not run and is the user's to repeat.
    if (code === "unknown_actor") {
      this.queue = new ActionQueue();
      this.connection.again("this device's number was forgotten, waiting actions are dropped");
    }
  }

  refused({ code, detail, retry, seq }) {
    if (!retry) {
      if (seq !== undefined) this.queue.settle(seq, { reject: code, facts: { detail } }, performance.now());
      this.note(`The server refused a frame: ${code}, ${detail}`, "bad");
    } else if (this.repairing) {
      this.askResync();
    }
  }

  linkChanged(link) {
    if (this.link.state === "open" && link.state !== "open") {
      this.lostAt = performance.now();
      clearTimeout(this.resyncTimer);
      this.repairing = false;
      this.note(`Connection to ${this.welcome.node} ended: ${link.why}`, "info");
    }
    this.link = link;
    this.changed();
  }
}
