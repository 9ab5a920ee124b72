// How long to wait before connecting again: exponential with full jitter, so that clients of one dead node do not come
// back at one moment. Pure: randomness comes as an argument.

export const BACKOFF_FIRST_MS = 250;
export const BACKOFF_MAX_MS = 10_000;

/** Up to where the delay may go after so many failed attempts in a row. */
export function backoffCeiling(attempts: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts);
}

/** `random`: in [0, 1). */
export function backoff(attempts: number, random: () => number): number {
  return random() * backoffCeiling(attempts);
}
