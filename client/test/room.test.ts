// What a room makes of each frame, by the rules of PROTOCOL.md's Versions.

import { beforeEach, expect, test } from "vitest";

import { CODECS } from "../src/codec/codec.js";
import type { Delta, Own, Owner, Snapshot } from "../src/frames.js";
import { Room } from "../src/room.js";
import { examples, VECTORS } from "./page.js";

/** The examples of the page belong together: the deltas and `own` follow on the snapshot. */
function example<Body>(name: string, at = 0): Body {
  const frames = examples().map(({ json }) => CODECS.json.decode(json)).filter((frame) => frame?.name === name);
  return frames[at]?.body as Body;
}

let room: Room;
beforeEach(() => {
  room = new Room(example<Snapshot>("snapshot"), VECTORS.field_names);
});

const empty = (from: number, to: number) => ({ from, to, sum: room.sum, changes: [] });

test("the page's snapshot, own, deltas and owner follow on each other with the sums they carry", () => {
  const snapshot = example<Snapshot>("snapshot");
  expect([room.sum, room.ownSum, room.known.cursor]).toEqual([snapshot.sum, snapshot.own_sum, "1763870400000-6"]);
  expect(room.takeOwn(example<Own>("own"))).toBe("applied");
  expect(room.takeDelta(example<Delta>("delta"))).toBe("applied");
  expect(room.takeDelta(example<Delta>("delta", 1))).toBe("applied");
  expect(room.takeOwner(example<Owner>("owner"))).toBe("applied");
  expect([room.known.cursor, room.owner]).toEqual(["1763870433001-10", "n3"]);
  expect(room.entities.get(5)?.get("status")).toBe("away");
  expect(room.entities.has(6)).toBe(false);
  expect(room.own.has("credits")).toBe(false);
  expect(room.ofKind("ship").map(([alias]) => alias)).toEqual([5, 7]);
});

test("an ack above the version is named beside the cursor, until that version is there", () => {
  room.takeAck(7);
  room.takeAck(5);
  expect(room.known).toEqual({ sector: "12", cursor: "1763870400000-6", acked: "1763870400000-7" });
  room.takeDelta(empty(6, 7));
  expect(room.known).toEqual({ sector: "12", cursor: "1763870400000-7" });
});

test("own changes above the version are named like an ack, until their delta is there", () => {
  const own = example<Own>("own");
  room.takeOwn(own);
  expect(room.known).toEqual({ sector: "12", cursor: "1763870400000-6", acked: "1763870400000-7" });
  room.takeOwn({ ...own, to: 5 });
  expect(room.known.acked).toBe("1763870400000-7");
  room.takeDelta(example<Delta>("delta"));
  expect(room.known).toEqual({ sector: "12", cursor: "1763870400000-7" });
});

test("a welcome's head is named with its own epoch, and an ack behind it with no earlier one", () => {
  room.takeAck(7);
  room.takeHead("1763870400009-9");
  expect(room.known.acked).toBe("1763870400009-9");
  room.takeHead("1763870400009-8");
  room.takeAck(8);
  expect(room.known.acked).toBe("1763870400009-9");
  room.takeAck(10);
  expect(room.known).toEqual({ sector: "12", cursor: "1763870400000-6", acked: "1763870400009-10" });
  room.takeDelta(empty(6, 10));
  expect(room.known).toEqual({ sector: "12", cursor: "1763870400000-10" });
});

test("a head that is the cursor, or before it, is not named", () => {
  room.takeHead("1763870400000-6");
  expect(room.known).not.toHaveProperty("acked");
});

test("a delta that leads nowhere new is stale, one behind a hole is a gap, one across the version is applied", () => {
  expect(room.takeDelta(empty(4, 5))).toBe("stale");
  expect(room.takeDelta(empty(7, 8))).toBe("gap");
  expect(room.version).toBe(6);
  expect(room.takeDelta(empty(4, 6))).toBe("applied");
  expect(room.takeDelta(empty(5, 9))).toBe("applied");
  expect(room.version).toBe(9);
});

test("own of a version that is known is stale", () => {
  expect(room.takeOwn({ to: 6, sum: 0, set: { credits: 1 } })).toBe("stale");
  expect(room.takeOwn(example<Own>("own"))).toBe("applied");
  expect(room.takeOwn(example<Own>("own"))).toBe("stale");
});

test("another sum is drift, and what came is applied all the same", () => {
  expect(room.takeDelta({ ...example<Delta>("delta"), sum: 1 })).toBe("drift");
  expect(room.version).toBe(7);
  expect(room.takeOwn({ ...example<Own>("own"), to: 8, sum: 1 })).toBe("drift");
  expect(room.own.get("ready_at")).toBe(1763870415000);
});

test("an owner's entry counts on, an older one only names the owner, one behind a hole is a gap", () => {
  expect(room.takeOwner({ room: 0, node: "n2", epoch: 1763870400009, version: 8 })).toBe("gap");
  expect(room.takeOwner({ room: 0, node: "n2", epoch: 1763870400009, version: 7 })).toBe("applied");
  expect(room.takeOwner({ room: 0, node: "n3", epoch: 1763870400010, version: 5 })).toBe("applied");
  expect([room.known.cursor, room.owner]).toEqual(["1763870400010-7", "n3"]);
});

test("a field that has no name here goes by its number and is in the sum", () => {
  const before = room.sum;
  room.takeDelta({ from: 6, to: 7, sum: 0, changes: [{ entity: 5, set: { "40": "new" } }] });
  expect(room.entities.get(5)?.get("40")).toBe("new");
  expect(room.sum).not.toBe(before);
  room.takeDelta({ from: 7, to: 8, sum: 0, changes: [{ entity: 5, set: { "40": null } }] });
  expect(room.sum).toBe(before);
});

test("names of fields are no way out of a room's own maps", () => {
  const frame = CODECS.json.decode('{"delta":{"room":0,"from":6,"to":7,"sum":0,"changes":[{"entity":5,"set":{"__proto__":"x"}}]}}');
  room.takeDelta(frame?.body as Delta);
  expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  expect(Object.getPrototypeOf(room.entities.get(5))).toBe(Map.prototype);
});
