// Two deltas of one room as one. Values are absolute and removals are kept, so a composed delta fits every state
// between its ends. Pure: must not know a room's state, its checksums or names of fields.

import type { Change, Delta } from "./frames.js";

/**
 * `first` then `second`: applied to the state at any version in [first.from, second.to] it gives that at `second.to`.
 * Throws if `second` does not begin where `first` ends.
 */
export function compose(first: Delta, second: Delta): Delta {
  if (second.room !== first.room || second.from !== first.to) {
    throw new RangeError(`a delta from ${second.from} cannot follow one to ${first.to}`);
  }
  const changes = new Map(first.changes.map((change) => [change.entity, change]));
  for (const change of second.changes) changes.set(change.entity, merged(changes.get(change.entity), change));
  return { room: first.room, from: first.from, to: second.to, sum: second.sum, changes: [...changes.values()] };
}

/** An alias is never used again, so nothing follows a removal. */
function merged(earlier: Change | undefined, later: Change): Change {
  if (earlier === undefined || "removed" in earlier || "removed" in later) return later;
  return { entity: later.entity, set: { ...earlier.set, ...later.set } };
}
