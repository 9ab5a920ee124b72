// What an actor's marks say about one action, in the order of PROTOCOL.md. Pure.

import type { Facts, Marks } from "./frames.js";

/** `version`: of the room that answered; null if the answer comes from marks, which do not keep it. */
export type Answer =
  | { readonly ack: { readonly version: number | null } }
  | { readonly reject: { readonly code: string; readonly facts: Facts; readonly version: number | null } };

const BITMAP_BITS = 128;

export function rejected(code: string, facts: Facts = {}, version: number | null = null): Answer {
  return { reject: { code, facts, version } };
}

/** null: not decided. */
export function answerIn({ high, bitmap, answers }: Marks, seq: number): Answer | null {
  const kept = answers.find((each) => each.seq === seq)?.answer;
  if (kept === "ack") return { ack: { version: null } };
  if (kept !== undefined) return rejected(kept.reject.code, kept.reject.facts);
  if (seq > high) return null;
  if (seq === high) return rejected("already");
  if (seq < high - BITMAP_BITS) return rejected("too_old");
  const decided = (BigInt(`0x${bitmap}`) >> BigInt(high - 1 - seq)) & 1n;
  return decided === 1n ? rejected("already") : null;
}
