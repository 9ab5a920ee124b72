// The client against scripted servers of several regions: where it goes when another one has the player, what it says
// there, and what it does where nobody answers.

import { describe, expect, test, vi } from "vitest";

import type { Elsewhere } from "../src/frames.js";
import { FEEDS, FakeSocket, NOW, chat, eachTestAnew, feed, nextSocket, player, playing, recovered, settle, snapshot, talking, welcome } from "./fake.js";

const TICKET = "zmr1mIgNBFiCsGvYVAzIrC4CJlPVzmGLpWHLeSqdNGY";
const JUMP = { jump: { to: "us:3" } };
const US = "ws://us.example";
const US_URL = "ws://us.example/ws";
const THERE = { session: "s-1", resume: "dXM", node: "us-1" };

eachTestAnew();

const say = (frame: object): void => FakeSocket.last.say(frame);
const elsewhere = (more: Partial<Elsewhere> = {}): object => ({
  elsewhere: { region: "us", sector: "3", address: US, ticket: TICKET, ...more },
});
/** The region says where the player is, and closes. */
function sentAway(more: Partial<Elsewhere> = {}): void {
  say(elsewhere(more));
  FakeSocket.last.end(4013, "elsewhere");
}
function arrive(): void {
  say(welcome(THERE));
  say(snapshot({ sector: "3", id: "200-41" }));
}

/** One that plays and hears of regions too. */
async function traveller(start: typeof playing = playing, options: Parameters<typeof playing>[0] = {}) {
  const it = await start(options);
  it.client.onRegion((event) => it.heard.push(["region", event]));
  return it;
}
/** One that plays in the other region. */
async function abroad() {
  const it = await traveller();
  sentAway();
  await nextSocket();
  arrive();
  it.heard.length = 0;
  return it;
}

describe("a jump", () => {
  test("the client goes where it is told to, and plays on with its session and its actions", async () => {
    const { client, heard } = await traveller();
    const jump = client.act(JUMP);
    expect(FakeSocket.last.frames("act")).toEqual([{ seq: 1, action: JUMP }]);
    say({ ack: { seq: 1, version: 7 } });
    await expect(jump.answer).resolves.toEqual({ ack: { version: 7 } });
    const status = client.act({ status: { status: "busy" } });
    say(elsewhere());
    expect(client.region).toBe("us");
    const meanwhile = client.act({ move: { to: "4" } });
    expect(FakeSocket.last.acts).toEqual([1, 2]);
    FakeSocket.last.end(4013, "elsewhere");
    expect(client.state).toBe("dropped");
    const socket = await nextSocket();
    expect([socket.url, socket.hello]).toEqual([US_URL, { token: "token", features: ["feeds"], ticket: TICKET, actor: 3, first_seq: 2 }]);
    expect(client.room?.sector).toBe("12");
    say(welcome(THERE));
    say(snapshot({ sector: "3", id: "200-41", marks: [{ actor: 3, high: 1, bitmap: "0".repeat(32), answers: [{ seq: 1, answer: "ack" }] }] }));
    expect([socket.acts, client.state, client.room?.sector, client.node]).toEqual([[2, 3], "live", "3", "us-1"]);
    say({ ack: { seq: 2, version: 42 } });
    say({ reject: { seq: 3, code: "no_warp", facts: { to: "4" }, version: 42 } });
    await expect(status.answer).resolves.toEqual({ ack: { version: 42 } });
    await expect(meanwhile.answer).resolves.toMatchObject({ reject: { code: "no_warp" } });
    expect(heard).toEqual([
      ["region", { region: "us", sector: "3", url: US_URL }],
      ["drop", { code: 4013, reason: "elsewhere" }],
      ["reconnect", { recovered: false, source: "snapshot", node: "us-1" }],
      ["state", "join"],
    ]);
  });

  test("a connection that breaks before it is closed is followed too", async () => {
    await traveller();
    say(elsewhere());
    FakeSocket.last.end(1006);
    expect((await nextSocket()).url).toBe(US_URL);
  });

  test("from then on that region's session and cursor are shown there, and its time counts", async () => {
    const { client } = await abroad();
    expect(Math.round(client.now() - NOW)).toBeLessThan(1_000);
    for (let loss = 1; loss <= 3; loss += 1) {
      FakeSocket.last.end(1006);
      const socket = await nextSocket();
      expect([socket.url, socket.hello.resume, socket.hello.cursor, socket.hello.sector]).toEqual([US_URL, "dXM", "200-41", "3"]);
      expect(socket.hello.ticket).toBeUndefined();
      say(recovered([], THERE));
    }
    expect(client.region).toBe("us");
  });

  test("nothing of the sector that was left is said there, also if its own did not come", async () => {
    const { client } = await traveller();
    sentAway();
    (await nextSocket()).say(welcome(THERE));
    FakeSocket.last.end(1006);
    const { hello } = await nextSocket();
    expect(hello).toEqual({ token: "token", features: ["feeds"], resume: "dXM", actor: 3, first_seq: 1 });
    expect([client.state, client.room?.sector]).toEqual(["reconnecting", "12"]);
  });

  test("who is sent on by the other region goes on, with the newest ticket", async () => {
    const { client, heard } = await traveller();
    sentAway();
    (await nextSocket()).say(elsewhere({ region: "asia", address: "ws://asia.example:7000", ticket: "dHdv" }));
    FakeSocket.last.end(4013);
    const { url, hello } = await nextSocket();
    expect([url, hello.ticket]).toEqual(["ws://asia.example:7000/ws", "dHdv"]);
    arrive();
    expect([client.region, heard.filter(([kind]) => kind === "region").length]).toEqual(["asia", 2]);
  });

  test("and back", async () => {
    const { client } = await abroad();
    sentAway({ region: "eu", address: "ws://a", ticket: "YmFjaw" });
    const { url, hello } = await nextSocket();
    expect([url, hello.ticket, hello.resume]).toEqual(["ws://a/ws", "YmFjaw", undefined]);
    say(welcome());
    say(snapshot());
    expect([client.state, client.region]).toEqual(["live", "eu"]);
  });

  test("who is told at once, and without a ticket, says nothing of any session", async () => {
    const { client, heard } = player();
    client.onRegion((event) => heard.push(["region", event]));
    await settle();
    FakeSocket.last.open();
    sentAway({ sector: null, ticket: null });
    const { url, hello } = await nextSocket();
    expect([url, hello]).toEqual([US_URL, { token: "token", features: ["feeds"] }]);
    arrive();
    expect([client.state, heard.map(([kind]) => kind)]).toEqual(["live", ["region", "state"]]);
  });

  test("a logout that could not be said is said there", async () => {
    const { client } = await traveller();
    sentAway();
    client.logout();
    const socket = await nextSocket();
    arrive();
    expect(socket.frames("logout")).toEqual([{}]);
  });

  test("who has said bye goes nowhere", async () => {
    const { client } = await traveller();
    client.leave();
    sentAway();
    await settle(60_000);
    expect([client.state, FakeSocket.all.length]).toEqual(["left", 1]);
  });
});

describe("where that region does not answer", () => {
  test("every second attempt is where the client came from, with back-off, and what is told there counts", async () => {
    const { client, heard } = await traveller(playing, { urls: "ws://a/ws", random: () => 0.999 });
    sentAway();
    const tried: string[] = [];
    const waits: number[] = [];
    for (let attempt = 0; attempt < 6; attempt += 1) {
      const before = performance.now();
      const { url, hello } = await nextSocket();
      waits.push(performance.now() - before);
      tried.push(url);
      const isThere = url === US_URL;
      expect([hello.ticket, hello.resume, hello.cursor]).toEqual(isThere ? [TICKET, undefined, undefined] : [undefined, "cmVzdW1l", "100-6"]);
      if (isThere) FakeSocket.last.end(1006);
      else sentAway();
    }
    expect(tried).toEqual([US_URL, "ws://a/ws", US_URL, "ws://a/ws", US_URL, "ws://a/ws"]);
    expect(waits.at(-1)).toBeGreaterThan(7_000);
    expect([client.state, heard.filter(([kind]) => kind === "region").length]).toEqual(["dropped", 1]);
    expect((await nextSocket()).url).toBe(US_URL);
    FakeSocket.last.end(1006);
    await nextSocket();
    sentAway({ address: "ws://us.example:81", ticket: "bmV3" });
    const { url, hello } = await nextSocket();
    expect([url, hello.ticket]).toEqual(["ws://us.example:81/ws", "bmV3"]);
    arrive();
    expect([client.state, client.region]).toEqual(["live", "us"]);
  });

  test("an old address that does not answer either keeps nobody from the new one, nor a dead node from the others", async () => {
    const { client } = await traveller();
    client.prefer("ws://a/ws");
    await settle();
    const tried: string[] = [];
    sentAway();
    for (let attempt = 0; attempt < 8; attempt += 1) {
      tried.push((await nextSocket()).url);
      FakeSocket.last.end(1006);
    }
    expect(tried.filter((url) => url === US_URL)).toHaveLength(4);
    expect(new Set(tried)).toEqual(new Set([US_URL, "ws://a/ws", "ws://b/ws"]));
  });

  test("a player who is there after all plays on there", async () => {
    const { client, heard } = await traveller();
    sentAway();
    (await nextSocket()).end(1006);
    await nextSocket();
    expect(FakeSocket.last.hello.resume).toBe("cmVzdW1l");
    say(recovered());
    expect([client.state, client.region, client.room?.sector]).toEqual(["live", null, "12"]);
    expect(heard.filter(([kind]) => kind === "region").map(([, event]) => event)).toEqual([
      { region: "us", sector: "3", url: US_URL },
      { region: null, sector: null, url: null },
    ]);
    // From here it is as if nothing had been said.
    FakeSocket.last.end(1006);
    expect((await nextSocket()).url).not.toBe(US_URL);
    expect(FakeSocket.last.hello.cursor).toBe("100-6");
  });

  test("or where that is was not told yet, it is asked again with back-off", async () => {
    const { client, heard } = await traveller(playing, { urls: "ws://a/ws", random: () => 0.999 });
    sentAway({ address: null });
    expect([client.state, client.region]).toEqual(["dropped", "us"]);
    const began = performance.now();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const { url, hello } = await nextSocket();
      expect([url, hello.resume, hello.cursor, hello.ticket]).toEqual(["ws://a/ws", "cmVzdW1l", "100-6", undefined]);
      sentAway(attempt < 4 ? { address: null } : {});
    }
    expect(performance.now() - began).toBeGreaterThan(7_000);
    expect((await nextSocket()).url).toBe(US_URL);
    arrive();
    const told = heard.filter(([kind]) => kind === "region").map(([, event]) => (event as { url: string | null }).url);
    expect([client.state, told]).toEqual(["live", [null, US_URL]]);
  });

  test("a close that nobody has explained is the end", async () => {
    const { client } = await traveller();
    sentAway({ address: null });
    (await nextSocket()).say(recovered());
    FakeSocket.last.end(4013);
    expect(client.state).toBe("left");
  });

  test("a ticket that is worth nothing begins a new session, and the queue goes on", async () => {
    const { client } = await traveller();
    const { answer } = client.act(JUMP);
    sentAway();
    await nextSocket();
    say(welcome({ ...THERE, session: "s-2" }));
    say(snapshot({ sector: "3" }));
    expect(FakeSocket.last.acts).toEqual([1]);
    say({ ack: { seq: 1, version: 9 } });
    await expect(answer).resolves.toEqual({ ack: { version: 9 } });
  });

  test("one that the server refuses to read is left out, once", async () => {
    const { client } = await traveller();
    sentAway({ ticket: "?" });
    const socket = await nextSocket();
    const refused = { error: { code: "invalid_field", detail: "hello.ticket: at most 43 bytes", retry: false } };
    say(refused);
    say(refused);
    const [first, second, ...more] = socket.frames("hello");
    expect([first, second, more]).toEqual([{ ...(second as object), ticket: "?" }, { token: "token", features: ["feeds"], actor: 3, first_seq: 1 }, []]);
    arrive();
    expect(client.state).toBe("live");
  });

  test("a preferred node is one of the urls, to which it comes back only by being told", async () => {
    const { client } = await abroad();
    client.prefer("ws://b/ws");
    await settle(60_000);
    expect([client.region, FakeSocket.last.url]).toEqual(["us", US_URL]);
  });
});

describe("what is not followed", () => {
  test.each([
    ["no URL", "us.example"],
    ["an empty text", ""],
    ["another scheme", "https://us.example"],
    ["a script", "javascript:alert(1)"],
    ["a name in it", "ws://user:word@us.example"],
    ["a query", "ws://us.example/?to=x"],
    ["a fragment", "ws://us.example/#x"],
    ["one that is too long", `ws://${"u".repeat(400)}`],
  ])("%s: the client leaves, and says where the player is", async (_, address) => {
    const { client, heard } = await traveller();
    sentAway({ address });
    await settle(60_000);
    expect([client.state, client.region, FakeSocket.all.length]).toEqual(["left", "us", 1]);
    expect(heard).toEqual([
      ["region", { region: "us", sector: "3", url: null }],
      ["leave", { code: 4013, name: "elsewhere", reason: "elsewhere" }],
    ]);
  });

  test("from an encrypted connection only to another one; the path is the one that is known, if none is told", async () => {
    await traveller(playing, { urls: "wss://a/ws" });
    sentAway();
    await settle(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    await traveller(playing, { urls: "wss://a/play/ws" });
    sentAway({ address: "wss://us.example" });
    expect((await nextSocket()).url).toBe("wss://us.example/play/ws");
    sentAway({ address: "wss://us.example/its/own" });
    expect((await nextSocket()).url).toBe("wss://us.example/its/own");
  });

  test("a ticket is told to nobody but the server", async () => {
    const spies = (["log", "info", "warn", "error", "debug"] as const).map((name) => vi.spyOn(console, name));
    const { client, heard } = await traveller();
    client.onNotice((notice) => heard.push(["notice", notice]));
    sentAway();
    await nextSocket();
    say({ error: { code: "invalid_field", detail: "hello.ticket", retry: false } });
    FakeSocket.last.end(1006, "no");
    await nextSocket();
    sentAway({ address: "nowhere" });
    expect([client.state, JSON.stringify(heard).includes(TICKET)]).toEqual(["left", false]);
    expect(FakeSocket.all.some(({ url, protocols }) => [url, ...protocols].join().includes(TICKET))).toBe(false);
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
  });
});

test("what is known of feeds is of the region that was left, and what is asked of its sectors has no answer", async () => {
  const { client } = await traveller(talking);
  say(chat("global", "9-1", "hello"));
  client.markRead("global");
  const [here, before] = [client.say("sector", "anybody?"), client.history("global", "9-1")];
  const everywhere = client.say("global", "on my way");
  say(elsewhere());
  const later = client.say("sector", "here I am");
  FakeSocket.last.end(4013);
  const refusals = Promise.allSettled([here, before]);
  const socket = await nextSocket();
  expect(socket.hello.feeds).toBeUndefined();
  say(welcome({ ...THERE, ...FEEDS }));
  say(snapshot({ sector: "3" }));
  await expect(refusals).resolves.toMatchObject([{ reason: { code: "not_there" } }, { reason: { code: "not_there" } }]);
  await settle();
  expect(client.channels.all).toEqual([]);
  expect(socket.frames("read")).toEqual([]);
  expect((socket.frames("say") as { to: string }[]).map(({ to }) => to)).toEqual(["global", "sector:3"]);
  for (const { n } of socket.frames("say") as { n: number }[]) say({ said: { n, id: `5-${n}`, msg: `m${n}` } });
  await Promise.all([everywhere, later]);
  // Ids of another clock, which may be behind.
  say(feed("global", "5-0"));
  say(chat("global", "5-3", "welcome", { msg: "us3" }));
  expect(client.channels.get("global")?.messages.map(({ text }) => text)).toEqual(["welcome"]);
  FakeSocket.last.end(1006);
  expect((await nextSocket()).hello.feeds).toEqual({ global: "5-3" });
});
