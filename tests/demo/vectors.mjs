// The page's own checksum, room and action queue against shared/vectors/state.json: run by tests/demo/vectors.rs, which
// puts copies of them beside this file. Prints how many cases held; throws at the first that does not.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { ActionQueue } from "./actions.js";
import { fieldHash } from "./checksum.js";
import { RoomView } from "./room.js";

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8"));
const NAMES = vectors.field_names;
let held = 0;

/** A room that has these entities (by alias, fields by number) at a version. */
function roomOf(entities, version = 0) {
  const room = new RoomView([]);
  room.version = version;
  room.entities = new Map(Object.entries(entities).map(([alias, fields]) => [Number(alias), new Map(Object.entries(fields))]));
  return room;
}

function entitiesOf(room) {
  return Object.fromEntries([...room.entities].map(([alias, fields]) => [alias, Object.fromEntries(fields)]));
}

/** Changes as a delta frame has them. A set without fields is not sent: the entity is made here instead. */
function changesOf(room, changes) {
  const frame = [];
  for (const [alias, set] of Object.entries(changes)) {
    if (set === null) frame.push({ entity: Number(alias), removed: true });
    else if (Object.keys(set).length === 0) room.entityToChange(Number(alias));
    else frame.push({ entity: Number(alias), set });
  }
  return frame;
}

for (const { entity, field, value, hash, canonical } of vectors.field_hash) {
  assert.equal(fieldHash(entity, field, value), hash, canonical);
  held += 1;
}
for (const { entities, sum } of vectors.part_sum) {
  assert.equal(roomOf(entities).publicSum(), sum);
  held += 1;
}
for (const { fields, sum } of vectors.own_sum) {
  const room = new RoomView([]);
  room.own = new Map(Object.entries(fields));
  assert.equal(room.ownSum(), sum);
  held += 1;
}
for (const { what, state, changes, result, sum } of vectors.apply) {
  const room = roomOf(state);
  assert.equal(room.takeDelta({ from: 0, to: 1, sum, changes: changesOf(room, changes) }), "applied", what);
  assert.deepEqual(entitiesOf(room), result, what);
  held += 1;
}
for (const { what, composed, states } of vectors.compose) {
  for (const [version, state] of Object.entries(states)) {
    const room = roomOf(state, Number(version));
    const delta = { ...composed, changes: changesOf(room, composed.changes) };
    assert.equal(room.takeDelta(delta), "applied", `${what} at ${version}`);
    assert.deepEqual(entitiesOf(room), states[composed.to], `${what} at ${version}`);
    held += 1;
  }
}
for (const { what, json, epoch, version, sum, own_sum } of vectors.snapshot) {
  const room = new RoomView(NAMES);
  assert.ok(room.load(json.snapshot), what);
  assert.deepEqual([room.epoch, room.version, room.publicSum(), room.ownSum()], [epoch, version, sum, own_sum], what);
  held += 1;
}
for (const { what, marks, outcomes } of vectors.marks) {
  const queue = new ActionQueue();
  queue.actor = marks.actor;
  queue.list = Object.keys(outcomes).map((seq) => ({ seq: Number(seq), since: 0, took: 0, outcome: null }));
  const pending = queue.settleFrom([{ ...marks, actor: marks.actor + 1, high: 1_000 }, marks], 1).map(({ seq }) => seq);
  for (const { seq, outcome } of queue.list) {
    const wanted = outcomes[seq];
    if (wanted === "pending") assert.ok(pending.includes(seq) && outcome === null, `${what}: ${seq}`);
    else if (wanted === "already") assert.deepEqual(outcome, { decided: true }, `${what}: ${seq}`);
    else if (wanted === "too_old") assert.equal(outcome.reject, "too_old", `${what}: ${seq}`);
    else if (wanted.answer === "ack") assert.ok("ack" in outcome, `${what}: ${seq}`);
    else assert.deepEqual(outcome, { reject: wanted.answer.reject.code, facts: wanted.answer.reject.facts }, `${what}: ${seq}`);
    held += 1;
  }
}
console.log(`${held} cases held`);
