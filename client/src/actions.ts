// The player's actions: numbered, kept until their one answer, sent when they may be. Pure: time comes as an argument,
// what is to be sent is answered; must not know sockets.

import type { Action, Marks } from "./frames.js";
import { answerIn, rejected, type Answer } from "./marks.js";
import { Pace } from "./pace.js";

export interface PendingAction {
  readonly seq: number;
  readonly action: Action;
  /** When it was asked for, on the client's clock. */
  readonly since: number;
}

interface Entry extends PendingAction {
  /** On this connection. */
  sent: boolean;
  notBefore: number;
}

export class Actions {
  /** Given by the server; the same for the life of this queue. */
  actor: number | null = null;
  private nextSeq = 1;
  /** In the order of seq. */
  private readonly entries = new Map<number, Entry>();
  private quietUntil = -Infinity;
  private readonly pace = new Pace();

  /** `settled` hears of every action once. */
  constructor(private readonly settled: (action: PendingAction, answer: Answer) => void) {}

  get pending(): PendingAction[] {
    return [...this.entries.values()];
  }

  /** The lowest seq that may still be sent: `hello.first_seq`. */
  get firstSeq(): number {
    for (const seq of this.entries.keys()) return seq;
    return this.nextSeq;
  }

  add(action: Action, now: number): PendingAction {
    const entry: Entry = { seq: this.nextSeq++, action, since: now, sent: false, notBefore: -Infinity };
    this.entries.set(entry.seq, entry);
    return entry;
  }

  /** A new connection: what is pending must be sent on it again. */
  restart(): void {
    this.quietUntil = -Infinity;
    for (const entry of this.entries.values()) {
      entry.sent = false;
      entry.notBefore = -Infinity;
    }
  }

  /** How many of one kind the server takes per second; 0: as many as come. */
  limit(perS: number): void {
    this.pace.limit(perS);
  }

  /** What to send now, in order; it counts as sent. `window`: how far above the lowest pending seq one may go. */
  takeDue(now: number, window: number): PendingAction[] {
    const due: PendingAction[] = [];
    for (const entry of this.unsent(window)) {
      if (this.mayGo(entry) > now) continue;
      // Nothing overtakes what is only paced.
      if (this.pace.dueAt(kindOf(entry)) > now) break;
      this.pace.take(kindOf(entry), now);
      entry.sent = true;
      due.push(entry);
    }
    return due;
  }

  /** When to look again for one that waits for its time only; null: there is none. */
  nextDue(now: number, window: number): number | null {
    let next = Infinity;
    for (const entry of this.unsent(window)) {
      const mayGo = this.mayGo(entry);
      next = Math.min(next, mayGo > now ? mayGo : this.pace.dueAt(kindOf(entry)));
      if (mayGo <= now) break;
    }
    return next === Infinity ? null : next;
  }

  /** `retry_after` without a seq: no new actions for a while. */
  hold(until: number): void {
    this.quietUntil = Math.max(this.quietUntil, until);
  }

  /** This action was not taken: it is sent again then. */
  sendAgain(seq: number, at: number): void {
    const entry = this.entries.get(seq);
    if (entry === undefined) return;
    entry.sent = false;
    entry.notBefore = at;
    this.pace.pause(kindOf(entry), at);
  }

  /** The answer to one action; false: it is not pending, so that a repeated answer changes nothing. */
  settle(seq: number, answer: Answer): boolean {
    const entry = this.entries.get(seq);
    if (entry === undefined) return false;
    this.entries.delete(seq);
    this.settled(entry, answer);
    return true;
  }

  /** Settles what `marks` (of `welcome.pending` or `snapshot.marks`) know. */
  settleFrom(marks: readonly Marks[]): void {
    const mine = marks.find((each) => each.actor === this.actor);
    if (mine === undefined) return;
    for (const seq of [...this.entries.keys()]) {
      const answer = answerIn(mine, seq);
      if (answer !== null) this.settle(seq, answer);
    }
  }

  /** The server's word on the actor. Another one than asked for knows nothing of the actions of the old. */
  welcome(actor: number): void {
    if (this.actor !== null && this.actor !== actor) this.forgetActor();
    this.actor = actor;
  }

  /** The room has forgotten the actor: nothing that is pending ran or will run; a new actor counts from 1. */
  forgetActor(): void {
    this.settleAll(rejected("unknown_actor"));
    this.actor = null;
    this.nextSeq = 1;
  }

  settleAll(answer: Answer): void {
    for (const seq of [...this.entries.keys()]) this.settle(seq, answer);
  }

  private unsent(window: number): Entry[] {
    const end = this.firstSeq + window;
    return [...this.entries.values()].filter((entry) => !entry.sent && entry.seq < end);
  }

  private mayGo(entry: Entry): number {
    return Math.max(entry.notBefore, this.quietUntil);
  }
}

function kindOf({ action }: Entry): string {
  return Object.keys(action)[0] ?? "";
}
