// The checksum of a room: one 32-bit hash per field, added up modulo 2^32. Must not know frames or versions.

import type { Value } from "./frames.js";

const utf8 = new TextEncoder();

/** Own fields of the player are hashed under this alias. */
export const OWN_ALIAS = 0;

/** What one field adds to the sum. */
export function fieldHash(alias: number, fieldNumber: number, value: Value): number {
  if (value === 0) return 0;
  const kind = typeof value === "string" ? "s" : "i";
  let hash = 0x811c9dc5;
  for (const byte of utf8.encode(`${alias}:${fieldNumber}:${kind}${value}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return mixed(hash);
}

export function add(sum: number, hash: number): number {
  return (sum + hash) >>> 0;
}

export function subtract(sum: number, hash: number): number {
  return (sum - hash) >>> 0;
}

/** murmur3's 32-bit finaliser. */
function mixed(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
