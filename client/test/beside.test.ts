// The rooms beside the sector, and whose presence is watched: the frames of PROTOCOL.md, and a scripted server.

import { describe, expect, test } from "vitest";

import { Beside, type Population, type Team } from "../src/beside.js";
import { CODECS } from "../src/codec/codec.js";
import { Copy } from "../src/copy.js";
import type { RoomSnapshot, ServerFrame } from "../src/frames.js";
import { PresenceOf, WATCHED_MAX } from "../src/presence.js";
import { FakeSocket, eachTestAnew, nextSocket, playing, recovered, settle, snapshot, welcome } from "./fake.js";
import { examples, VECTORS } from "./page.js";

const rooms = examples().map(({ json }) => CODECS.json.decode(json)).filter((frame) => frame?.name === "room")
  .map((frame) => (frame as ServerFrame).body as RoomSnapshot);
const team = rooms.find(({ room }) => room === 1)!;
const global = rooms.find(({ room }) => room === 2)!;
const FIELDS = { fields: VECTORS.field_names };

eachTestAnew();

const say = (frame: object): void => FakeSocket.last.say(frame);
/** A client that plays, of a server that has all fields of the page. */
async function joined() {
  const it = await playing();
  say(welcome(FIELDS));
  say(snapshot());
  const heard: (Team | Population | null)[] = [];
  it.client.onTeam((each) => heard.push(each));
  it.client.onPopulation((each) => heard.push(each));
  say({ room: team });
  say({ room: global });
  return { ...it, heard };
}
const statuses = (each: Team | null | undefined) => each?.members.map(({ player, status }) => [player, status]);

test("the page's team and counts are shown, with the sums they carry", () => {
  const heard: unknown[] = [];
  const beside = new Beside({ team: (each) => heard.push(each), population: (each) => heard.push(each) });
  beside.welcome(VECTORS.field_names);
  expect([beside.takeRoom(team), beside.takeRoom(global)]).toEqual(["applied", "applied"]);
  expect(beside.team).toEqual({
    id: "red",
    owner: "n2",
    version: 9,
    members: [
      { player: "ann", name: "Ann", role: "captain", status: "online", devices: 2, sector: "12", lastSeen: null },
      { player: "bob", name: "Bob", role: "pilot", status: "offline", devices: 0, sector: null, lastSeen: 1_763_870_300_000 },
    ],
  });
  expect(beside.population).toEqual({ players: 214, nodes: 3 });
  expect(heard).toEqual([beside.team, beside.population]);
  expect(beside.takeRoom({ ...global, room: 3 })).toBe("stale");
  expect(beside.takeRoom({ ...global, sum: 1 })).toBe("drift");
});

test("deltas and owners of a slot go on from its room, each slot with a version of its own", async () => {
  const { client, heard } = await joined();
  expect(heard).toHaveLength(2);
  const bob = new Copy({ ...team, entities: team.entities.filter(({ entity }) => entity === 2) }, VECTORS.field_names);
  say({ delta: { room: 1, from: 9, to: 10, sum: bob.sum, changes: [{ entity: 1, removed: true }] } });
  expect(statuses(client.team)).toEqual([["bob", "offline"]]);
  say({ owner: { room: 1, node: "n3", epoch: 1763870499999, version: 11 } });
  expect([client.team?.owner, client.team?.version, client.room?.version]).toEqual(["n3", 11, 6]);
  expect([client.population, client.room?.owner]).toEqual([{ players: 214, nodes: 3 }, "n1"]);
  expect(FakeSocket.last.frames("resync")).toEqual([]);
});

test("a hole or a difference is asked for once, and the sector's state does not hide it", async () => {
  const { client, heard } = await joined();
  say({ delta: { room: 1, from: 12, to: 13, sum: 0, changes: [] } });
  say({ delta: { room: 1, from: 13, to: 14, sum: 0, changes: [] } });
  say({ delta: { room: 2, from: 31, to: 32, sum: 7, changes: [{ entity: 1, set: { players: 215 } }] } });
  expect([FakeSocket.last.frames("resync").length, client.verified, client.population?.players]).toEqual([1, true, 215]);
  say(snapshot({ reason: "resync" }));
  // The second of them broke after the first one was asked for.
  await settle(1_000);
  expect(FakeSocket.last.frames("resync")).toHaveLength(2);
  say({ room: team });
  say({ room: global });
  await settle(5_000);
  expect([FakeSocket.last.frames("resync").length, heard.length]).toEqual([2, 5]);
});

test("what was refused as too often is asked again", async () => {
  await joined();
  say({ delta: { room: 1, from: 12, to: 13, sum: 0, changes: [] } });
  say({ error: { code: "resync_too_often", detail: "", retry: true } });
  await settle(1_000);
  expect(FakeSocket.last.frames("resync")).toHaveLength(2);
});

test("whoever left the team sees no more of it, and a new connection begins without", async () => {
  const { client, heard } = await joined();
  say({ left: { room: 1, of: "team:blue" } });
  expect(client.team?.id).toBe("red");
  say({ left: { room: 1, of: "team:red" } });
  expect([client.team, heard.at(-1)]).toEqual([null, null]);
  say({ room: team });
  FakeSocket.last.end(1006);
  expect(client.team?.id).toBe("red");
  (await nextSocket()).say(recovered([], FIELDS));
  expect([client.team, client.population]).toEqual([null, null]);
  say({ room: team });
  expect(statuses(client.team)).toEqual([["ann", "online"], ["bob", "offline"]]);
});

describe("watching", () => {
  const presence = (...players: object[]): void => say({ presence: { players } });
  const watches = (): unknown[] => FakeSocket.last.frames("watch");

  test("the server is told on every connection, and those are known whom it has told of", async () => {
    const { client } = await playing();
    const heard: unknown[] = [];
    client.onPresence((changed) => heard.push(changed.map(({ player, status }) => `${player} ${status}`)));
    client.watch(["bob", "eve", "bob"]);
    expect(watches()).toEqual([{ players: ["bob", "eve"] }]);
    presence({ player: "bob", status: "in_combat", devices: 1, sector: "13" }, { player: "zoe", status: "away", devices: 1 });
    expect(client.presence.get("bob")).toEqual({ player: "bob", status: "in_combat", devices: 1, sector: "13" });
    expect([heard, [...client.presence.keys()]]).toEqual([[["bob in_combat"]], ["bob"]]);
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    expect(watches()).toEqual([]);
    socket.say(recovered());
    expect(watches()).toEqual([{ players: ["bob", "eve"] }]);
    client.watch([]);
    expect(client.presence.size).toBe(0);
    await settle(1_500);
    expect(watches()).toEqual([{ players: ["bob", "eve"] }, { players: [] }]);
  });

  test("of many lists the last is told, and one that was too much is told again", async () => {
    const { client } = await playing();
    for (const player of ["a", "b", "c"]) client.watch([player]);
    await settle(5_000);
    expect(watches()).toEqual([{ players: ["a"] }, { players: ["c"] }]);
    say({ error: { code: "rate_limited", detail: "", retry: true, retry_after_ms: 300 } });
    await settle(299);
    expect(watches()).toHaveLength(2);
    await settle(1);
    expect(watches()).toHaveLength(3);
  });

  test("what no server would take is refused here", () => {
    const presences = new PresenceOf();
    const many = Array.from({ length: WATCHED_MAX + 1 }, (_, n) => `p${n}`);
    expect(() => presences.watch(many)).toThrow(RangeError);
    expect(() => presences.watch(["not a name"])).toThrow(RangeError);
    presences.watch(many.slice(1));
    expect(presences.takeDue(0)).toHaveLength(WATCHED_MAX);
  });
});
