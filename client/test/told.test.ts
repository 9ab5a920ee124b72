// What nobody of those who play says: notices and events in channels, the bell, the words for it, and what of it counts.

import { describe, expect, test } from "vitest";

import { PREFERENCE_KINDS, wordsOf, type Client, type Facts, type Message } from "../src/index.js";
import { FEEDS, FakeSocket, chat, eachTestAnew, letter, nextSocket, recovered, settle, talking } from "./fake.js";

const HOSTILE = '<img src=x onerror="alert(1)">\u202e';

eachTestAnew();

const say = (frame: object): void => FakeSocket.last.say(frame);
const item = (of: string, id: string, said: object, msg = `m${id}`): object => ({ item: { of, id, msg, said } });
const notice = (kind: string, about: Facts, level = "info"): object => ({ notice: { kind, level, about } });
const unread = (client: Client): Record<string, number> =>
  Object.fromEntries(client.channels.all.filter((each) => each.unread > 0).map((each) => [each.name, each.unread]));
const asked = (name: string): { n: number }[] => FakeSocket.last.frames(name) as { n: number }[];

test("notices and events are in the channel of their feed, and in the bell with announcements, each once", async () => {
  const { client } = await talking();
  say(chat("global", "10-0", "hello"));
  say(item("player:ann", "11-0", notice("mention", { room: "global", from: "bob", name: HOSTILE, msg: "m10-0", text: "ann!" })));
  say(item("player:ann", "12-0", notice("weather", { wind: 7, text: 3 }, "warning")));
  say(item("global", "13-0", { event: { name: "market-opens", level: "info", about: { port: "p1" } } }));
  say(item("global", "14-0", { announcement: { level: "critical", text: "stop" } }, "#a"));
  say(item("player:ann", "15-0", { announcement: { level: "critical", text: "stop" } }, "#a"));
  say(item("global", "16-0", { later: { of: "a newer server" } }));
  expect(client.channels.get("player:ann")?.messages[0]).toEqual({
    id: "11-0", msg: "m11-0", at: 11, from: null, name: null, mine: false, level: "info", notice: "mention", text: "ann!",
    about: { room: "global", from: "bob", name: HOSTILE, msg: "m10-0", text: "ann!" },
  });
  const { items, unread: all } = client.bell;
  expect(items.map(({ channel, message }) => [channel, message.notice ?? message.event ?? message.level, message.id])).toEqual([
    ["player:ann", "mention", "11-0"],
    ["player:ann", "weather", "12-0"],
    ["global", "market-opens", "13-0"],
    ["player:ann", "critical", "15-0"],
  ]);
  expect([unread(client), all]).toEqual([{ global: 3, "player:ann": 3 }, 6]);
  client.markRead("player:ann");
  expect(client.bell.unread).toBe(3);
  expect(asked("read")).toEqual([{ of: "player:ann", upto: "15-0" }]);
});

describe("words", () => {
  const words = (kind: string, about: Facts): string =>
    wordsOf({ id: "1-0", msg: "m", at: 1, from: null, name: null, mine: false, text: "", notice: kind, level: "info", about });

  test.each([
    ["mention", { room: "sector:12", from: "bob", name: "Bob", msg: "m", text: "hi ann" }, "Bob mentioned you in sector 12: hi ann"],
    ["attack", { sector: "12", from: "bob", name: HOSTILE }, `${HOSTILE} attacks sector 12`],
    ["team", { team: "red", what: "joined", player: "bob" }, "bob joined team red"],
    ["team", { team: "red", what: "left", player: "bob" }, "bob left team red"],
    ["team", { team: "red", what: "role", player: "bob", role: "captain" }, "bob is captain of team red now"],
    ["system", { text: "welcome" }, "welcome"],
    ["mention", { from: "bob" }, "mention · from: bob"],
    ["team", { team: "red", what: "dissolved", player: "bob" }, "team · team: red · what: dissolved · player: bob"],
    ["weather", { wind: 7, [HOSTILE]: HOSTILE }, `weather · wind: 7 · ${HOSTILE}: ${HOSTILE}`],
    ["toString", {}, "toString"],
  ])("of a notice %s about %j", (kind, about, said) => {
    expect(words(kind, about as Facts)).toBe(said);
  });

  test("of an event are its name and facts, of all else its text", () => {
    const common: Message = { id: "1-0", msg: "m", at: 1, from: null, name: null, mine: false, text: "" };
    expect(wordsOf({ ...common, event: "market-opens", about: { port: "p1" } })).toBe("market-opens · port: p1");
    expect(wordsOf({ ...common, level: "info", text: "hello" })).toBe("hello");
  });
});

describe("preferences", () => {
  test("are asked for by kind, kept by what the server says, and begin anew with a connection", async () => {
    const { client } = await talking();
    say({ counts: { n: 1, channels: [] } });
    const done = client.want("mention", false);
    expect(asked("prefer")).toEqual([{ n: 2, kind: "mention", wanted: false }]);
    say({ preferences: { n: 2, unwanted: ["mention", "later"] } });
    await done;
    say({ counts: { n: 3, channels: [] } });
    expect(client.unwanted).toEqual(new Set(["mention", "later"]));
    const refused = client.want("team", false);
    say({ refused: { n: asked("prefer")[1]!.n, code: "too_many", facts: {} } });
    await expect(refused).rejects.toMatchObject({ code: "too_many" });
    await expect(client.want("weather" as "team", true)).rejects.toThrow(PREFERENCE_KINDS.join(", "));
    const open = client.want("chat", false);
    FakeSocket.last.end(1006);
    (await nextSocket()).say(recovered([], FEEDS));
    expect([asked("prefer").map(({ n }) => n), client.unwanted.size]).toEqual([[5], 0]);
    say({ preferences: { unwanted: ["mention"] } });
    expect(asked("unread")).toHaveLength(1);
    say({ preferences: { n: 5, unwanted: ["mention", "chat"] } });
    await open;
  });

  test("what is unwanted is shown and not counted, here as by the server, which is asked anew", async () => {
    const { client } = await talking();
    say({ counts: { n: 1, channels: [] } });
    say(chat("global", "10-0", "a"));
    say(letter("10-1", "bob", "ann", "b"));
    say(item("player:ann", "10-2", notice("mention", {})));
    say(item("player:ann", "10-3", notice("mention", {}, "critical")));
    say(item("player:ann", "10-4", notice("later", {})));
    expect(unread(client)).toEqual({ global: 1, "player:bob": 1, "player:ann": 3 });
    const turned: string[] = [];
    client.channels.subscribe(({ kind, channel }) => turned.push(`${kind} ${channel.name}`));
    say({ preferences: { unwanted: ["chat", "private", "mention"] } });
    expect(unread(client)).toEqual({ "player:ann": 2 });
    expect(turned).toContain("changed global");
    expect(client.channels.get("global")?.messages).toHaveLength(1);
    say({ counts: { n: asked("unread").at(-1)!.n, channels: [{ of: "player:ann", unread: 2, counted: "10-4" }] } });
    say(chat("global", "11-0", "c"));
    expect(unread(client)).toEqual({ "player:ann": 2 });
    say({ preferences: { unwanted: [] } });
    expect(unread(client)).toEqual({ global: 2, "player:bob": 1, "player:ann": 3 });
    await settle();
  });

  test.each([
    ["player:ann", "info", 0],
    ["player:ann", "warning", 0],
    ["player:ann", "critical", 1],
    ["global", "info", 0],
    ["global", "critical", 1],
  ])("an announcement in %s of level %s is of the kind system: where that is unwanted it counts %i", async (of, level, counted) => {
    const { client } = await talking();
    say({ counts: { n: 1, channels: [] } });
    say(item(of, "10-0", { announcement: { level, text: "soon" } }));
    // An event is of no kind, and a notice only of its own.
    say(item("sector:12", "10-0", { event: { name: "market-opens", level: "info", about: {} } }));
    say(item("sector:12", "10-1", notice("mention", {})));
    expect(unread(client)).toEqual({ [of]: 1, "sector:12": 2 });
    say({ preferences: { unwanted: ["system"] } });
    expect(unread(client)).toEqual({ ...(counted > 0 && { [of]: counted }), "sector:12": 2 });
    expect(client.channels.get(of)?.messages).toHaveLength(1);
    say({ preferences: { unwanted: ["mention", "attack", "team"] } });
    expect(unread(client)).toEqual({ [of]: 1, "sector:12": 1 });
  });
});
