// Read marks on their way to the server: the latest of each channel, until the server has said it back. Pure: time comes
// as an argument.

import { compareFeedIds, type FeedId } from "./feedid.js";

/** Whoever reads along marks every item; one mark per channel and this time says as much. */
const MARK_EVERY_MS = 1_000;
/** Channels with a mark that nobody answered. */
const WAITING_MAX = 16;

interface Waiting {
  upto: FeedId;
  sent: boolean;
}

export class Reads {
  private readonly waiting = new Map<string, Waiting>();
  private readonly sentAt = new Map<string, number>();
  private notBefore = -Infinity;

  mark(of: string, upto: FeedId): void {
    const before = this.waiting.get(of);
    if (before !== undefined && compareFeedIds(upto, before.upto) <= 0) return;
    this.waiting.set(of, { upto, sent: false });
    for (const oldest of this.waiting.keys()) {
      if (this.waiting.size <= WAITING_MAX) break;
      this.forget(oldest);
    }
  }

  /** The server has this mark, or a later one. */
  marked(of: string, upto: FeedId): void {
    const mine = this.waiting.get(of);
    if (mine !== undefined && compareFeedIds(mine.upto, upto) <= 0) this.waiting.delete(of);
  }

  /** Nobody reads this room any more: the server would refuse the mark. */
  forget(of: string): void {
    this.waiting.delete(of);
    this.sentAt.delete(of);
  }

  clear(): void {
    this.waiting.clear();
    this.sentAt.clear();
  }

  /** A new connection: what was not said back must be sent on it. */
  restart(): void {
    this.sentAt.clear();
    this.sendAgain(-Infinity);
  }

  /** The server took some frame not: a mark that was set twice is no other. */
  sendAgain(at: number): void {
    this.notBefore = at;
    for (const mark of this.waiting.values()) mark.sent = false;
  }

  takeDue(now: number): { of: string; upto: FeedId }[] {
    const due = this.unsent().filter(([of]) => this.dueAt(of) <= now);
    for (const [of, mark] of due) {
      mark.sent = true;
      this.sentAt.set(of, now);
    }
    return due.map(([of, { upto }]) => ({ of, upto }));
  }

  nextDue(): number | null {
    const times = this.unsent().map(([of]) => this.dueAt(of));
    return times.length === 0 ? null : Math.min(...times);
  }

  private unsent(): [of: string, mark: Waiting][] {
    return [...this.waiting].filter(([, { sent }]) => !sent);
  }

  private dueAt(of: string): number {
    return Math.max(this.notBefore, (this.sentAt.get(of) ?? -Infinity) + MARK_EVERY_MS);
  }
}
