// What a close code means for the client: the last column of the table in PROTOCOL.md's Closing. A test compares them.

export type Again = "resume" | "no" | "with a new token";

interface Close {
  readonly name: string;
  readonly again: Again;
}

/** Too much was sent: coming back at once would be more of it. */
export const FLOODING = 4011;
/** The player is in another region: nothing is to be had here, but there. */
export const ELSEWHERE = 4013;

export const CLOSES: ReadonlyMap<number, Close> = new Map([
  [1000, { name: "normal", again: "no" }],
  [1001, { name: "draining", again: "resume" }],
  [1002, { name: "websocket_violation", again: "no" }],
  [1003, { name: "wrong_kind", again: "no" }],
  [1009, { name: "frame_too_large", again: "no" }],
  [1011, { name: "internal", again: "resume" }],
  [4000, { name: "bad_frame", again: "no" }],
  [4001, { name: "hello_first", again: "no" }],
  [4002, { name: "hello_late", again: "resume" }],
  [4003, { name: "bad_token", again: "with a new token" }],
  [4004, { name: "too_many_errors", again: "no" }],
  [4005, { name: "superseded", again: "no" }],
  [4006, { name: "too_slow", again: "resume" }],
  [4007, { name: "silent", again: "resume" }],
  [4008, { name: "expired", again: "with a new token" }],
  [4009, { name: "revoked", again: "with a new token" }],
  [4010, { name: "logged_out", again: "no" }],
  [FLOODING, { name: "flooding", again: "resume" }],
  [4012, { name: "kicked", again: "resume" }],
  [ELSEWHERE, { name: "elsewhere", again: "no" }],
] as const);

/** No close frame came. */
export const LOST = 1006;

/** A code that is not in the table comes from the network or a newer server: coming back with back-off is safe. */
export function closeOf(code: number): Close {
  return CLOSES.get(code) ?? { name: code === LOST ? "lost" : "unknown", again: "resume" };
}
