// What is said, asked and changed in feeds, and what is observed: numbered, kept until its one answer, and sent again on every connection
// until then. Pure: time comes as an argument; must not know feeds or what answers mean.

import type { Blocks, ClientFrame, Counts, Facts, ObservedRooms, Page, Preferences, SaidAt, TopicNames } from "./frames.js";
import type { FeedId } from "./feedid.js";
import { Numbers } from "./numbers.js";
import { Pace } from "./pace.js";
import { Refused } from "./refused.js";

/** In place of a room: the sector that the player is in when it is sent for the first time. */
export const HERE = "sector";
/** Requests without answer at one time; more wait for theirs, so that what is said keeps its order. */
export const ASKED_AT_ONCE_MAX = 32;

/** The fields of each kind but for its number. */
export interface Asks {
  readonly say: { readonly to: string; readonly text: string };
  readonly history: { readonly of: string; readonly before?: FeedId; readonly limit?: number };
  readonly unread: object;
  readonly block: { readonly player: string; readonly blocked: boolean };
  readonly prefer: { readonly kind: string; readonly wanted: boolean };
  readonly topic: { readonly name: string; readonly wanted: boolean };
  readonly observe: { readonly room: string; readonly wanted: boolean };
}

export interface Answers {
  readonly say: SaidAt;
  readonly history: Page;
  readonly unread: Counts;
  readonly block: Blocks;
  readonly prefer: Preferences;
  readonly topic: TopicNames;
  readonly observe: ObservedRooms;
}

export type Kind = keyof Asks;

interface Entry {
  readonly kind: Kind;
  body: Asks[Kind];
  /** On this connection. */
  sent: boolean;
  notBefore: number;
  readonly resolve: (answer: never) => void;
  readonly reject: (why: Refused) => void;
}

export class Requests {
  /** Whose numbers these are. */
  private actor: number | null = null;
  /** By n, in its order. */
  private entries = new Map<number, Entry>();
  private readonly pace = new Pace();
  /** The other side knows feeds. */
  private hasFeeds = true;

  constructor(private readonly numbers = new Numbers()) {}

  /** Rejects with `Refused`. */
  ask<K extends Kind>(kind: K, body: Asks[K]): Promise<Answers[K]> {
    return new Promise((resolve, reject) => {
      this.entries.set(this.numbers.next(), { kind, body, sent: false, notBefore: -Infinity, resolve, reject });
    });
  }

  isAsked(kind: Kind): boolean {
    return [...this.entries.values()].some((entry) => entry.kind === kind);
  }

  /**
   * `perS`: how many of one kind the server takes per second; `hasFeeds`: otherwise only what is observed is sent. A number is never used twice for one actor; what waits when
   * there is another actor gets new numbers. Had the old one said it, and only the answer was lost, it is said twice:
   * nobody who could know the old numbers is left.
   */
  welcome(actor: number, perS: number, hasFeeds = true): void {
    this.pace.limit(perS);
    this.hasFeeds = hasFeeds;
    if (this.actor !== null && this.actor !== actor) {
      const waiting = [...this.entries.values()];
      this.numbers.restart();
      this.entries = new Map(waiting.map((entry) => [this.numbers.next(), entry]));
    }
    this.actor = actor;
  }

  /** A new connection: all that waits must be sent on it. */
  restart(): void {
    for (const entry of this.entries.values()) {
      entry.sent = false;
      entry.notBefore = -Infinity;
    }
  }

  /** This one was not taken, and is sent again then; without a number all are, which does nothing twice. */
  sendAgain(at: number, n?: number): void {
    for (const [number, entry] of this.entries) {
      if (!entry.sent || (n !== undefined && number !== n)) continue;
      entry.sent = false;
      entry.notBefore = at;
      this.pace.pause(entry.kind, at);
    }
  }

  /** What to send now; it counts as sent. `sector`: where the player is, if that is known. */
  takeDue(now: number, sector: string | null): ClientFrame[] {
    const due: ClientFrame[] = [];
    for (const [n, entry] of this.firstUnsent()) {
      entry.body = placed(entry.body, sector);
      if (this.dueAt(entry) > now || isUnplaced(entry.body)) continue;
      this.pace.take(entry.kind, now);
      entry.sent = true;
      due.push({ [entry.kind]: { n, ...entry.body } } as unknown as ClientFrame);
    }
    return due.length === 0 ? due : [...due, ...this.takeDue(now, sector)];
  }

  /** When to look again for what waits for its time only; null: nothing does. */
  nextDue(): number | null {
    const times = this.firstUnsent().filter(([, { body }]) => !isUnplaced(body)).map(([, entry]) => this.dueAt(entry));
    return times.length === 0 ? null : Math.min(...times);
  }

  /** The answer to one request; an answer of another kind, or to none that waits, changes nothing. */
  settle<K extends Kind>(kind: K, n: number, answer: Answers[K]): void {
    const entry = this.entries.get(n);
    if (entry?.kind !== kind) return;
    this.entries.delete(n);
    entry.resolve(answer as never);
  }

  refuse(n: number, code: string, facts: Facts): void {
    this.entries.get(n)?.reject(new Refused(code, facts));
    this.entries.delete(n);
  }

  /** The player is in another region: the sectors there and the ids of its feeds are others. */
  leaveRegion(): void {
    for (const [n, { body }] of this.entries) if (isOfRegion(body)) this.refuse(n, "not_there", {});
  }

  refuseAll(code: string, facts: Facts): void {
    for (const n of [...this.entries.keys()]) this.refuse(n, code, facts);
  }

  /** The first of each kind: nothing overtakes its own kind. */
  private firstUnsent(): [n: number, entry: Entry][] {
    const first = new Map<Kind, [number, Entry]>();
    const sendable = [...this.entries].filter(([, { kind }]) => this.hasFeeds || kind === "observe");
    for (const [n, entry] of sendable.slice(0, ASKED_AT_ONCE_MAX)) {
      if (!entry.sent && !first.has(entry.kind)) first.set(entry.kind, [n, entry]);
    }
    return [...first.values()];
  }

  private dueAt({ kind, notBefore }: Entry): number {
    return Math.max(notBefore, this.pace.dueAt(kind));
  }
}

function isOfRegion(body: Asks[Kind]): boolean {
  const room = "to" in body ? body.to : "of" in body ? body.of : "";
  return room.startsWith("sector:") || "before" in body;
}

function isUnplaced(body: Asks[Kind]): boolean {
  return ("to" in body && body.to === HERE) || ("of" in body && body.of === HERE);
}

/** With the sector's name where it said `sector`: from then on it is that one, wherever the player goes. */
function placed(body: Asks[Kind], sector: string | null): Asks[Kind] {
  if (sector === null || !isUnplaced(body)) return body;
  const room = `sector:${sector}`;
  return "to" in body ? { ...body, to: room } : { ...body, of: room };
}
