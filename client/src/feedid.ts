// Places in a feed: `<ms>-<n>`, ordered by both numbers and never as text. Pure.

/** `<ms since 1970>-<number within that ms>` */
export type FeedId = string;

/** Numbers of up to 64 bits, without leading zeros. */
export const FEED_ID = /^(?:0|[1-9]\d{0,19})-(?:0|[1-9]\d{0,19})$/;

/** Below 0: `a` comes before `b`. */
export function compareFeedIds(a: FeedId, b: FeedId): number {
  const [aMs = "", aN = ""] = a.split("-");
  const [bMs = "", bN = ""] = b.split("-");
  return compareDigits(aMs, bMs) || compareDigits(aN, bN);
}

/** When it was said, ms since 1970. */
export function timeOf(id: FeedId): number {
  return Number(id.split("-")[0]);
}

/** Without leading zeros the longer number is the greater one; exact where a float would not be. */
function compareDigits(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}
