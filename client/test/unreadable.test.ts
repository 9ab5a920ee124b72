// What somebody chose and no client can read: it is passed over and told of once, in both codecs, and never ends the
// connection, which would bring the same again for ever.

import { decode, encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";

import { CODECS, type CodecName } from "../src/codec/codec.js";
import type { Client, ConnectOptions, Notice } from "../src/index.js";
import { FEEDS, FakeSocket, chat, delta, eachTestAnew, nextSocket, recovered, settle, talking } from "./fake.js";

eachTestAnew();

/** The same in MessagePack. */
class PackedSocket extends FakeSocket {
  override send(message: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(decode(message as Uint8Array) as Record<string, unknown>);
  }

  override say(frame: object): void {
    this.onmessage?.({ data: encode(frame) } as never);
  }
}

const OPTIONS: Record<CodecName, Partial<ConnectOptions>> = {
  json: { codec: "json" },
  msgpack: { codec: "msgpack", WebSocket: PackedSocket },
};
const say = (frame: object): void => FakeSocket.last.say(frame);
/** With `__proto__` as a key of its own, at every depth. */
const parsed = (json: string): object => JSON.parse(json) as object;
const notice = (id: string, about: unknown): object =>
  ({ item: { of: "player:ann", id, msg: `m${id}`, said: { notice: { kind: "later", level: "info", about } } } });
const mine = (client: Client): string[] => (client.channels.get("player:ann")?.messages ?? []).map(({ id }) => id);

async function listening(codec: CodecName): Promise<{ client: Client; told: Notice[] }> {
  const { client } = await talking(OPTIONS[codec]);
  const told: Notice[] = [];
  client.onNotice((each) => told.push(each));
  return { client, told };
}

describe.each(["json", "msgpack"] as const)("in %s", (codec) => {
  test("a key that no library takes is dropped, and only it: what others would hide is there", async () => {
    const { client, told } = await listening(codec);
    say(notice("10-0", parsed('{"__proto__":1,"constructor":2,"prototype":3,"toString":4,"x":5,"_-proto-_":6}')));
    const { about } = client.channels.get("player:ann")!.messages[0]!;
    expect(Object.entries(about!)).toEqual(Object.entries({ constructor: 2, prototype: 3, toString: 4, x: 5, "_-proto-_": 6 }));
    const outcome = client.call("aria", 1);
    const [{ n }] = FakeSocket.last.frames("call") as [{ n: number }];
    const body = parsed('{"__proto__":{"a":1},"constructor":{"prototype":[{"__proto__":1,"b":2}]}}');
    say({ reply: { n, service: "aria", conversation: "c", body } });
    const ended = await outcome;
    expect(ended).toEqual({ reply: { conversation: "c", body: { constructor: { prototype: [{ b: 2 }] } } } });
    expect(JSON.stringify(ended)).not.toContain("__proto__");
    expect(Object.getOwnPropertySymbols((ended as { reply: { body: object } }).reply.body)).toEqual([]);
    expect([client.state, told]).toEqual(["live", []]);
  });

  test("an item that is not as it should be is passed over, told of once, and not asked for again", async () => {
    const { client, told } = await listening(codec);
    say(notice("10-0", { deep: {} }));
    say({ item: { of: "player:ann", id: "11-0", msg: "m11-0", said: { chat: { from: "bob" } } } });
    say(notice("12-0", { fine: 1 }));
    say(notice("13-0", { half: 1.5 }));
    expect([client.state, mine(client)]).toEqual(["live", ["12-0"]]);
    const passed = { kind: "unreadable", frame: "item", count: 1 };
    expect(told).toEqual([passed, passed, passed]);
    FakeSocket.last.end(1006);
    const next = await nextSocket();
    expect(next.hello.feeds).toMatchObject({ "player:ann": "13-0" });
    next.say(recovered([], FEEDS));
    expect([client.state, FakeSocket.all.length]).toEqual(["live", 2]);
  });

  test("of a page only such items are missing, and a reply ends its call", async () => {
    const { client, told } = await listening(codec);
    const page = client.history("global");
    const { n } = FakeSocket.last.frames("history")[0] as { n: number };
    const said = (id: string, said: object): object => ({ id, msg: `m${id}`, said });
    const items = [said("1-0", { chat: 7 }), said("2-0", { chat: { from: "bob", name: "Bob", text: "hi" } }), said("3-0", { later: {} })];
    say({ page: { n, of: "global", items } });
    expect((await page).messages.map(({ id }) => id)).toEqual(["2-0"]);
    const outcome = client.call("aria", 1);
    const call = FakeSocket.last.frames("call")[0] as { n: number };
    say({ reply: { n: call.n, service: "aria", conversation: "c", body: [1.5] } });
    expect(await outcome).toEqual({ failed: { code: "unreadable" } });
    expect(client.state).toBe("live");
    expect(told).toEqual([{ kind: "unreadable", frame: "page", count: 1 }, { kind: "unreadable", frame: "reply", count: 1 }]);
    await settle();
  });

  test("a frame that others build on is not passed over: the client comes back for what is true", async () => {
    const { client } = await listening(codec);
    say(chat("global", "10-0", "hello"));
    say(codec === "json" ? { delta: { room: 0, from: 6, to: 7, sum: 0, changes: [{ entity: 1 }] } } : [0, 7, 0, [5, 5]]);
    expect(client.state).toBe("dropped");
    (await nextSocket()).say(recovered([], FEEDS));
    if (codec === "json") say(delta(6, 7));
    else say([0, 7, 0]);
    expect([client.state, client.room?.version]).toEqual(["live", 7]);
  });
});

test("a key is dropped however its text is written", () => {
  const key = [..."__proto__"].map((char) => char.charCodeAt(0));
  for (const head of [[0xa9], [0xd9, 9], [0xda, 0, 9], [0xdb, 0, 0, 0, 9]]) {
    const about = [0x82, ...head, ...key, 1, 0xa1, 0x61, 2];
    const frame = encode({ item: { of: "global", id: "1-0", msg: "m", said: { event: { name: "e", level: "info", about: null } } } });
    const packed = Uint8Array.from([...frame.slice(0, -1), ...about]);
    expect(CODECS.msgpack.decode(packed)?.body).toMatchObject({ said: { event: { about: { a: 2 } } } });
  }
});
