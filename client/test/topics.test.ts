// Topics against a scripted server: asked for again on every connection, from where they were had.

import { expect, test } from "vitest";

import type { Client, TopicEvent } from "../src/index.js";
import { Feeds } from "../src/feeds.js";
import { FEEDS, FakeSocket, eachTestAnew, feed, nextSocket, recovered, talking } from "./fake.js";

eachTestAnew();

const say = (frame: object): void => FakeSocket.last.say(frame);
const asked = (): { n: number; name: string; wanted: boolean }[] =>
  FakeSocket.last.frames("topic") as { n: number; name: string; wanted: boolean }[];
const event = (topic: string, id: string): object =>
  ({ item: { of: `topic:${topic}`, id, msg: `m${id}`, said: { event: { name: "price", level: "info", about: { ore: 7 } } } } });
const answer = (...names: string[]): void => say({ topics: { n: asked().at(-1)!.n, names } });

function heard(client: Client): string[] {
  const events: string[] = [];
  client.topics.subscribe((each: TopicEvent) => {
    const more = each.kind === "item" ? each.message.id : each.kind === "ended" ? each.code : "";
    events.push(`${each.kind} ${each.topic} ${more}`.trim());
  });
  return events;
}

async function listening(topic = "market:ore") {
  const { client } = await talking();
  const events = heard(client);
  const done = client.subscribe(topic);
  answer(topic);
  await done;
  say(feed(`topic:${topic}`, "20-0"));
  return { client, events };
}

test("items of a topic are told once each, and are in no channel", async () => {
  const { client, events } = await listening();
  expect(asked()).toEqual([{ n: 2, name: "market:ore", wanted: true }]);
  expect(client.topics.names).toEqual(new Set(["market:ore"]));
  say(event("market:ore", "21-0"));
  say(event("market:ore", "21-0"));
  say(event("market:gold", "22-0"));
  expect(events).toEqual(["open market:ore", "item market:ore 21-0"]);
  expect(client.channels.all.map(({ name }) => name)).not.toContain("topic:market:ore");
});

test("on a new connection they are asked for again, from the last item had; what is missing is told", async () => {
  const { client, events } = await listening();
  say(event("market:ore", "21-0"));
  const waiting = client.subscribe("duel");
  FakeSocket.last.end(1006);
  const socket = await nextSocket();
  expect(socket.hello.feeds).toMatchObject({ "topic:market:ore": "21-0", global: "9-0" });
  socket.say(recovered([], FEEDS));
  expect(client.topics.names.size).toBe(0);
  // Nothing of a kind overtakes another: what waited comes first.
  expect(asked().map(({ name }) => name)).toEqual(["duel", "market:ore"]);
  answer("duel", "market:ore");
  say({ topics: { n: asked()[0]!.n, names: ["duel", "market:ore"] } });
  await waiting;
  say(feed("topic:market:ore", "21-0"));
  say(event("market:ore", "22-0"));
  say(feed("topic:market:ore", "30-0", "gap"));
  expect(events.slice(2)).toEqual(["open market:ore", "item market:ore 22-0", "gap market:ore"]);
});

test("of one that is unsubscribed nothing is told any more, and again it begins anew", async () => {
  const { client, events } = await listening();
  const done = client.unsubscribe("market:ore");
  say(event("market:ore", "21-0"));
  expect(asked().at(-1)).toMatchObject({ name: "market:ore", wanted: false });
  answer();
  await done;
  say(feed("topic:market:ore", "21-0", "ended"));
  const again = client.subscribe("market:ore");
  answer("market:ore");
  await again;
  say(feed("topic:market:ore", "40-0"));
  expect(events).toEqual(["open market:ore", "open market:ore"]);
  FakeSocket.last.end(1006);
  expect((await nextSocket()).hello.feeds).toMatchObject({ "topic:market:ore": "40-0" });
});

test("what is refused is no topic; one that is refused or ended later is told of, and not asked for again", async () => {
  const { client, events } = await listening();
  const refused = client.subscribe("secret");
  say({ refused: { n: asked().at(-1)!.n, code: "not_there", facts: {} } });
  await expect(refused).rejects.toMatchObject({ code: "not_there" });
  for (const bad of ["", ":", "a b", "a::b", "x".repeat(65)]) {
    await expect(client.subscribe(bad)).rejects.toMatchObject({ code: "not_there" });
  }
  expect(asked()).toHaveLength(2);
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered([], FEEDS));
  expect(asked().map(({ name }) => name)).toEqual(["market:ore"]);
  say({ refused: { n: asked()[0]!.n, code: "too_many", facts: {} } });
  await Promise.resolve();
  await Promise.resolve();
  await Promise.resolve();
  expect(events.slice(1)).toEqual(["ended market:ore too_many"]);
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered([], FEEDS));
  expect(asked()).toEqual([]);
});

test("one that the server has ended begins anew when it is asked for again", async () => {
  const { client, events } = await listening("team-7");
  say(feed("topic:team-7", "20-0", "ended"));
  say(event("team-7", "21-0"));
  const again = client.subscribe("team-7");
  answer("team-7");
  await again;
  say(feed("topic:team-7", "40-0"));
  expect(events).toEqual(["open team-7", "ended team-7 null", "open team-7"]);
});

test("another player on the same client hears no topics of the one before", async () => {
  const { events } = await listening();
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered([], { ...FEEDS, player: "zoe" }));
  say(event("market:ore", "21-0"));
  expect([asked(), events]).toEqual([[], ["open market:ore"]]);
});

test("what was said before in a topic is given to who asks, and is in no channel", async () => {
  const { client } = await listening();
  const page = client.history("topic:market:ore", "20-0", 5);
  const [{ n }] = FakeSocket.last.frames("history") as [{ n: number }];
  expect(FakeSocket.last.frames("history")).toEqual([{ n, of: "topic:market:ore", before: "20-0", limit: 5 }]);
  const said = { announcement: { level: "info", text: "hello" } };
  say({ page: { n, of: "topic:market:ore", items: [{ id: "19-0", msg: "m", said }] } });
  await expect(page).resolves.toMatchObject({ messages: [{ id: "19-0", text: "hello" }], before: null });
  expect(client.channels.get("topic:market:ore")).toBeUndefined();
  await expect(client.history("topic:a b")).rejects.toMatchObject({ code: "not_there" });
  await expect(client.say("topic:market:ore", "hello")).rejects.toMatchObject({ code: "not_there" });
});

test("fifty topics and sixteen rooms go into a hello: neither takes the other's place", () => {
  const feeds = new Feeds();
  feeds.place({ of: "player:ann", at: "1-0", why: "started" });
  feeds.place({ of: "global", at: "1-0", why: "started" });
  for (let n = 0; n < 50; n += 1) feeds.place({ of: `topic:t${n}`, at: "1-0", why: "started" });
  for (let n = 0; n < 20; n += 1) {
    feeds.place({ of: `sector:${n}`, at: "1-0", why: "started" });
    feeds.place({ of: `sector:${n}`, at: "1-0", why: "ended" });
  }
  feeds.restart();
  feeds.place({ of: "global", at: "1-0", why: "started" });
  const names = Object.keys(feeds.cursors("player:ann"));
  expect([names.length, names.slice(0, 3)]).toEqual([66, ["player:ann", "global", "sector:19"]]);
  expect(feeds.place({ of: "topic:t0", at: "9-0", why: "started" })).toBe("gap");
});
