// Ships that come and go, derived from deltas: told by name, and of many in a second only how many.

import { describe, expect, test } from "vitest";

import { PassagesOf, TOLD_PER_S_MAX, type Passages } from "../src/passages.js";
import type { Change } from "../src/frames.js";
import { FieldNames } from "../src/fields.js";
import { fieldHash } from "../src/checksum.js";
import { FakeSocket, eachTestAnew, playing, recovered, nextSocket, settle, snapshot, talking } from "./fake.js";

const ME = "ann";

/** A sector whose ships a test moves by hand. */
class Sky {
  readonly told: [at: number, passages: Passages][] = [];
  readonly entities = new Map<number, Map<string, string | number>>();
  readonly passages = new PassagesOf((passages) => this.told.push([this.now, passages]));
  now = 0;
  private alias = 0;

  constructor() {
    this.passages.reset("12", this.entities);
  }

  /** What happens in one delta. */
  at(now: number, happens: () => number[]): void {
    this.now = now;
    const changes = happens().map((entity): Change => ({ entity, set: {} }));
    this.passages.changed(this.entities, changes, ME, now);
  }

  comes(player: string, more: Record<string, string> = {}): number {
    this.alias += 1;
    this.entities.set(this.alias, new Map(Object.entries({ kind: "ship", player, name: player.toUpperCase(), ...more })));
    return this.alias;
  }

  goes(alias: number): number {
    this.entities.delete(alias);
    return alias;
  }

  flush(now: number): void {
    this.now = now;
    this.passages.flush(now);
  }
}

test("who comes and goes is told by name; the own ship is not, and what is no ship is not", () => {
  const sky = new Sky();
  let bob = 0;
  sky.at(0, () => [(bob = sky.comes("bob")), sky.comes(ME), sky.comes("x", { kind: "port" })]);
  sky.at(10, () => [sky.comes("eve", { name: "<b>Eve</b>" }), sky.goes(bob)]);
  sky.at(20, () => [sky.goes(2)]);
  expect(sky.told).toEqual([[0, { entered: ["BOB"], left: [] }], [10, { entered: ["<b>Eve</b>"], left: ["BOB"] }]]);
});

test("a ship whose connection is lost neither comes nor goes", () => {
  const sky = new Sky();
  let [bob, eve] = [0, 0];
  sky.at(0, () => [(bob = sky.comes("bob"))]);
  sky.at(1, () => [sky.entities.get(bob)!.set("status", "link_dead") && bob]);
  sky.at(2, () => [(eve = sky.comes("eve", { status: "link_dead" }))]);
  sky.at(3, () => [sky.goes(bob), sky.goes(eve)]);
  expect(sky.told).toEqual([[0, { entered: ["BOB"], left: [] }]]);
});

test("nobody comes or leaves by a snapshot, and whoever left and came back in one delta did neither", () => {
  const sky = new Sky();
  const [bob, eve] = [sky.comes("bob"), sky.comes("eve")];
  sky.passages.reset("12", sky.entities);
  sky.at(0, () => [sky.goes(bob), sky.comes("bob"), sky.goes(eve)]);
  expect(sky.told).toEqual([[0, { entered: [], left: ["EVE"] }]]);
});

test(`above ${TOLD_PER_S_MAX} in a second there is one digest for each second, until a calm one`, () => {
  const sky = new Sky();
  const bobs: number[] = [];
  const come = (at: number, count: number) => sky.at(at, () => Array.from({ length: count }, (_, n) => {
    bobs.push(sky.comes(`p${at}-${n}`));
    return bobs.at(-1)!;
  }));
  come(0, 3);
  come(500, 2);
  come(900, 1);
  expect(sky.passages.nextDue()).toBe(1_900);
  sky.at(950, () => bobs.map((alias) => sky.goes(alias)));
  sky.flush(1_899);
  expect(sky.told.map(([at]) => at)).toEqual([0, 500]);
  sky.flush(1_900);
  come(2_000, 2);
  sky.flush(2_900);
  expect(sky.told.slice(2)).toEqual([[1_900, { entered: 1, left: 6 }], [2_900, { entered: 2, left: 0 }]]);
  expect(sky.passages.nextDue()).toBeNull();
  come(3_000, 5);
  expect(sky.told.at(-1)).toEqual([3_000, { entered: ["P3000-0", "P3000-1", "P3000-2", "P3000-3", "P3000-4"], left: [] }]);
});

test("five in a second are told however they are spread, the sixth within it is not", () => {
  const sky = new Sky();
  for (const at of [0, 200, 400, 600, 800, 1_001]) sky.at(at, () => [sky.comes(`p${at}`)]);
  expect(sky.told).toHaveLength(6);
  sky.at(1_100, () => [sky.comes("late")]);
  expect([sky.told.length, sky.passages.nextDue()]).toEqual([6, 2_100]);
});

test("a digest of a sector that the player has left is not told; one of a sector that came anew is", () => {
  const sky = new Sky();
  sky.at(0, () => Array.from({ length: 6 }, (_, n) => sky.comes(`p${n}`)));
  sky.passages.reset("12", sky.entities);
  expect(sky.passages.nextDue()).toBe(1_000);
  sky.passages.reset("13", new Map());
  sky.flush(1_000);
  expect(sky.told).toEqual([]);
});

describe("in the client", () => {
  eachTestAnew();
  const names = new FieldNames(["kind", "player", "name", "status", "x", "y"]);
  const ship = (player: string) => ({ kind: "ship", player, name: player });
  const sumOf = (entities: Record<number, Record<string, string>>): number =>
    Object.entries(entities).reduce((sum, [alias, fields]) => Object.entries(fields).reduce(
      (all, [name, value]) => (all + fieldHash(Number(alias), names.numberOf(name), value)) >>> 0, sum), 0);
  const delta = (from: number, changes: object[], sum: number) => ({ delta: { room: 0, from, to: from + 1, sum, changes } });

  test("deltas tell of them, also those of a resumed connection; digests come by the client's own clock", async () => {
    const { client } = await playing();
    const heard: Passages[] = [];
    client.onPassages((passages) => heard.push(passages));
    FakeSocket.last.say(delta(6, [{ entity: 1, set: ship("bob") }], sumOf({ 1: ship("bob") })));
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(recovered());
    socket.say(delta(7, [{ entity: 1, removed: true }], 0));
    expect(heard).toEqual([{ entered: ["bob"], left: [] }, { entered: [], left: ["bob"] }]);
    const many = Object.fromEntries([2, 3, 4, 5, 6, 7].map((alias) => [alias, ship(`p${alias}`)]));
    socket.say(delta(8, Object.entries(many).map(([entity, set]) => ({ entity: Number(entity), set })), sumOf(many)));
    expect([heard.length, client.verified]).toEqual([2, true]);
    await settle(1_000);
    expect(heard.slice(2)).toEqual([{ entered: 6, left: 0 }]);
    socket.say(snapshot({ id: "100-20", reason: "resync" }));
    await settle(2_000);
    expect(heard).toHaveLength(3);
  });

  test("whoever does not want to know is not told", async () => {
    const { client } = await talking();
    const heard: Passages[] = [];
    client.onPassages((passages) => heard.push(passages));
    FakeSocket.last.say({ preferences: { unwanted: ["passage"] } });
    FakeSocket.last.say(delta(6, [{ entity: 1, set: ship("bob") }], sumOf({ 1: ship("bob") })));
    FakeSocket.last.say({ preferences: { unwanted: [] } });
    FakeSocket.last.say(delta(7, [{ entity: 1, removed: true }], 0));
    expect(heard).toEqual([{ entered: [], left: ["bob"] }]);
  });
});
