// One player's session over all its connections: frames in, state and answers out, frames to send. Pure: time comes as
// an argument; must not know sockets, tokens or when to connect.

import { Actions, type PendingAction } from "./actions.js";
import { Beside, type Population, type Team } from "./beside.js";
import { Calls, type CallOutcome } from "./calls.js";
import { Clock } from "./clock.js";
import type { Step } from "./copy.js";
import { FieldNames } from "./fields.js";
import type {
  Action, CallReply, ClientFrame, Delta, Elsewhere, Hello, Own, PageItem, PlayerPresence, Refusal, Reject, ServerFrame, Snapshot, Source, Welcome,
} from "./frames.js";
import { rejected, type Answer } from "./marks.js";
import { Numbers } from "./numbers.js";
import { isObservedSlot, Observed } from "./observed.js";
import { PassagesOf, type Passages } from "./passages.js";
import { PresenceOf } from "./presence.js";
import { Room, type RoomView } from "./room.js";
import { UNREADABLE } from "./said.js";
import type { Slots } from "./slots.js";
import { FEATURE, Talk } from "./talk.js";

const SECTOR_SLOT = 0;
/** For a frame that may be sent again "later". */
const AGAIN_AFTER_MS = 250;
/** An error with this code is about a `refresh`. */
const BAD_TOKEN = "bad_token";
/** One with one of these codes and without a number may be about any frame that has none. */
const OF_ANY: readonly string[] = ["rate_limited", "not_in_sector"];
const OF_REFRESH: readonly string[] = [BAD_TOKEN, ...OF_ANY];

/** What a player may want to know that is neither state nor an answer. */
export type Notice =
  /** The node cannot reach its log, or the sector's owner: pending actions wait. */
  | { readonly kind: "unavailable"; readonly retryAfterMs: number }
  /** Too much is waiting: new actions are held back for so long. */
  | { readonly kind: "busy"; readonly retryAfterMs: number }
  /** More was sent than the server takes of one player: what it did not take is sent again after so long. */
  | { readonly kind: "limited"; readonly retryAfterMs: number }
  /** A frame was refused. */
  | { readonly kind: "refused"; readonly code: string; readonly detail: string }
  /** Another node owns the sector. */
  | { readonly kind: "owner"; readonly node: string; readonly version: number }
  /** Versions are missing (`gap`) or the checksum differs (`drift`): a snapshot is on its way. */
  | { readonly kind: "repairing"; readonly cause: "gap" | "drift" }
  /** So much of what others said in such a frame is not as it should be, and was passed over; a call failed as `unreadable`. */
  | { readonly kind: "unreadable"; readonly frame: "item" | "page" | "reply"; readonly count: number };

export interface LiveEvent {
  /** true: nothing that this client was told is undone. false: nothing is known of it. */
  readonly recovered: boolean;
  readonly source: Source;
  /** Name of the node. */
  readonly node: string;
}

/** What a session does to the world around it. */
export interface SessionEvents {
  send(frame: ClientFrame): void;
  settled(action: PendingAction, answer: Answer): void;
  called(n: number, outcome: CallOutcome): void;
  /** The server has taken this connection's `hello`. */
  welcomed(): void;
  /** The player is in this region now, whose nodes are at `address`. */
  elsewhere(where: { region: string; sector: string | null; address: string | null }): void;
  /** The first state of a connection is there. */
  live(event: LiveEvent): void;
  /** Everything was replaced, for this reason. */
  state(event: { room: RoomView; reason: string }): void;
  delta(event: { room: RoomView; delta: Delta }): void;
  own(event: { room: RoomView; own: Own }): void;
  notice(notice: Notice): void;
  /** The rooms beside the sector changed. */
  team(team: Team | null): void;
  population(population: Population | null): void;
  /** Of players that are watched. */
  presence(changed: readonly PlayerPresence[]): void;
  /** Ships came into the sector, or left it. */
  passages(passages: Passages): void;
  leaving(reconnectAfterMs: number): void;
  /** The token is good for a minute more. */
  expiring(): void;
  /** The token of `refresh` counts from now on. */
  refreshed(): void;
  /** If a `refresh` is without answer, it was not taken: the same may be sent after so long; null: another token is needed. */
  notRefreshed(retryAfterMs: number | null): void;
  /** This connection is of no more use: connect anew. */
  restart(why: string): void;
}

export class Session {
  readonly clock = new Clock();
  readonly actions: Actions;
  readonly talk: Talk;
  readonly calls: Calls;
  readonly beside: Beside;
  readonly observed: Observed;
  readonly presence = new PresenceOf();
  private readonly passages: PassagesOf;
  welcome: Welcome | null = null;
  room: Room | null = null;
  private isLive = false;
  /** What to show in the region that the player is in now; null: nothing. */
  private ticket: string | null = null;
  /** The player is in another region, which has not said `welcome` yet. */
  private isAway = false;
  /** The room is of the region that was left. */
  private isRoomLeft = false;
  /** The latest `hello` was for that region. */
  private greetsThere = false;
  /** As it was sent on this connection, until the welcome. */
  private greeting: Hello | null = null;
  private greetAgainAt: number | null = null;
  /** What is wrong with this copy, until a snapshot replaces it. */
  private broken: "gap" | "drift" | null = null;
  private resyncDueAt: number | null = null;
  private resyncedAt = -Infinity;

  /** `feeds`: the server is asked for them. */
  constructor(
    private readonly events: SessionEvents,
    readonly feeds: boolean,
  ) {
    this.actions = new Actions((action, answer) => events.settled(action, answer));
    const numbers = new Numbers();
    this.talk = new Talk(numbers);
    this.calls = new Calls((n, outcome) => events.called(n, outcome), numbers);
    this.beside = new Beside(events);
    this.observed = new Observed((room, wanted) => this.talk.observe(room, wanted));
    this.passages = new PassagesOf((passages) => {
      if (!this.talk.unwanted.has("passage")) events.passages(passages);
    });
  }

  /** The last checksum agreed, and no version is missing. */
  get verified(): boolean {
    return this.broken === null;
  }

  /** The first frame of a new connection; `there`: to the region that the last `elsewhere` named. */
  hello(token: string, there: boolean): Hello {
    const { actions, ticket } = this;
    this.isLive = false;
    this.greetsThere = there;
    this.resyncDueAt = null;
    this.greetAgainAt = null;
    actions.restart();
    this.calls.restart();
    this.greeting = {
      token,
      features: this.feeds ? [FEATURE] : [],
      ...(there ? ticket !== null && { ticket } : this.resuming),
      ...(actions.actor !== null && { actor: actions.actor, first_seq: actions.firstSeq }),
      ...(this.feeds && !there && Object.keys(this.talk.cursors).length > 0 && { feeds: this.talk.cursors }),
    };
    return this.greeting;
  }

  /** What a `hello` says of the region of the last welcome, and no other one is told. */
  private get resuming(): Partial<Hello> {
    const { welcome, room } = this;
    return { ...(welcome && { resume: welcome.resume }), ...(!this.isRoomLeft && room?.known) };
  }

  /** Where the player is, as far as this client knows. */
  get sector(): string | null {
    return this.isAway || this.isRoomLeft ? null : (this.room?.sector ?? null);
  }

  /** A new action; `flush` sends it. */
  add(action: Action, now: number): PendingAction {
    return this.actions.add(action, now);
  }

  /** The connection is gone: nothing can be sent until the next one's first state. */
  dropped(): void {
    this.isLive = false;
    this.greeting = null;
    this.greetAgainAt = null;
  }

  take(frame: ServerFrame, now: number): void {
    this.takeFrame(frame, now);
    this.flush(now);
  }

  /** Sends what is due: a resync, actions in the order of seq, and what is said and asked in feeds. */
  flush(now: number): void {
    this.passages.flush(now);
    if (this.greeting !== null && this.greetAgainAt !== null && this.greetAgainAt <= now) {
      this.greetAgainAt = null;
      this.events.send({ hello: this.greeting });
    }
    if (!this.isLive || this.welcome === null) return;
    if (this.resyncDueAt !== null && this.resyncDueAt <= now) {
      this.resyncDueAt = null;
      this.resyncedAt = now;
      this.events.send({ resync: {} });
    }
    for (const { seq, action } of this.actions.takeDue(now, this.welcome.limits.seq_window)) {
      this.events.send({ act: { seq, action } });
    }
    for (const frame of this.talk.takeDue(now, this.sector)) this.events.send(frame);
    for (const call of this.calls.takeDue(now)) this.events.send({ call });
    const players = this.presence.takeDue(now);
    if (players !== null) this.events.send({ watch: { players } });
  }

  /** When to call `flush` if nothing happens before; null: not at all. */
  wakeAt(now: number): number | null {
    const due = [this.greetAgainAt, this.passages.nextDue()];
    if (this.isLive && this.welcome !== null) {
      const { seq_window: window } = this.welcome.limits;
      due.push(this.resyncDueAt, this.actions.nextDue(now, window), this.talk.nextDue(), this.calls.nextDue(), this.presence.nextDue());
    }
    const times = due.filter((at) => at !== null);
    return times.length === 0 ? null : Math.min(...times);
  }

  private takeFrame(frame: ServerFrame, now: number): void {
    const { name, body } = frame;
    if ("room" in body && body.room !== SECTOR_SLOT) return this.takeBeside(frame, now);
    switch (name) {
      case "welcome":
        return this.welcomed(body, now);
      case "snapshot":
        return this.loaded(body, now);
      case "moved":
        return this.loaded(body.snapshot, now);
      case "delta":
        return this.changed(body, now);
      case "own":
        return this.ownChanged(body, now);
      case "owner": {
        const step = this.room?.takeOwner(body);
        this.judge(step, now);
        if (step === "applied") this.events.notice({ kind: "owner", node: body.node, version: body.version });
        return;
      }
      case "ack":
        this.room?.takeAck(body.version);
        return void this.actions.settle(body.seq, { ack: { version: body.version } });
      case "reject":
        return this.rejected(body);
      case "presence": {
        const changed = this.presence.take(body.players);
        if (changed.length > 0) this.events.presence(changed);
        return;
      }
      case "reply":
        return this.replied(body);
      case "call_failed":
        if (typeof body.retry_after_ms === "number") return this.calls.sendAgain(body.n, now + body.retry_after_ms);
        return this.calls.settle(body.n, { failed: { code: body.code } });
      case "retry_after":
        this.actions.hold(now + body.ms);
        return this.events.notice({ kind: "busy", retryAfterMs: body.ms });
      case "unavailable":
        this.talk.sendAgain(now + body.retry_after_ms);
        return this.events.notice({ kind: "unavailable", retryAfterMs: body.retry_after_ms });
      case "pong":
        return this.clock.pong(body.t, body.now_ms, now);
      case "error":
        return this.refused(body, now);
      case "leaving":
        return this.events.leaving(body.reconnect_after_ms);
      case "elsewhere":
        return this.sentAway(body);
      case "expiring":
        return this.events.expiring();
      case "refreshed":
        return this.events.refreshed();
      case "item":
        this.passedOver(name, [body]);
        return this.talk.take(frame);
      case "page":
        this.passedOver(name, body.items);
        return this.talk.take(frame);
      default:
        return this.talk.take(frame);
    }
  }

  /** Of rooms beside the sector; of a slot that is not known, nothing. */
  private takeBeside({ name, body }: ServerFrame, now: number): void {
    const slots: Slots = "room" in body && isObservedSlot(body.room) ? this.observed : this.beside;
    switch (name) {
      case "room":
        return this.judgeBeside(slots.takeRoom(body), now);
      case "left":
        return slots.takeLeft(body);
      case "delta":
        return this.judgeBeside(slots.takeDelta(body), now);
      case "owner":
        return this.judgeBeside(slots.takeOwner(body), now);
    }
  }

  /** Nothing more is to be had here. */
  private sentAway({ region, sector = null, address = null, ticket = null }: Elsewhere): void {
    this.isAway = true;
    this.isLive = false;
    this.greeting = null;
    this.ticket = ticket;
    this.events.elsewhere({ region, sector, address });
  }

  /** In another region: what is known of sectors and feeds says nothing there. The room is shown until its own is there. */
  private arrived(): void {
    this.isRoomLeft = this.room !== null;
    this.passages.reset("", new Map());
    this.talk.leaveRegion();
  }

  private welcomed(welcome: Welcome, now: number): void {
    if (this.welcome !== null && this.welcome.player !== welcome.player) {
      this.presence.known.clear();
      this.observed.clear();
    }
    if (this.greetsThere) this.arrived();
    this.greetsThere = false;
    this.isAway = false;
    this.ticket = null;
    this.welcome = welcome;
    this.events.welcomed();
    this.greeting = null;
    this.greetAgainAt = null;
    this.actions.limit(welcome.limits.actions_per_s ?? 0);
    this.clock.welcome(welcome.now_ms, now);
    this.actions.welcome(welcome.actor);
    this.talk.welcome(welcome);
    this.calls.welcome(welcome.actor, welcome.limits.actions_per_s ?? 0);
    this.presence.restart();
    this.beside.welcome(welcome.fields);
    this.observed.welcome(welcome.fields);
    // With a snapshot the marks come in it, and the copy is kept as it is until then.
    if (welcome.source === "snapshot") return;
    // The answers are told here, their state only by the frames behind: a cut between them must not hide how far that was.
    if (typeof welcome.head === "string") this.room?.takeHead(welcome.head);
    this.actions.settleFrom(welcome.pending);
    // What was missing follows from the cursor; what was wrong stays wrong.
    if (this.broken === "gap") this.broken = null;
    if (this.broken !== null) this.resync(now);
    this.becameLive(welcome);
  }

  private becameLive({ recovered, source, node }: Welcome): void {
    this.isLive = true;
    this.events.live({ recovered, source, node });
  }

  private loaded(snapshot: Snapshot, now: number): void {
    if (this.welcome === null) return;
    const room = new Room(snapshot, this.welcome.fields);
    this.room = room;
    this.isRoomLeft = false;
    this.broken = null;
    if (!this.isBesideBroken) this.resyncDueAt = null;
    this.passages.reset(room.sector, room.entities);
    this.actions.settleFrom(snapshot.marks);
    if (!this.isLive) this.becameLive(this.welcome);
    this.events.state({ room, reason: snapshot.reason });
    this.judge(room.sum === snapshot.sum && room.ownSum === snapshot.own_sum ? "applied" : "drift", now);
  }

  private changed(delta: Delta, now: number): void {
    const { room, welcome } = this;
    if (room === null || welcome === null) return;
    const step = room.takeDelta(delta);
    if (step === "applied" || step === "drift") {
      const names = new FieldNames(welcome.fields);
      this.events.delta({ room, delta: names.ofDelta(delta) });
      this.passages.changed(room.entities, delta.changes, welcome.player, now);
    }
    this.judge(step, now);
  }

  private ownChanged(own: Own, now: number): void {
    const { room, welcome } = this;
    if (room === null || welcome === null) return;
    const step = room.takeOwn(own);
    if (step === "applied" || step === "drift") {
      this.events.own({ room, own: { ...own, set: new FieldNames(welcome.fields).ofChanges(own.set) } });
    }
    this.judge(step, now);
  }

  /** A copy that has a hole or differs is replaced, once, on the same connection. */
  private judge(step: Step | undefined, now: number): void {
    if (this.broken !== null || (step !== "gap" && step !== "drift")) return;
    this.broken = step;
    this.resync(now);
    this.events.notice({ kind: "repairing", cause: step });
  }

  /** Its state comes with the sector's, whichever of them it was. */
  private judgeBeside(step: Step, now: number): void {
    if (step !== "gap" && step !== "drift") return;
    this.resync(now);
    this.events.notice({ kind: "repairing", cause: step });
  }

  private get isBesideBroken(): boolean {
    return this.beside.isBroken || this.observed.isBroken;
  }

  private resync(notBefore: number): void {
    const earliest = this.resyncedAt + (this.welcome?.limits.resync_every_ms ?? 0);
    this.resyncDueAt = Math.max(notBefore, earliest);
  }

  private rejected({ seq, code, facts, version }: Reject): void {
    const wasPending = this.actions.settle(seq, rejected(code, facts, version));
    if (code !== "unknown_actor" || !wasPending) return;
    this.actions.forgetActor();
    this.isLive = false;
    this.events.restart(code);
  }

  private refused({ code, detail, retry, seq, n, retry_after_ms }: Refusal, now: number): void {
    const retryAfterMs = retry_after_ms ?? AGAIN_AFTER_MS;
    this.events.notice(retry ? { kind: "limited", retryAfterMs } : { kind: "refused", code, detail });
    if (typeof seq === "number") {
      if (retry) this.actions.sendAgain(seq, now + retryAfterMs);
      else this.actions.settle(seq, rejected(code, { detail }));
    } else if (typeof n === "number") {
      this.requestRefused(n, code, detail, retry ? now + retryAfterMs : null);
    } else if (this.greeting !== null) {
      if (retry) this.greetAgainAt = now + retryAfterMs;
      else this.greetWithoutTicket(now);
    } else {
      // Nothing says which frame it was: all that may have been are sent again, which does no harm.
      if (retry && (this.broken !== null || this.isBesideBroken)) this.resync(now + retryAfterMs);
      if (retry && OF_ANY.includes(code)) {
        this.talk.markAgain(now + retryAfterMs);
        this.presence.sendAgain(now + retryAfterMs);
      }
      if (OF_REFRESH.includes(code)) this.events.notRefreshed(code === BAD_TOKEN ? null : retryAfterMs);
    }
  }

  /** A ticket that the server cannot read must not keep the player out: without it a new session begins. */
  private greetWithoutTicket(now: number): void {
    if (this.greeting?.ticket === undefined) return;
    const { ticket: _, ...rest } = this.greeting;
    this.ticket = null;
    this.greeting = rest;
    this.greetAgainAt = now;
  }

  private replied({ n, body, conversation }: CallReply): void {
    if (body !== undefined) return this.calls.settle(n, { reply: { body, conversation } });
    this.events.notice({ kind: "unreadable", frame: "reply", count: 1 });
    this.calls.settle(n, { failed: { code: "unreadable" } });
  }

  private passedOver(frame: "item" | "page", items: readonly PageItem[]): void {
    const count = items.filter(({ said }) => said === UNREADABLE).length;
    if (count > 0) this.events.notice({ kind: "unreadable", frame, count });
  }

  /** Requests and calls have one series of numbers: only one of the two knows this one. `again`: when it may be sent again. */
  private requestRefused(n: number, code: string, detail: string, again: number | null): void {
    if (again === null) {
      this.talk.refuse(n, code, { detail });
      this.calls.settle(n, { failed: { code } });
    } else {
      this.talk.askAgain(n, again);
      this.calls.sendAgain(n, again);
    }
  }
}
