// The player's calls to workers: numbered, kept until their one end, sent again on each connection. Pure: time comes as an
// argument, what is to be sent is answered; must not know sockets.

import { carried } from "./carried.js";
import type { Call, Json } from "./frames.js";
import { Numbers } from "./numbers.js";
import { Pace } from "./pace.js";

/** How a call ended. `failed`: a code of PROTOCOL.md; `left`: the client left before. */
export type CallOutcome =
  | { readonly reply: { readonly body: Json; readonly conversation: string } }
  | { readonly failed: { readonly code: string } };

/** They are paced as one kind. */
const KIND = "call";
/** The server takes no more of one player. */
const OPEN_MAX = 4;
const BODY_BYTES_MAX = 4096;

interface Entry {
  readonly call: Call;
  /** On this connection. */
  sent: boolean;
  notBefore: number;
}

export class Calls {
  private actor: number | null = null;
  /** In the order of n. */
  private readonly entries = new Map<number, Entry>();
  private readonly pace = new Pace();

  /** `settled` hears of every call once. */
  constructor(
    private readonly settled: (n: number, outcome: CallOutcome) => void,
    private readonly numbers = new Numbers(),
  ) {}

  add(service: string, body: Json, conversation: string | undefined): number {
    const checked = checkedBody(body);
    const n = this.numbers.next();
    const call = { n, service, body: checked, ...(conversation !== undefined && { conversation }) };
    this.entries.set(n, { call, sent: false, notBefore: -Infinity });
    return n;
  }

  /** A new connection: what is open must be sent on it again. */
  restart(): void {
    for (const entry of this.entries.values()) entry.sent = false;
  }

  /**
   * The server's word on the actor: another one than before knows nothing of the calls of the old. `perS`: how many calls it
   * takes per second.
   */
  welcome(actor: number, perS: number): void {
    this.pace.limit(perS);
    if (this.actor !== null && this.actor !== actor) this.settleAll("unknown_actor");
    this.actor = actor;
  }

  /** What to send now, in order; it counts as sent. */
  takeDue(now: number): Call[] {
    const due: Call[] = [];
    for (const entry of this.waiting()) {
      if (this.dueAt(entry) > now) continue;
      this.pace.take(KIND, now);
      entry.sent = true;
      due.push(entry.call);
    }
    return due;
  }

  /** When to look again for one that waits for its time only; null: there is none. */
  nextDue(): number | null {
    const next = Math.min(...this.waiting().map((entry) => this.dueAt(entry)));
    return next === Infinity ? null : next;
  }

  /** This call was not taken: it is sent again then. */
  sendAgain(n: number, at: number): void {
    const entry = this.entries.get(n);
    if (entry === undefined) return;
    Object.assign(entry, { sent: false, notBefore: at });
    this.pace.pause(KIND, at);
  }

  settle(n: number, outcome: CallOutcome): void {
    if (this.entries.delete(n)) this.settled(n, outcome);
  }

  settleAll(code: string): void {
    for (const n of [...this.entries.keys()]) this.settle(n, { failed: { code } });
  }

  private dueAt({ notBefore }: Entry): number {
    return Math.max(notBefore, this.pace.dueAt(KIND));
  }

  /** The oldest that may be open and were not sent. */
  private waiting(): Entry[] {
    return [...this.entries.values()].slice(0, OPEN_MAX).filter((entry) => !entry.sent);
  }
}

/** What the server would refuse is refused here, where the caller hears of it. */
function checkedBody(body: Json): Json {
  const checked = carried("call", body);
  if (new TextEncoder().encode(JSON.stringify(checked)).length > BODY_BYTES_MAX) {
    throw new RangeError(`call: a body has at most ${BODY_BYTES_MAX} bytes as JSON`);
  }
  return checked;
}
