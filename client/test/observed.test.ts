// Rooms of other regions, against a scripted server: asked for with feeds or without and on every connection, shown and
// verified as the others are.

import { expect, test } from "vitest";

import { CODECS } from "../src/codec/codec.js";
import type { RoomSnapshot, ServerFrame } from "../src/frames.js";
import { FEEDS, FakeSocket, eachTestAnew, nextSocket, playing, recovered, settle, snapshot, talking, welcome } from "./fake.js";
import { examples, VECTORS } from "./page.js";

const counts = examples().map(({ json }) => CODECS.json.decode(json)).filter((frame) => frame?.name === "room")
  .map((frame) => (frame as ServerFrame).body as RoomSnapshot).find(({ room }) => room === 2)!;
const OF = "global@us";
const FIELDS = { fields: VECTORS.field_names };

eachTestAnew();

const say = (frame: object): void => FakeSocket.last.say(frame);
const asked = () => FakeSocket.last.frames("observe") as { n: number; room: string; wanted: boolean }[];
const rooms = (n: number, ...of: string[]): void => say({ observed: { n, rooms: of.map((each, at) => ({ room: 3 + at, of: each })) } });
const room = (more: Partial<RoomSnapshot> = {}): void => say({ room: { ...counts, room: 3, of: OF, owner: "us-1", ...more } });
const refuse = (n: number, code: string): void => say({ refused: { n, code, facts: {} } });

/** A client that plays, of a server that has all fields of the page; with what it hears of observed rooms. */
async function looking() {
  const it = await playing();
  say(welcome(FIELDS));
  say(snapshot());
  const heard: unknown[] = [];
  it.client.observed.subscribe((event) =>
    heard.push("room" in event ? [event.kind, event.room.of, event.room.version] : "code" in event ? [event.kind, event.of, event.code] : [event.kind, event.of]));
  it.client.onTeam(() => heard.push("team"));
  it.client.onPopulation(() => heard.push("population"));
  return { ...it, heard };
}
async function observing() {
  const it = await looking();
  const done = it.client.observe(OF);
  room();
  rooms(1, OF);
  await done;
  it.heard.length = 0;
  return it;
}

test("a room is asked for, where nobody knows feeds too, and shown as it changes, to look at", async () => {
  const { client, heard } = await looking();
  const done = client.observe(OF);
  expect(asked()).toEqual([{ n: 1, room: OF, wanted: true }]);
  rooms(1, OF);
  await done;
  expect(client.observed.all).toEqual([]);
  room();
  expect(client.observed.get(OF)?.ofKind("counts")[0]?.[1].get("players")).toBe(214);
  expect([client.population, client.team]).toEqual([null, null]);
  say({ owner: { room: 3, node: "us-2", epoch: 1763870499999, version: 32 } });
  say({ delta: { room: 3, from: 32, to: 33, sum: 0, changes: [{ entity: 1, removed: true }] } });
  expect(client.observed.get(OF)).toMatchObject({ of: OF, owner: "us-2", version: 33, entities: new Map() });
  expect(heard).toEqual([["state", OF, 31], ["changed", OF, 32], ["changed", OF, 33]]);
  expect([client.room?.version, FakeSocket.last.frames("resync")]).toEqual([6, []]);
});

test("a hole or a difference is asked for once", async () => {
  const { client, heard } = await observing();
  say({ delta: { room: 3, from: 31, to: 32, sum: 7, changes: [] } });
  say({ delta: { room: 3, from: 40, to: 41, sum: 7, changes: [] } });
  say(snapshot({ reason: "resync" }));
  await settle(5_000);
  expect(FakeSocket.last.frames("resync")).toHaveLength(1);
  room({ reason: "resync" });
  await settle(5_000);
  expect([FakeSocket.last.frames("resync").length, client.observed.get(OF)?.version, heard.at(-1)]).toEqual([1, 31, ["state", OF, 31]]);
});

test("a new connection is asked again; what is refused there is over", async () => {
  const { client, heard } = await observing();
  const second = client.observe("sector:12@us");
  rooms(2, OF, "sector:12@us");
  await second;
  FakeSocket.last.end(1006);
  expect(client.observed.get(OF)?.version).toBe(31);
  (await nextSocket()).say(recovered([], FIELDS));
  await settle();
  expect([asked().map(({ room, wanted }) => [room, wanted]), client.observed.all]).toEqual([[[OF, true], ["sector:12@us", true]], []]);
  const [first, other] = asked();
  say({ error: { code: "rate_limited", detail: "", retry: true, n: first!.n, retry_after_ms: 300 } });
  refuse(other!.n, "not_there");
  await settle(300);
  expect(asked().map(({ room }) => room)).toEqual([OF, "sector:12@us", OF]);
  room();
  rooms(first!.n, OF);
  expect(heard).toEqual([["gone", OF], ["ended", "sector:12@us", "not_there"], ["state", OF, 31]]);
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered([], FIELDS));
  await settle();
  expect(asked().map(({ room }) => room)).toEqual([OF]);
});

test("what is not observed any more is not shown, and its slot may be another's", async () => {
  const { client, heard } = await observing();
  const done = client.unobserve(OF);
  room();
  say({ delta: { room: 3, from: 31, to: 32, sum: 7, changes: [] } });
  say({ left: { room: 3, of: OF } });
  rooms(2);
  await done;
  expect([client.observed.all, heard, asked().at(-1)]).toEqual([[], [], { n: 2, room: OF, wanted: false }]);
  void client.observe("sector:7@us");
  room({ of: "sector:7@us", entities: [], sum: 0 });
  say({ left: { room: 3, of: OF } });
  expect(client.observed.all.map(({ of }) => of)).toEqual(["sector:7@us"]);
  say({ left: { room: 3, of: "sector:7@us" } });
  expect([client.observed.all, heard]).toEqual([[], [["state", "sector:7@us", 31], ["ended", "sector:7@us", null]]]);
});

test("who is refused is told so, and no connection is asked for it again", async () => {
  const { client } = await looking();
  for (const bad of ["global", "sector:12", "team:red@us", "sector:@us", "sector:1 2@us", "global@", "global@us@eu"]) {
    await expect(client.observe(bad)).rejects.toMatchObject({ code: "not_there" });
  }
  const refused = client.observe(OF);
  refuse(1, "too_many");
  await expect(refused).rejects.toMatchObject({ code: "too_many" });
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered());
  await settle();
  expect([asked(), FakeSocket.all.flatMap((socket) => socket.frames("observe")).length]).toEqual([[], 1]);
  const open = client.observe(OF);
  client.leave();
  FakeSocket.last.end(1000, "normal");
  await expect(open).rejects.toMatchObject({ code: "left" });
});

test("numbers are those of what is said, and a server without feeds is asked for nothing but what is observed", async () => {
  const { client } = await talking();
  void client.say("global", "hello");
  void client.observe(OF);
  const numbers = [...FakeSocket.last.frames("unread"), ...FakeSocket.last.frames("say"), ...asked()].map((frame) => (frame as { n: number }).n);
  expect(numbers).toEqual([1, 2, 3]);
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered());
  expect([FakeSocket.last.frames("say"), asked()]).toEqual([[], [{ n: 3, room: OF, wanted: true }]]);
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered([], FEEDS));
  expect(FakeSocket.last.frames("say")).toHaveLength(1);
});

test("another player begins without", async () => {
  const { client } = await observing();
  FakeSocket.last.end(1006);
  (await nextSocket()).say(welcome({ player: "bob", actor: 9 }));
  say(snapshot());
  await settle();
  expect([client.observed.all, asked()]).toEqual([[], []]);
});
