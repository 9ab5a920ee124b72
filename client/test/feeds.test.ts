// The parts under talk: places in feeds, texts, cursors, numbered requests, read marks, counts.

import fc from "fast-check";
import { expect, test } from "vitest";

import { CHANNEL_MESSAGES_MAX, HeldChannel } from "../src/channel.js";
import { CHANNELS_MAX, Channels } from "../src/channels.js";
import { CODECS } from "../src/codec/codec.js";
import { compareFeedIds, timeOf } from "../src/feedid.js";
import { Feeds } from "../src/feeds.js";
import type { Message } from "../src/message.js";
import { Reads } from "../src/reads.js";
import { Refused } from "../src/refused.js";
import { ASKED_AT_ONCE_MAX, Requests } from "../src/requests.js";
import { asSaid } from "../src/said.js";

const SEED = 7;

function message(id: string, more: Partial<Message> = {}): Message {
  return { id, msg: `m${id}`, at: timeOf(id), from: "bob", name: "Bob", text: "hi", mine: false, ...more };
}

const ids = (channel: HeldChannel): string[] => channel.messages.map(({ id }) => id);
const isOpen = (): boolean => true;

test("places in a feed are ordered by their numbers, never as text", () => {
  const ordered = ["0-0", "9-0", "9-9", "9-10", "10-0", "1790000000000-2", "1790000000000-11", "18446744073709551615-0"];
  expect([...ordered].reverse().sort(compareFeedIds)).toEqual(ordered);
  expect(compareFeedIds("10-0", "10-0")).toBe(0);
  expect(timeOf("1790000000000-2")).toBe(1_790_000_000_000);
});

test(`the order of places is that of their numbers (seed ${SEED})`, () => {
  const number = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
  fc.assert(
    fc.property(number, number, number, number, (aMs, aN, bMs, bN) => {
      const wanted = aMs === bMs ? aN - bN : aMs - bMs;
      const sign = wanted > 0n ? 1 : wanted < 0n ? -1 : 0;
      expect(Math.sign(compareFeedIds(`${aMs}-${aN}`, `${bMs}-${bN}`))).toBe(sign);
    }),
    { seed: SEED, numRuns: 500 },
  );
});

test("a text is said in normal form, without control characters, and otherwise as it is", () => {
  expect(asSaid("Cafe\u0301\u0007 <b>hi</b>\n")).toBe("Café <b>hi</b>");
  expect(asSaid("\u202eabc")).toBe("\u202eabc");
  expect(asSaid("half \ud83d of a pair")).toBe("half \ufffd of a pair");
  expect(asSaid("😀".repeat(500))).toHaveLength(1_000);
  const codeOf = (text: string) => {
    try {
      return asSaid(text);
    } catch (problem) {
      return (problem as Refused).code;
    }
  };
  expect(["", " ", "\n\t\u001b", "\u0085\u3000"].map(codeOf)).toEqual(["empty", "empty", "empty", "empty"]);
  expect([codeOf("x".repeat(501)), codeOf("e\u0301".repeat(500))]).toEqual(["too_long", "é".repeat(500)]);
});

test("an item is new once: not under its id again, and not under another", () => {
  const feeds = new Feeds();
  const hear = (id: string, msg: string): boolean => {
    const isNew = feeds.isNew("global", { id, msg });
    feeds.had("global", { id, msg });
    return isNew;
  };
  feeds.place({ of: "global", at: "9-0", why: "started" });
  expect([hear("9-0", "before"), hear("10-0", "a"), hear("10-0", "a"), hear("9-5", "late"), hear("11-0", "b")]).toEqual([
    false, true, false, false, true,
  ]);
  expect(feeds.place({ of: "global", at: "9-0", why: "rewound" })).toBe("rewound");
  expect(feeds.cursors(null)).toEqual({ global: "9-0" });
  expect([hear("10-3", "c"), hear("12-0", "a"), hear("12-1", "b"), hear("12-2", "d")]).toEqual([true, false, false, true]);
  expect(feeds.cursors(null)).toEqual({ global: "12-2" });
});

test("names of shown items are not kept for ever", () => {
  const feeds = new Feeds();
  for (let at = 1; at <= 600; at += 1) feeds.had("global", { id: `${at}-0`, msg: `m${at}` });
  feeds.place({ of: "global", at: "0-0", why: "rewound" });
  expect(feeds.isNew("global", { id: "1-0", msg: "m1" })).toBe(true);
  expect(feeds.isNew("global", { id: "600-0", msg: "m600" })).toBe(false);
});

test("where reading begins behind the cursor, or the server says so, something is missing", () => {
  const feeds = new Feeds();
  expect(feeds.place({ of: "global", at: "9-0", why: "started" })).toBe("started");
  expect(feeds.place({ of: "global", at: "9-0", why: "started" })).toBe("started");
  expect(feeds.place({ of: "global", at: "30-0", why: "gap" })).toBe("gap");
  expect(feeds.place({ of: "global", at: "10-0", why: "started" })).toBe("started");
  expect(feeds.place({ of: "global", at: "40-0", why: "started" })).toBe("gap");
  expect(feeds.place({ of: "global", at: "1-0", why: "weather" })).toBeNull();
  expect(feeds.cursors(null)).toEqual({ global: "40-0" });
});

test("of many feeds the own one and those being read are named first, and no more than a hello takes", () => {
  const feeds = new Feeds();
  feeds.place({ of: "player:ann", at: "1-0", why: "started" });
  feeds.place({ of: "global", at: "1-0", why: "started" });
  for (let sector = 1; sector <= 20; sector += 1) {
    feeds.place({ of: `sector:${sector}`, at: "1-0", why: "started" });
    if (sector < 20) feeds.place({ of: `sector:${sector}`, at: "1-0", why: "ended" });
  }
  const named = Object.keys(feeds.cursors("player:ann"));
  expect(named.slice(0, 4)).toEqual(["player:ann", "sector:20", "global", "sector:19"]);
  expect(named).toHaveLength(16);
  feeds.restart();
  expect(feeds.isReading("global")).toBe(false);
  expect(Object.keys(feeds.cursors("player:ann"))[0]).toBe("player:ann");
});

test("requests are numbered through, sent once per connection in order, and answered once", async () => {
  const requests = new Requests();
  const said = requests.ask("say", { to: "global", text: "a" });
  const page = requests.ask("history", { of: "global" });
  const refused = requests.ask("say", { to: "global", text: "b" });
  expect(requests.takeDue(0, null)).toEqual([
    { say: { n: 1, to: "global", text: "a" } },
    { history: { n: 2, of: "global" } },
    { say: { n: 3, to: "global", text: "b" } },
  ]);
  expect(requests.takeDue(0, null)).toEqual([]);
  requests.settle("say", 1, { n: 1, id: "10-0", msg: "m" });
  requests.settle("say", 1, { n: 1, id: "11-0", msg: "other" });
  requests.settle("say", 2, { n: 2, id: "12-0", msg: "no answer to this" });
  requests.refuse(3, "muted", { until: 5 });
  await expect(said).resolves.toEqual({ n: 1, id: "10-0", msg: "m" });
  await expect(refused).rejects.toMatchObject({ name: "Refused", code: "muted", facts: { until: 5 } });
  requests.restart();
  expect(requests.takeDue(0, null)).toEqual([{ history: { n: 2, of: "global" } }]);
  requests.settle("history", 2, { n: 2, of: "global", items: [] });
  await expect(page).resolves.toMatchObject({ items: [] });
});

test("another actor counts from 1, and what waits is numbered anew in its order; the same one goes on", () => {
  const requests = new Requests();
  const waiting = [1, 2, 3].map((at) => requests.ask("say", { to: "global", text: String(at) }));
  requests.welcome(3, 0);
  expect(requests.takeDue(0, null)).toHaveLength(3);
  requests.settle("say", 1, { n: 1, id: "1-0", msg: "m" });
  requests.welcome(3, 0);
  requests.restart();
  expect(requests.takeDue(0, null)).toMatchObject([{ say: { n: 2 } }, { say: { n: 3 } }]);
  requests.welcome(4, 0);
  requests.restart();
  void requests.ask("say", { to: "global", text: "4" });
  expect(requests.takeDue(0, null)).toMatchObject([{ say: { n: 1, text: "2" } }, { say: { n: 2, text: "3" } }, { say: { n: 3, text: "4" } }]);
  expect(waiting).toHaveLength(3);
});

test("nothing overtakes its own kind: neither what is paced, nor what was not taken, nor what waits for its place", () => {
  const requests = new Requests();
  requests.welcome(3, 4);
  for (let at = 1; at <= 6; at += 1) void requests.ask("say", { to: "global", text: String(at) });
  void requests.ask("history", { of: "sector" });
  expect(requests.takeDue(0, null)).toHaveLength(4);
  expect(requests.nextDue()).toBe(250);
  requests.sendAgain(700);
  expect(requests.takeDue(699, "12")).toEqual([{ history: { n: 7, of: "sector:12" } }]);
  expect(requests.takeDue(700, "12")).toEqual([{ say: { n: 1, to: "global", text: "1" } }]);
  expect(requests.takeDue(950, "12")).toEqual([{ say: { n: 2, to: "global", text: "2" } }]);
});

test("no more is asked at one time than is good", () => {
  const requests = new Requests();
  for (let at = 0; at < 100; at += 1) void requests.ask("say", { to: "global", text: "x" });
  expect(requests.takeDue(0, null)).toHaveLength(ASKED_AT_ONCE_MAX);
  requests.settle("say", 1, { n: 1, id: "1-0", msg: "m" });
  expect(requests.takeDue(0, null)).toMatchObject([{ say: { n: ASKED_AT_ONCE_MAX + 1 } }]);
});

test("a mark is sent at most once a second, and on every connection until it was said back", () => {
  const reads = new Reads();
  reads.mark("global", "9-0");
  expect(reads.takeDue(0)).toEqual([{ of: "global", upto: "9-0" }]);
  reads.mark("global", "10-0");
  reads.mark("global", "9-5");
  reads.mark("sector:12", "1-0");
  expect([reads.takeDue(0), reads.nextDue()]).toEqual([[{ of: "sector:12", upto: "1-0" }], 1_000]);
  reads.marked("global", "9-0");
  expect(reads.takeDue(1_000)).toEqual([{ of: "global", upto: "10-0" }]);
  reads.restart();
  reads.marked("sector:12", "2-0");
  expect(reads.takeDue(1_001)).toEqual([{ of: "global", upto: "10-0" }]);
  reads.sendAgain(1_500);
  expect([reads.takeDue(1_499), reads.nextDue()]).toEqual([[], 2_001]);
  reads.marked("global", "10-0");
  expect([reads.takeDue(9_000), reads.nextDue()]).toEqual([[], null]);
});

test("unread are those of others behind the mark, held here or not", () => {
  const channel = new HeldChannel("global", isOpen);
  channel.count("9-0", 5, "20-0");
  expect(channel.unread).toBe(5);
  // It was counted before it came.
  channel.add(message("15-0"));
  expect(channel.unread).toBe(5);
  channel.add(message("30-0"));
  channel.add(message("31-0", { mine: true, from: "ann" }));
  expect(channel.unread).toBe(6);
  channel.merge([message("8-0"), message("10-0"), message("11-0"), message("15-0")]);
  expect([ids(channel), channel.unread]).toEqual([["8-0", "10-0", "11-0", "15-0", "30-0", "31-0"], 6]);
  expect([channel.read("11-0"), channel.unread]).toEqual([true, 2]);
  channel.count("9-0", 7, "40-0");
  expect(channel.unread).toBe(2);
  channel.read("10-0");
  expect([channel.readUpto, channel.read("31-0"), channel.unread]).toEqual(["11-0", true, 0]);
});

test("a mark before everything that is held leaves the rest to the server's count", () => {
  const channel = new HeldChannel("global", isOpen);
  channel.count(null, 5, "12-0");
  expect([channel.read("7-0"), channel.unread]).toEqual([false, 5]);
  channel.count("7-0", 1, "12-0");
  expect(channel.unread).toBe(1);
});

test("a count says nothing of what came after it", () => {
  const channel = new HeldChannel("global", isOpen);
  channel.add(message("20-1"));
  channel.count("9-0", 5, "20-0");
  expect(channel.unread).toBe(6);
  channel.merge([message("15-0"), message("20-2")]);
  expect(channel.unread).toBe(7);
});

test("a feed that was passed goes on from there, and nothing of it is missing", () => {
  const feeds = new Feeds();
  feeds.place({ of: "global", at: "9-0", why: "started" });
  expect(feeds.place({ of: "global", at: "12-0", why: "passed" })).toBeNull();
  expect(feeds.cursors(null)).toEqual({ global: "12-0" });
  feeds.place({ of: "global", at: "11-0", why: "passed" });
  expect([feeds.cursors(null), feeds.isReading("global")]).toEqual([{ global: "12-0" }, true]);
});

test("a channel keeps its latest messages, and what it drops unread still counts", () => {
  const channel = new HeldChannel("global", isOpen);
  for (let at = 1; at <= CHANNEL_MESSAGES_MAX + 20; at += 1) channel.add(message(`${at}-0`));
  expect([channel.messages.length, ids(channel)[0], channel.unread]).toEqual([CHANNEL_MESSAGES_MAX, "21-0", CHANNEL_MESSAGES_MAX + 20]);
});

test("of too many channels those go that were quiet for longest, but no room the player is in", () => {
  const channels = new Channels((name) => name === "global" || name.startsWith("player:"));
  for (const name of ["global", "player:first", "player:second"]) channels.add(name, message("1-0"));
  for (let at = 3; at < CHANNELS_MAX; at += 1) channels.add(`player:p${at}`, message("1-0"));
  channels.add("player:first", message("2-0"));
  channels.add("player:last", message("1-0"));
  expect(channels.all).toHaveLength(CHANNELS_MAX);
  expect(["global", "player:first", "player:second"].map((name) => channels.get(name) !== undefined)).toEqual([true, true, false]);
});

test.each([
  ['{"item":{"of":"global","id":"010-0","msg":"m","said":{"weather":{}}}}', "leading zeros"],
  ['{"item":{"of":"global","id":"10","msg":"m","said":{"weather":{}}}}', "half an id"],
  ['{"feed":{"of":"global","at":"x","why":"started"}}', "no place"],
  ['{"counts":{"n":1,"channels":[{"of":"global","unread":-1}]}}', "less than nothing"],
])("a frame about feeds that is none is refused: %s (%s)", (text) => {
  expect(() => CODECS.json.decode(text)).toThrow(expect.objectContaining({ name: "BadFrame" }));
});

test("kinds of a newer server are read, to be passed over", () => {
  const said = { weather: { rain: true } };
  const item = { of: "global", id: "10-0", msg: "m", said };
  expect(CODECS.json.decode(JSON.stringify({ item }))).toEqual({ name: "item", body: item });
});
