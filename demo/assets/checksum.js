// The checksum of a room as a client computes it: one 32-bit hash per field, added up.
// Must not know frames or versions; the same rule as in shared/PROTOCOL.md.

const utf8 = new TextEncoder();

/** Own fields of the player are hashed under this alias. */
export const OWN_ALIAS = 0;

/** What one field adds to the sum. `value` is an integer or a string. */
export function fieldHash(alias, fieldNumber, value) {
  if (value === 0) return 0;
  const kind = typeof value === "string" ? "s" : "i";
  let hash = 0x811c9dc5;
  for (const byte of utf8.encode(`${alias}:${fieldNumber}:${kind}${value}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return spread(hash);
}

function spread(hash) {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
