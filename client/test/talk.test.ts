// Talking against a scripted server: what is said is said once, what is heard is shown once, in the channel it belongs
// to, and what is unread is known on every device.

import { describe, expect, test } from "vitest";

import type { ChannelEvent, Client } from "../src/index.js";
import { FEEDS, FakeSocket, NOW, chat, eachTestAnew, feed, letter, nextSocket, player, playing, recovered, settle, snapshot, talking, welcome } from "./fake.js";

eachTestAnew();

const HOSTILE = '<img src=x onerror="alert(1)">\u202e';

const texts = (client: Client, channel: string): string[] => client.channels.get(channel)?.messages.map(({ text }) => text) ?? [];
const unread = (client: Client): Record<string, number> =>
  Object.fromEntries(client.channels.all.filter((each) => each.unread > 0).map((each) => [each.name, each.unread]));
const says = (): unknown[] => FakeSocket.last.frames("say");
const say = (frame: object): void => FakeSocket.last.say(frame);
const counts = (channels: object[], n = (FakeSocket.last.frames("unread").at(-1) as { n: number }).n): void =>
  say({ counts: { n, channels } });

function events(client: Client): [kind: string, channel: string, text?: string][] {
  const heard: [string, string, string?][] = [];
  client.channels.subscribe((event: ChannelEvent) =>
    heard.push(event.kind === "message" ? [event.kind, event.channel.name, event.message.text] : [event.kind, event.channel.name]),
  );
  return heard;
}

describe("saying", () => {
  test("what was said is answered with its place and its name", async () => {
    const { client } = await talking();
    const said = client.say("global", "hello");
    expect(says()).toEqual([{ n: 2, to: "global", text: "hello" }]);
    say({ said: { n: 2, id: "10-0", msg: "m1" } });
    await expect(said).resolves.toEqual({ id: "10-0", msg: "m1" });
  });

  test("what was said before the first state is said after it, where the player is then", async () => {
    const { client } = player();
    const said = client.say("sector", "anybody here?");
    await settle();
    FakeSocket.last.open();
    say(welcome(FEEDS));
    expect(says()).toEqual([]);
    say(snapshot());
    expect(says()).toEqual([{ n: 1, to: "sector:12", text: "anybody here?" }]);
    say({ said: { n: 1, id: "10-0", msg: "m1" } });
    await expect(said).resolves.toMatchObject({ msg: "m1" });
  });

  test("after a reconnect all that is unanswered is said again under its number, in its room, once", async () => {
    const { client } = await talking();
    const said = [client.say("sector", "a"), client.say("global", "b"), client.say("player:bob", "c")];
    say({ said: { n: 3, id: "10-0", msg: "m3" } });
    FakeSocket.last.end(1006);
    said.push(client.say("global", "d"));
    const socket = await nextSocket();
    socket.say(welcome(FEEDS));
    expect(socket.frames("say")).toEqual([]);
    socket.say(snapshot({ sector: "13" }));
    expect(socket.frames("say")).toEqual([
      { n: 2, to: "sector:12", text: "a" },
      { n: 4, to: "player:bob", text: "c" },
      { n: 5, to: "global", text: "d" },
    ]);
    socket.say({ refused: { n: 2, code: "not_there", facts: {} } });
    for (const n of [4, 5]) socket.say({ said: { n, id: `1${n}-0`, msg: `m${n}` } });
    await expect(Promise.allSettled(said)).resolves.toMatchObject([
      { status: "rejected", reason: { code: "not_there" } },
      ...["m3", "m4", "m5"].map((msg) => ({ status: "fulfilled", value: { msg } })),
    ]);
    await settle(5_000);
    expect(socket.frames("say")).toHaveLength(3);
  });

  test("a new actor gets what is unanswered under numbers of its own", async () => {
    const { client } = await talking();
    void client.say("global", "a");
    client.act({ move: { to: "13" } });
    say({ reject: { seq: 1, code: "unknown_actor", facts: {}, version: 8 } });
    void client.say("global", "b");
    const socket = await nextSocket();
    socket.say(recovered([], { ...FEEDS, actor: 9 }));
    expect(socket.frames("unread")).toEqual([{ n: 1 }]);
    expect(socket.frames("say")).toEqual([{ n: 2, to: "global", text: "a" }, { n: 3, to: "global", text: "b" }]);
  });

  test("a refused one is told with its code and facts", async () => {
    const { client } = await talking();
    const said = client.say("player:bob", "hello");
    say({ refused: { n: 2, code: "muted", facts: { until: 1_790_000_060_000 } } });
    await expect(said).rejects.toMatchObject({ name: "Refused", code: "muted", facts: { until: 1_790_000_060_000 } });
  });

  test.each([
    ["global", "", "empty"],
    ["global", "x".repeat(501), "too_long"],
    ["nowhere", "hello", "not_there"],
    ["player:not a name", "hello", "unknown_player"],
  ])("what no server would take is refused here: to %s", async (to, text, code) => {
    const { client } = await talking();
    await expect(client.say(to, text)).rejects.toMatchObject({ code });
    expect(says()).toEqual([]);
  });

  test.each([
    ["rate_limited", { error: { code: "rate_limited", detail: "", retry: true, n: 2, retry_after_ms: 700 } }],
    ["unavailable", { unavailable: { retry_after_ms: 700 } }],
  ])("what was not taken (%s) stays pending and is sent again when the server said so", async (_, frame) => {
    const { client } = await talking();
    const said = client.say("global", "hello");
    say(frame);
    await settle(699);
    expect(says()).toHaveLength(1);
    await settle(2);
    expect(says()).toEqual([{ n: 2, to: "global", text: "hello" }, { n: 2, to: "global", text: "hello" }]);
    say({ said: { n: 2, id: "10-0", msg: "m1" } });
    await expect(said).resolves.toMatchObject({ id: "10-0" });
  });

  test("an error about one request ends that one, or has it sent again, and no other", async () => {
    const { client } = await talking();
    const [first, second] = [client.say("global", "one"), client.say("global", "two")];
    const called = client.call("aria", "?");
    expect(FakeSocket.last.frames("call")).toMatchObject([{ n: 4 }]);
    say({ error: { code: "invalid_field", detail: "why", retry: false, n: 2 } });
    await expect(first).rejects.toMatchObject({ code: "invalid_field", facts: { detail: "why" } });
    say({ error: { code: "rate_limited", detail: "", retry: true, n: 3, retry_after_ms: 100 } });
    await settle(101);
    expect(says().map((each) => (each as { n: number }).n)).toEqual([2, 3, 3]);
    say({ said: { n: 3, id: "10-0", msg: "m1" } });
    await expect(second).resolves.toMatchObject({ id: "10-0" });
    say({ error: { code: "invalid_field", detail: "why", retry: false, n: 4 } });
    expect(await called).toEqual({ failed: { code: "invalid_field" } });
  });

  test("a node that does not know feeds is told nothing; what waits is said on one that does", async () => {
    const { client } = await playing();
    void client.say("global", "hello");
    expect([says(), FakeSocket.last.frames("unread")]).toEqual([[], []]);
    FakeSocket.last.end(1001);
    (await nextSocket()).say(recovered([], FEEDS));
    expect(says()).toMatchObject([{ text: "hello" }]);
  });

  test("whoever leaves is told that there will be no answer; without feeds nothing can be said", async () => {
    const { client } = await talking();
    const said = client.say("global", "hello");
    client.leave();
    FakeSocket.last.end(1000);
    await expect(said).rejects.toMatchObject({ code: "left", facts: { reason: "normal" } });
    expect(() => client.say("global", "more")).toThrow("has left");
    const silent = await playing({ feeds: false });
    expect(FakeSocket.last.hello.features).toEqual([]);
    expect(() => silent.client.say("global", "hello")).toThrow("without feeds");
  });
});

describe("hearing", () => {
  test("the hello says how far each feed was had, and each item is shown once", async () => {
    const { client } = await talking();
    const heard = events(client);
    say(chat("global", "10-0", "one"));
    say(chat("global", "10-0", "one"));
    say(chat("sector:12", "9-5", "here"));
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    expect(socket.hello).toMatchObject({ features: ["feeds"], feeds: { global: "10-0", "sector:12": "9-5", "player:ann": "9-0" } });
    socket.say(recovered([], FEEDS));
    socket.say(feed("global", "10-0"));
    socket.say(chat("global", "9-9", "long ago"));
    socket.say(chat("global", "10-0", "one"));
    socket.say(chat("global", "11-0", "two"));
    expect(heard.filter(([kind]) => kind === "message")).toEqual([
      ["message", "global", "one"], ["message", "sector:12", "here"], ["message", "global", "two"],
    ]);
    expect(texts(client, "global")).toEqual(["one", "two"]);
  });

  test("after a rewind the cursor is back, and what was posted again under another id is not shown again", async () => {
    const { client } = await talking();
    for (const [id, text] of [["10-0", "one"], ["11-0", "two"]] as const) say(chat("global", id, text));
    say(feed("global", "10-0", "rewound"));
    say(chat("global", "10-7", "two", { msg: "m11-0" }));
    say(chat("global", "12-0", "three"));
    expect(texts(client, "global")).toEqual(["one", "two", "three"]);
    say(feed("global", "10-0", "rewound"));
    FakeSocket.last.end(1006);
    expect((await nextSocket()).hello.feeds).toMatchObject({ global: "10-0" });
  });

  test("of missing items the application is told, and may ask for them", async () => {
    const { client } = await talking();
    const heard = events(client);
    say(feed("global", "40-0", "gap"));
    expect(heard).toContainEqual(["gap", "global"]);
    say(chat("global", "41-0", "new"));
    const page = client.history("global", "40-0", 2);
    expect(FakeSocket.last.frames("history")).toEqual([{ n: 2, of: "global", before: "40-0", limit: 2 }]);
    const items = [chat("global", "38-0", "a"), chat("global", "39-0", "b", { from: "ann" })].map((each) => {
      const { of: _, ...item } = (each as { item: { of: string } }).item;
      return item;
    });
    say({ page: { n: 2, of: "global", items, before: "38-0" } });
    await expect(page).resolves.toMatchObject({ messages: [{ text: "a", mine: false }, { text: "b", mine: true }], before: "38-0" });
    expect(texts(client, "global")).toEqual(["a", "b", "new"]);
  });

  test("a move ends the old sector's channel and opens the new one's", async () => {
    const { client } = await talking();
    say({ moved: { from: "12", to: "13", snapshot: snapshot({ sector: "13", reason: "moved" }).snapshot } });
    say(feed("sector:12", "9-0", "ended"));
    say(feed("sector:13", "7-0"));
    say(chat("sector:13", "8-0", "welcome"));
    const open = client.channels.all.filter(({ open }) => open).map(({ name }) => name);
    expect(new Set(open)).toEqual(new Set(["global", "sector:13", "player:ann"]));
    expect(texts(client, "sector:13")).toEqual(["welcome"]);
    void client.say("sector", "hello");
    expect(says()).toMatchObject([{ to: "sector:13" }]);
  });

  test("a private message belongs to the channel with the other one; what is only told, to one's own", async () => {
    const { client } = await talking();
    say(letter("10-0", "bob", "ann", "psst"));
    say(letter("11-0", "ann", "bob", "what?"));
    say(letter("12-0", "cy", "ann", "hi"));
    say({ item: { of: "player:ann", id: "13-0", msg: "a", said: { announcement: { level: "warning", text: "soon" } } } });
    say({ item: { of: "player:ann", id: "14-0", msg: "w", said: { weather: { rain: true } } } });
    expect([texts(client, "player:bob"), texts(client, "player:cy")]).toEqual([["psst", "what?"], ["hi"]]);
    expect(client.channels.get("player:ann")?.messages).toMatchObject([{ text: "soon", from: null, level: "warning" }]);
    expect(unread(client)).toEqual({ "player:bob": 1, "player:cy": 1, "player:ann": 1 });
    FakeSocket.last.end(1006);
    expect((await nextSocket()).hello.feeds).toMatchObject({ "player:ann": "14-0" });
  });

  test("pages of the own feed go to the channels they belong to", async () => {
    const { client } = await talking();
    void client.history("player:ann");
    const said = (from: string, to: string) => ({ private: { from, name: from, to, text: `${from} to ${to}` } });
    const items = [{ id: "5-0", msg: "m5", said: said("bob", "ann") }, { id: "6-0", msg: "m6", said: said("ann", "cy") }];
    say({ page: { n: 2, of: "player:ann", items } });
    expect([texts(client, "player:bob"), texts(client, "player:cy")]).toEqual([["bob to ann"], ["ann to cy"]]);
  });

  test("text is text: nothing of it is changed, and no key of it does harm", async () => {
    const { client } = await talking();
    say(chat("global", "10-0", HOSTILE, { from: "__proto__" }));
    void client.say("global", HOSTILE);
    expect(client.channels.get("global")?.messages).toMatchObject([{ text: HOSTILE, name: "__proto__", mine: false }]);
    expect(says()).toMatchObject([{ text: HOSTILE }]);
  });

  test("another player on the same client hears nothing of the one before, and says nothing for them", async () => {
    const { client } = await talking();
    say(letter("10-0", "bob", "ann", "psst"));
    const said = client.say("global", "I am ann");
    FakeSocket.last.end(1006);
    (await nextSocket()).say(welcome({ ...FEEDS, player: "cy", actor: 4 }));
    say(snapshot());
    await expect(said).rejects.toMatchObject({ code: "left" });
    expect([says(), texts(client, "player:bob")]).toEqual([[], []]);
  });
});

describe("questions", () => {
  test("are asked again after a reconnect while they are open", async () => {
    const { client } = await talking();
    const page = client.history("global");
    const blocked = client.block("eve", true);
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(recovered([], FEEDS));
    expect([socket.frames("history"), socket.frames("block"), socket.frames("unread")]).toEqual([
      [{ n: 2, of: "global" }], [{ n: 3, player: "eve", blocked: true }], [{ n: 1 }],
    ]);
    socket.say({ page: { n: 2, of: "global", items: [] } });
    socket.say({ blocks: { n: 3, players: ["eve"] } });
    await expect(page).resolves.toEqual({ messages: [], before: null });
    await expect(blocked).resolves.toBeUndefined();
    expect([...client.blocks]).toEqual(["eve"]);
  });

  test("of what was blocked nothing is shown, not even what was on its way", async () => {
    const { client } = await talking();
    say({ blocks: { players: ["eve"] } });
    say(chat("global", "10-0", "buy", { from: "eve" }));
    say(chat("global", "11-0", "hi"));
    expect(texts(client, "global")).toEqual(["hi"]);
    const unblocked = client.block("eve", false);
    say({ blocks: { n: 2, players: [] } });
    await unblocked;
    say(chat("global", "12-0", "sorry", { from: "eve" }));
    expect([texts(client, "global"), client.blocks.size]).toEqual([["hi", "sorry"], 0]);
    await expect(client.block("not a name", true)).rejects.toMatchObject({ code: "unknown_player" });
  });

  test("more than a page has is not asked for", async () => {
    const { client } = await talking();
    await expect(client.history("global", null, 101)).rejects.toThrow("limit");
    await expect(client.history("global", "soon")).rejects.toThrow("before");
    expect(FakeSocket.last.frames("history")).toEqual([]);
  });
});

describe("unread", () => {
  test("is what others said after the mark; whatever device set it", async () => {
    const { client } = await talking();
    counts([{ of: "global", upto: "9-0", unread: 0, counted: "9-0" }, { of: "player:bob", unread: 3, counted: "8-0" }]);
    say(chat("global", `${NOW + 10}-0`, "a"));
    say(chat("global", `${NOW + 11}-0`, "b", { from: "ann" }));
    say(chat("global", `${NOW + 12}-0`, "c"));
    expect(unread(client)).toEqual({ global: 2, "player:bob": 3 });
    say({ marked: { of: "global", upto: `${NOW + 10}-0` } });
    expect(unread(client)).toEqual({ global: 1, "player:bob": 3 });
    say({ marked: { of: "global", upto: "9-0" } });
    expect(client.channels.get("global")?.readUpto).toBe(`${NOW + 10}-0`);
    expect(FakeSocket.last.frames("unread")).toHaveLength(1);
    say({ marked: { of: "player:bob", upto: "7-0" } });
    expect(FakeSocket.last.frames("unread")).toHaveLength(2);
    const counted = `${NOW + 12}-0`;
    counts([
      { of: "player:bob", upto: "7-0", unread: 1, counted },
      { of: "global", upto: `${NOW + 10}-0`, unread: 1, counted },
    ]);
    expect(unread(client)).toEqual({ global: 1, "player:bob": 1 });
  });

  test("what was missed is counted once, though the count and the items both tell of it", async () => {
    const { client } = await talking();
    counts([{ of: "global", upto: "9-0", unread: 0, counted: "9-0" }]);
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(recovered([], { ...FEEDS, now_ms: NOW + 60_000 }));
    counts([{ of: "global", upto: "9-0", unread: 3, counted: `${NOW + 20_003}-0` }]);
    expect(unread(client)).toEqual({ global: 3 });
    socket.say(feed("global", "9-0"));
    for (let at = 1; at <= 3; at += 1) socket.say(chat("global", `${NOW + 20_000 + at}-0`, String(at)));
    expect(unread(client)).toEqual({ global: 3 });
    socket.say(chat("global", `${NOW + 70_000}-0`, "new"));
    expect(unread(client)).toEqual({ global: 4 });
  });

  test("reading marks the latest message, and the server is told until it says so", async () => {
    const { client } = await talking();
    counts([]);
    const heard = events(client);
    client.markRead("global");
    say(letter("10-0", "bob", "ann", "psst"));
    say(letter("11-0", "bob", "ann", "psst!"));
    client.markRead("player:bob");
    expect([unread(client), FakeSocket.last.frames("read")]).toEqual([{}, [{ of: "player:bob", upto: "11-0" }]]);
    expect(heard.at(-1)).toEqual(["changed", "player:bob"]);
    FakeSocket.last.end(1006);
    let socket = await nextSocket();
    socket.say(recovered([], FEEDS));
    socket.say(feed("player:ann", "11-0"));
    expect(socket.frames("read")).toEqual([{ of: "player:bob", upto: "11-0" }]);
    socket.say({ marked: { of: "player:bob", upto: "11-0" } });
    socket.end(1006);
    socket = await nextSocket();
    socket.say(recovered([], FEEDS));
    expect(socket.frames("read")).toEqual([]);
  });

  test("what was only counted can be read too", async () => {
    const { client } = await talking();
    say(feed("team:red", "9-0"));
    client.markRead("team:red");
    counts([{ of: "team:red", unread: 2, counted: "8-0" }]);
    client.markRead("team:red");
    expect([unread(client), FakeSocket.last.frames("read")]).toEqual([{}, [{ of: "team:red", upto: "8-0" }]]);
    await settle();
  });

  test("whoever reads along does not send a mark for each message", async () => {
    const { client } = await talking();
    client.channels.subscribe(({ kind, channel }) => kind === "message" && client.markRead(channel.name));
    for (let at = 10; at < 60; at += 1) say(chat("global", `${at}-0`, "x"));
    expect(FakeSocket.last.frames("read")).toEqual([{ of: "global", upto: "10-0" }]);
    await settle(1_001);
    expect(FakeSocket.last.frames("read")).toEqual([{ of: "global", upto: "10-0" }, { of: "global", upto: "59-0" }]);
  });

  test("a channel that the player has left is marked here only", async () => {
    const { client } = await talking();
    say(chat("sector:12", "10-0", "bye"));
    say(feed("sector:12", "10-0", "ended"));
    client.markRead("sector:12");
    expect([unread(client), FakeSocket.last.frames("read")]).toEqual([{}, []]);
    expect(() => client.markRead("nowhere", "1-0")).toThrow("markRead");
  });
});
