// What both codecs carry and a server reads: texts without half surrogates, whole numbers, keys that every library takes,
// and not too deep. Pure; must not know what is said by it.

import type { Json } from "./frames.js";

/** Maps and lists within each other. */
export const CARRIED_DEPTH_MAX = 12;

/** Libraries refuse it, so that nobody's prototype is changed by what somebody sent. */
export const NO_KEY = "__proto__";

/** Half a surrogate pair, which no codec can carry, becomes U+FFFD. */
export function wholeText(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** A copy as every codec writes it. Throws a RangeError, for `what`, where a server would close the connection for good. */
export function carried(what: string, value: Json): Json {
  const text = JSON.stringify(value, (_, each: unknown) => {
    if (typeof each === "number" && !Number.isSafeInteger(each)) throw new RangeError(`${what}: only whole numbers`);
    return each;
  }) as string | undefined;
  if (text === undefined) throw new RangeError(`${what}: nothing that JSON has`);
  return whole(what, JSON.parse(text) as Json, 0);
}

function whole(what: string, value: Json, depth: number): Json {
  if (typeof value === "string") return wholeText(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth === CARRIED_DEPTH_MAX) throw new RangeError(`${what}: at most ${CARRIED_DEPTH_MAX} lists and maps within each other`);
  if (Array.isArray(value)) return value.map((each: Json) => whole(what, each, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => {
    if (key === NO_KEY) throw new RangeError(`${what}: ${NO_KEY} is no key`);
    return [wholeText(key), whole(what, each, depth + 1)];
  }));
}
