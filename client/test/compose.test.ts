// Composition as a law: for every two deltas that follow each other, one after the other or both as one is the same.

import fc from "fast-check";
import { expect, test } from "vitest";

import { compose } from "../src/compose.js";
import type { Change, Delta, FieldChanges, Value } from "../src/frames.js";
import { Room } from "../src/room.js";

const FIELDS = ["kind", "player", "x", "y"];
const SEED = 7;

const value: fc.Arbitrary<Value> = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.string({ maxLength: 3 }));
const set: fc.Arbitrary<FieldChanges> = fc.dictionary(fc.constantFrom(...FIELDS), fc.option(value), { maxKeys: 3 });
const change: fc.Arbitrary<Change> = fc.record({ entity: fc.integer({ min: 1, max: 4 }), set: fc.option(set) }).map(
  ({ entity, set }): Change => (set === null ? { entity, removed: true } : { entity, set }),
);
const changes = fc.uniqueArray(change, { maxLength: 4, selector: ({ entity }) => entity });

/** Deltas that follow each other from version 0; nothing follows a removal, because no alias is used again. */
const deltas = (count: number): fc.Arbitrary<Delta[]> =>
  fc.array(changes, { minLength: count, maxLength: count }).map((all) => {
    const removed = new Set<number>();
    return all.map((each, from) => {
      const living = each.filter(({ entity }) => !removed.has(entity));
      for (const one of living) if ("removed" in one) removed.add(one.entity);
      return { room: 0, from, to: from + 1, sum: 0, changes: living };
    });
  });

function roomAt(version: number, all: readonly Delta[]): Room {
  const room = new Room(
    { room: 0, sector: "1", id: "1-0", owner: "", sum: 0, entities: [], own: {}, own_sum: 0, marks: [], reason: "join" },
    FIELDS,
  );
  for (const delta of all.slice(0, version)) room.takeDelta(delta);
  return room;
}

const state = (room: Room): unknown => [room.version, room.sum, room.entities];

test(`two deltas as one fit every state between their ends (seed ${SEED})`, () => {
  fc.assert(
    fc.property(deltas(4), (all) => {
      const composed = all.slice(1).reduce((before, delta) => compose(before, delta), all[0]!);
      expect([composed.from, composed.to]).toEqual([0, 4]);
      const wanted = state(roomAt(4, all));
      for (let version = 0; version <= 4; version += 1) {
        const room = roomAt(version, all);
        room.takeDelta(composed);
        expect(state(room)).toEqual(wanted);
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test(`the order of composing does not matter (seed ${SEED})`, () => {
  fc.assert(
    fc.property(deltas(3), ([a, b, c]) => {
      expect(compose(compose(a!, b!), c!)).toEqual(compose(a!, compose(b!, c!)));
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test(`the sum that is kept is the sum that is counted (seed ${SEED})`, () => {
  fc.assert(
    fc.property(deltas(6), (all) => {
      const room = roomAt(6, all);
      const entities = [...room.entities].map(([entity, fields]) => ({ entity, fields: Object.fromEntries(fields) }));
      const again = new Room(
        { room: 0, sector: "1", id: "1-6", owner: "", sum: 0, entities, own: {}, own_sum: 0, marks: [], reason: "join" },
        FIELDS,
      );
      expect(again.sum).toBe(room.sum);
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test("deltas that do not follow each other are refused", () => {
  const delta = (from: number, to: number, room = 0): Delta => ({ room, from, to, sum: 0, changes: [] });
  expect(() => compose(delta(1, 2), delta(3, 4))).toThrow("from 3 cannot follow one to 2");
  expect(() => compose(delta(1, 3), delta(2, 4))).toThrow(RangeError);
  expect(() => compose(delta(1, 2), delta(2, 3, 1))).toThrow(RangeError);
});
