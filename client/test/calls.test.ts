// Calls to workers: each has one end, however often connections come and go.

import { expect, test } from "vitest";

import { CARRIED_DEPTH_MAX } from "../src/carried.js";
import type { Call, Json } from "../src/frames.js";
import { eachTestAnew, FakeSocket, nextSocket, player, playing, recovered, settle, snapshot, welcome } from "./fake.js";
import { table } from "./page.js";

eachTestAnew();

const reply = (n: number, body: unknown, conversation = "c-1") => ({ reply: { n, service: "aria", conversation, body } });
const failed = (n: number, code: string, more: object = {}) => ({ call_failed: { n, code, ...more } });
const sent = () => FakeSocket.last.frames("call").map((call) => (call as { n: number }).n);

test("a call is sent once and ends with its reply, whose conversation goes on", async () => {
  const { client } = await playing();
  const first = client.call("aria", { ask: "where am I?" });
  expect(FakeSocket.last.frames("call")).toEqual([{ n: 1, service: "aria", body: { ask: "where am I?" } }]);
  FakeSocket.last.say(reply(1, { text: "here" }));
  FakeSocket.last.say(reply(1, { text: "again" }));
  expect(await first).toEqual({ reply: { body: { text: "here" }, conversation: "c-1" } });
  void client.call("aria", [true, null, 2, "x"], "c-1");
  expect(FakeSocket.last.frames("call")[1]).toEqual({ n: 2, service: "aria", body: [true, null, 2, "x"], conversation: "c-1" });
});

test("a call waits for the first state, and an open one is sent again on the next connection", async () => {
  const { client } = player();
  const outcome = client.call("aria", "?");
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.say(welcome());
  expect(sent()).toEqual([]);
  FakeSocket.last.say(snapshot());
  expect(sent()).toEqual([1]);
  FakeSocket.last.end(1006);
  (await nextSocket()).say(recovered());
  expect(sent()).toEqual([1]);
  FakeSocket.last.say(reply(1, 7));
  expect(await outcome).toEqual({ reply: { body: 7, conversation: "c-1" } });
});

test("four are open at a time, and one that came too often is sent again as told", async () => {
  const { client } = await playing();
  const outcomes = [1, 2, 3, 4, 5].map((n) => client.call("aria", n));
  expect(sent()).toEqual([1, 2, 3, 4]);
  FakeSocket.last.say(failed(2, "timeout"));
  expect(await outcomes[1]).toEqual({ failed: { code: "timeout" } });
  expect(sent()).toEqual([1, 2, 3, 4, 5]);
  FakeSocket.last.say(failed(5, "too_many", { retry_after_ms: 100 }));
  await settle(99);
  expect(sent()).toHaveLength(5);
  await settle(1);
  expect(sent()).toEqual([1, 2, 3, 4, 5, 5]);
  FakeSocket.last.say(failed(5, "too_many"));
  expect(await outcomes[4]).toEqual({ failed: { code: "too_many" } });
});

test("a service that answers at once is asked no more often per second than the server takes", async () => {
  const at: number[] = [];
  class AtOnce extends FakeSocket {
    override send(message: string): void {
      super.send(message);
      const { call } = JSON.parse(message) as { call?: { n: number } };
      if (call === undefined) return;
      at.push(performance.now());
      queueMicrotask(() => this.say(reply(call.n, call.n)));
    }
  }
  const { client } = player({ WebSocket: AtOnce });
  const outcomes = Array.from({ length: 100 }, (_, call) => client.call("aria", call));
  await settle();
  FakeSocket.last.open();
  const { limits } = welcome().welcome;
  FakeSocket.last.say(welcome({ limits: { ...limits, actions_per_s: 20 } }));
  FakeSocket.last.say(snapshot());
  await settle();
  expect(at).toHaveLength(20);
  await settle(3_999);
  expect(at).toHaveLength(99);
  await settle(1);
  expect(await Promise.all(outcomes)).toHaveLength(100);
});

test("a client that leaves, or gets another actor, ends what is open", async () => {
  const { client } = await playing();
  const first = client.call("aria", 1);
  FakeSocket.last.end(1006);
  const next = await nextSocket();
  next.say(welcome({ actor: 4 }));
  next.say(snapshot());
  expect(await first).toEqual({ failed: { code: "unknown_actor" } });
  const second = client.call("aria", 2);
  client.leave();
  FakeSocket.last.end(1000, "normal");
  expect(await second).toEqual({ failed: { code: "left" } });
  expect(() => client.call("aria", 3)).toThrow("left");
});

test("what the server would refuse is refused at once", async () => {
  const { client } = await playing();
  expect(() => client.call("no name", 1)).toThrow(RangeError);
  expect(() => client.call("aria", 1.5)).toThrow(RangeError);
  expect(() => client.call("aria", { deep: [2 ** 53] })).toThrow(RangeError);
  expect(() => client.call("aria", "x".repeat(4095))).toThrow(RangeError);
  void client.call("aria", "x".repeat(4094));
  expect(sent()).toHaveLength(1);
});

const nested = (depth: number): Json => (depth === 0 ? "x" : [nested(depth - 1)]);

test("a body is never what closes the connection for good: too deep, or with a key that no library takes", async () => {
  const stated = table("| limit | value | unit | beyond it |").find(([what]) => what === "maps and arrays within each other in a body");
  expect(Number(stated?.[1])).toBe(CARRIED_DEPTH_MAX);
  const { client } = await playing();
  expect(() => client.call("aria", nested(CARRIED_DEPTH_MAX + 1))).toThrow(RangeError);
  expect(() => client.call("aria", nested(100_000))).toThrow(RangeError);
  expect(() => client.call("aria", JSON.parse('{"a":[{"__proto__":1}]}') as Json)).toThrow("__proto__ is no key");
  expect(() => client.call("aria", undefined as unknown as Json)).toThrow(RangeError);
  expect(() => client.call("aria", 1, "\ud800")).toThrow(RangeError);
  void client.call("aria", nested(CARRIED_DEPTH_MAX));
  void client.call("aria", JSON.parse('{"constructor":{"prototype":1}}') as Json);
  const bodies = FakeSocket.last.frames("call").map((call) => (call as { body: unknown }).body);
  expect(bodies).toEqual([nested(CARRIED_DEPTH_MAX), { constructor: { prototype: 1 } }]);
});

test("half a surrogate pair in a body's texts and keys is U+FFFD, and a whole one stays", async () => {
  const { client } = await playing();
  void client.call("aria", { "a\udc00": ["\ud800x", "\u{1f600}", { b: "\ud83d" }] });
  const [call] = FakeSocket.last.frames("call") as [Call];
  expect(call.body).toEqual({ "a\ufffd": ["\ufffdx", "\u{1f600}", { b: "\ufffd" }] });
});

test("an action is never what closes the connection for good", async () => {
  const { client } = await playing();
  const { seq } = client.act({ move: { to: "\ud800" } });
  expect(FakeSocket.last.frames("act")).toEqual([{ seq, action: { move: { to: "\ufffd" } } }]);
  expect(() => client.act({ attack: { target: 1.5 } })).toThrow(RangeError);
});
