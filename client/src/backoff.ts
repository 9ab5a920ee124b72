// How long to wait before connecting again: exponential with full jitter, so that clients of one dead node do not come
// back at one moment. Pure: randomness comes as an argument.

export const BACKOFF_FIRST_MS = 250;
export const BACKOFF_MAX_MS = 10_000;

/** From so many failed attempts on it grows no more. */
export const BACKOFF_LONGEST_FROM = Math.ceil(Math.log2(BACKOFF_MAX_MS / BACKOFF_FIRST_MS));

/** Up to where the delay may go after so many failed attempts in a row. */
export function backoffCeiling(attempts: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts);
}

/** `random`: in [0, 1). */
export function backoff(attempts: number, random: () => number): number {
  return random() * backoffCeiling(attempts);
}
