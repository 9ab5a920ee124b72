// shared/vectors/state.json, case by case: checksums, deltas, composition, snapshots in both codecs, marks.

import { expect, test } from "vitest";

import { Actions } from "../src/actions.js";
import { fieldHash } from "../src/checksum.js";
import { CODECS } from "../src/codec/codec.js";
import { compose } from "../src/compose.js";
import type { Change, Delta, Fields, Snapshot } from "../src/frames.js";
import { rejected, type Answer } from "../src/marks.js";
import { Room } from "../src/room.js";
import { bytes, table, VECTORS, type Changes, type Entities, type MarksOutcome, type VectorDelta } from "./page.js";

/** A room with these entities (by alias, fields by number) at a version. */
function roomOf(entities: Entities, version = 0, own: Fields = {}): Room {
  const list = Object.entries(entities).map(([alias, fields]) => ({ entity: Number(alias), fields }));
  const snapshot: Snapshot = {
    room: 0, sector: "1", id: `1-${version}`, owner: "", sum: 0, entities: list, own, own_sum: 0, marks: [], reason: "join",
  };
  return new Room(snapshot, []);
}

function entitiesOf(room: Room): unknown {
  return Object.fromEntries([...room.entities].map(([alias, fields]) => [alias, Object.fromEntries(fields)]));
}

function changesOf(changes: Changes): Change[] {
  return Object.entries(changes).map(([alias, set]) =>
    set === null ? { entity: Number(alias), removed: true } : { entity: Number(alias), set });
}

test.each(VECTORS.field_hash)("$canonical hashes to $hash", ({ entity, field, value, hash }) => {
  expect(fieldHash(entity, field, value)).toBe(hash);
});

test.each(table("| canonical text | hash |"))("PROTOCOL.md: %s hashes to %s", (canonical, hash) => {
  const [alias, field, kind, text] = /^(\d+):(\d+):([is])(.*)$/.exec(canonical ?? "")?.slice(1) ?? [];
  expect(fieldHash(Number(alias), Number(field), kind === "i" ? Number(text) : (text ?? ""))).toBe(Number(hash));
});

test.each(VECTORS.part_sum)("the fields of all entities add up to $sum", ({ entities, sum }) => {
  expect(roomOf(entities).sum).toBe(sum);
});

test.each(VECTORS.own_sum)("own fields add up to $sum", ({ fields, sum }) => {
  expect(roomOf({}, 0, fields).ownSum).toBe(sum);
});

test.each(VECTORS.apply)("applied: $what", ({ state, changes, result, sum }) => {
  const room = roomOf(state);
  expect(room.takeDelta({ from: 0, to: 1, sum, changes: changesOf(changes) })).toBe("applied");
  expect(entitiesOf(room)).toEqual(result);
});

test.each(VECTORS.compose)("composed: $what", ({ first, second, composed, states }) => {
  const delta = ({ changes, ...rest }: VectorDelta): Delta => ({ room: 0, ...rest, changes: changesOf(changes) });
  const both = compose(delta(first), delta(second));
  expect(both).toEqual(delta(composed));
  for (const [version, state] of Object.entries(states)) {
    const room = roomOf(state, Number(version));
    expect(room.takeDelta(both), `at ${version}`).toBe("applied");
    expect(entitiesOf(room), `at ${version}`).toEqual(states[composed.to]);
  }
});

test.each(VECTORS.snapshot)("a snapshot in both codecs: $what", ({ json, msgpack, epoch, version, sum, own_sum }) => {
  const frames = [CODECS.json.decode(JSON.stringify(json)), CODECS.msgpack.decode(bytes(msgpack))];
  const rooms = frames.map((frame) => new Room(frame?.body as Snapshot, VECTORS.field_names));
  for (const room of rooms) {
    expect([room.epoch, room.version, room.sum, room.ownSum]).toEqual([epoch, version, sum, own_sum]);
  }
  expect(rooms[0]).toEqual(rooms[1]);
});

test.each(VECTORS.marks)("marks: $what", ({ marks, outcomes }) => {
  const answers = new Map<number, Answer>();
  const actions = new Actions(({ seq }, answer) => answers.set(seq, answer));
  const last = Math.max(...Object.keys(outcomes).map(Number));
  for (let seq = 1; seq <= last; seq += 1) actions.add({ move: { to: "1" } }, 0);
  actions.welcome(marks.actor);
  actions.settleFrom([{ ...marks, actor: marks.actor + 1, high: 1_000_000 }, marks]);
  for (const [seq, outcome] of Object.entries(outcomes)) {
    expect(answers.get(Number(seq)), seq).toEqual(expected(outcome));
  }
});

function expected(outcome: MarksOutcome): Answer | undefined {
  if (outcome === "pending") return undefined;
  if (typeof outcome === "string") return rejected(outcome);
  if (outcome.answer === "ack") return { ack: { version: null } };
  return rejected(outcome.answer.reject.code, outcome.answer.reject.facts);
}
