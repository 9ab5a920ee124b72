// The client against a scripted server: how it comes and comes back, and what it does with what it is told.

import { describe, expect, test, vi } from "vitest";

import { FakeSocket, NOW, delta, eachTestAnew, nextSocket, player, playing, recovered, settle, snapshot, welcome } from "./fake.js";

const MOVE = { move: { to: "13" } };

eachTestAnew();

describe("coming", () => {
  test("the token goes into hello and nowhere else", async () => {
    player({ token: "secret" });
    await settle();
    const socket = FakeSocket.last;
    expect([socket.url, socket.protocols]).toEqual(["ws://a/ws", ["sectorbus.v1.json"]]);
    socket.open();
    expect(socket.sent[0]).toEqual({ hello: { token: "secret", features: ["feeds"] } });
  });

  test("what was asked for before the first state is sent after it", async () => {
    const { client } = player();
    expect(client.act(MOVE).seq).toBe(1);
    await settle();
    FakeSocket.last.open();
    FakeSocket.last.say({ unavailable: { retry_after_ms: 500 } });
    FakeSocket.last.say(welcome());
    expect([client.state, FakeSocket.last.acts]).toEqual(["connecting", []]);
    FakeSocket.last.say(snapshot());
    expect([client.state, FakeSocket.last.acts]).toEqual(["live", [1]]);
    expect([client.player, client.node, client.room?.sector, client.verified]).toEqual(["ann", "n1", "12", true]);
  });

  test("a hello that was too much is said again when the server said so", async () => {
    const { client } = player();
    await settle();
    FakeSocket.last.open();
    FakeSocket.last.say({ error: { code: "rate_limited", detail: "", retry: true, retry_after_ms: 300 } });
    await settle(301);
    const { hello } = FakeSocket.last;
    expect(FakeSocket.last.frames("hello")).toEqual([hello, hello]);
    FakeSocket.last.say(welcome());
    FakeSocket.last.say(snapshot());
    await settle(1_000);
    expect([client.state, FakeSocket.last.frames("hello").length]).toEqual(["live", 2]);
  });

  test("a node that does not answer is left for the next, ever more slowly", async () => {
    const { client, heard } = player({ random: () => 0.999 });
    const made: number[] = [];
    for (let tries = 0; tries < 6; tries += 1) {
      while (FakeSocket.all.length === made.length) await settle(10);
      made.push(Date.now());
      FakeSocket.last.end(1006);
    }
    const waits = made.slice(1).map((at, n) => at - made[n]!);
    expect(waits.every((wait, n) => wait <= 250 * 2 ** n + 10 && wait > 240 * 2 ** n)).toBe(true);
    expect(FakeSocket.all.map(({ url }) => url)).toEqual(["b", "a", "b", "a", "b", "a"].map((host) => `ws://${host}/ws`));
    expect([client.state, heard]).toEqual(["connecting", []]);
  });

  test("a socket that neither opens nor closes is given up", async () => {
    player();
    await settle();
    await settle(5_300);
    expect(FakeSocket.all[0]?.closedByClient).toBe(true);
    expect(FakeSocket.all).toHaveLength(2);
  });

  test.each([[[]], ["http://a/ws"], ["not a url"]])("urls that lead nowhere are refused: %j", (urls) => {
    expect(() => player({ urls })).toThrow(/url/i);
  });
});

describe("coming back", () => {
  test("the hello says where the client was; pending actions are answered or sent again, once", async () => {
    const { client, heard } = await playing();
    const answers = [1, 2, 3].map(() => client.act(MOVE).answer);
    FakeSocket.last.say({ ack: { seq: 2, version: 7 } });
    FakeSocket.last.say(delta(6, 7));
    FakeSocket.last.end(1006);
    expect([client.state, heard]).toEqual(["dropped", [["drop", { code: 1006, reason: "" }]]]);
    expect(client.act(MOVE).seq).toBe(4);
    const socket = await nextSocket();
    expect([client.state, socket.url]).toEqual(["reconnecting", "ws://b/ws"]);
    expect(socket.hello).toEqual({
      token: "token", features: ["feeds"], resume: "cmVzdW1l", cursor: "100-7", sector: "12", actor: 3, first_seq: 1,
    });
    const bitmap = "0".repeat(32);
    socket.say(recovered([{ actor: 3, high: 2, bitmap, answers: [{ seq: 1, answer: "ack" }] }]));
    expect(socket.acts).toEqual([3, 4]);
    expect(heard.slice(1)).toEqual([["reconnect", { recovered: true, source: "replica", node: "n2" }]]);
    socket.say({ reject: { seq: 3, code: "no_warp", facts: { to: "13" }, version: 8 } });
    socket.say({ ack: { seq: 3, version: 9 } });
    await expect(Promise.all(answers)).resolves.toEqual([
      { ack: { version: null } },
      { ack: { version: 7 } },
      { reject: { code: "no_warp", facts: { to: "13" }, version: 8 } },
    ]);
    expect(client.pending.map(({ seq }) => seq)).toEqual([4]);
  });

  test("cut off between a welcome that answers and the deltas behind it, the client says how far they would have reached", async () => {
    const { client } = await playing();
    const { answer } = client.act(MOVE);
    FakeSocket.last.end(1006);
    let socket = await nextSocket();
    const pending = [{ actor: 3, high: 1, bitmap: "0".repeat(32), answers: [{ seq: 1, answer: "ack" as const }] }];
    socket.say(recovered(pending, { head: "200-15" }));
    await expect(answer).resolves.toEqual({ ack: { version: null } });
    socket.end(1006);
    socket = await nextSocket();
    expect(socket.hello).toMatchObject({ cursor: "100-6", sector: "12", acked: "200-15", first_seq: 2 });
    socket.say(recovered([], { head: "200-15" }));
    socket.say(delta(6, 15));
    socket.end(1006);
    socket = await nextSocket();
    expect(socket.hello.cursor).toBe("100-15");
    expect(socket.hello).not.toHaveProperty("acked");
  });

  test("own changes that came before the deltas are named too; a snapshot ends what was told before it", async () => {
    await playing();
    FakeSocket.last.say({ own: { to: 9, sum: 0, set: {} } });
    FakeSocket.last.end(1006);
    let socket = await nextSocket();
    expect(socket.hello).toMatchObject({ cursor: "100-6", acked: "100-9" });
    socket.say(welcome());
    socket.say(snapshot({ id: "200-7" }));
    socket.end(1006);
    socket = await nextSocket();
    expect(socket.hello.cursor).toBe("200-7");
    expect(socket.hello).not.toHaveProperty("acked");
  });

  test("a welcome whose head is no entry is no frame", async () => {
    const { heard } = await playing();
    FakeSocket.last.end(1006);
    (await nextSocket()).say(recovered([], { head: "15" }));
    expect(heard.map(([kind]) => kind)).toEqual(["drop"]);
    expect((await nextSocket()).hello).not.toHaveProperty("acked");
  });

  test("with a snapshot the old state is kept until it comes, and actions wait for its marks", async () => {
    const { client, heard } = await playing();
    const { answer } = client.act(MOVE);
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(welcome({ node: "n3" }));
    expect([client.room?.sector, socket.acts]).toEqual(["12", []]);
    const marks = [{ actor: 3, high: 1, bitmap: "f".repeat(32), answers: [{ seq: 1, answer: "ack" as const }] }];
    socket.say(snapshot({ sector: "13", marks }));
    await expect(answer).resolves.toEqual({ ack: { version: null } });
    expect([client.room?.sector, socket.acts]).toEqual(["13", []]);
    expect(heard.slice(1)).toEqual([["reconnect", { recovered: false, source: "snapshot", node: "n3" }], ["state", "join"]]);
  });

  test("after flooding the client stays away for long", async () => {
    await playing({ random: () => 0.999 });
    FakeSocket.last.end(4011, "flooding");
    await settle(9_900);
    expect(FakeSocket.all).toHaveLength(1);
    await settle(100);
    expect(FakeSocket.all).toHaveLength(2);
  });

  test("a node that leaves says when to be back", async () => {
    const { client } = await playing({ random: () => 0.999 });
    FakeSocket.last.say({ leaving: { reconnect_after_ms: 740 } });
    expect(client.state).toBe("live");
    FakeSocket.last.end(1001, "draining");
    await settle(739);
    expect(FakeSocket.all).toHaveLength(1);
    await settle(1);
    expect(FakeSocket.all).toHaveLength(2);
  });

  test("a connection on which a ping goes unanswered is dead whatever its socket says", async () => {
    const { heard } = await playing();
    FakeSocket.last.say({ pong: { t: 0, now_ms: NOW } });
    await settle(3_000);
    expect(FakeSocket.last.frames("ping").length).toBe(2);
    expect(heard).toEqual([]);
    await settle(6_000);
    expect(heard).toEqual([["drop", { code: 1006, reason: "silent" }]]);
    expect(FakeSocket.all[0]?.closedByClient).toBe(true);
  });

  test("a quiet room is no reason to go while pings are answered", async () => {
    const { client, heard } = await playing();
    for (let round = 0; round < 10; round += 1) {
      FakeSocket.last.say({ pong: { t: 0, now_ms: NOW } });
      await settle(3_000);
    }
    expect([client.state, heard]).toEqual(["live", []]);
  });

  test("a message that is no frame ends the connection, not the client", async () => {
    const { heard } = await playing();
    FakeSocket.last.say({ ack: { seq: "1" } });
    expect(heard).toEqual([["drop", { code: 1006, reason: expect.stringContaining("ack") }]]);
    expect((await nextSocket()).hello.resume).toBe("cmVzdW1l");
  });

  test("a preferred node is gone to at once, and tried every second time", async () => {
    const { client } = await playing({ urls: ["ws://a/ws", "ws://b/ws", "ws://c/ws"] });
    client.prefer("ws://c/ws");
    await settle();
    FakeSocket.last.end(1006);
    for (let tries = 0; tries < 3; tries += 1) (await nextSocket()).end(1006);
    expect(FakeSocket.all.map(({ url }) => url[5])).toEqual(["a", "c", "a", "c", "a"]);
    expect(() => client.prefer("ws://elsewhere/ws")).toThrow("urls");
  });

  test("after a good while the first delay is short again", async () => {
    const { client } = await playing({ random: () => 0.999 });
    for (let tries = 0; tries < 4; tries += 1) {
      FakeSocket.last.end(1006);
      await nextSocket();
    }
    FakeSocket.last.say(recovered());
    expect(client.state).toBe("live");
    for (let second = 0; second < 11; second += 1) {
      await settle(1_000);
      FakeSocket.last.say({ pong: { t: 0, now_ms: NOW } });
    }
    FakeSocket.last.end(1006);
    const before = FakeSocket.all.length;
    await settle(250);
    expect(FakeSocket.all.length).toBe(before + 1);
  });
});

describe("repairs", () => {
  test("missing versions are asked for once, and what comes meanwhile asks no more", async () => {
    const { client, heard } = await playing();
    FakeSocket.last.say(delta(8, 9));
    FakeSocket.last.say(delta(9, 10));
    expect([FakeSocket.last.frames("resync"), client.verified]).toEqual([[{}], false]);
    FakeSocket.last.say(snapshot({ id: "100-10", reason: "resync" }));
    FakeSocket.last.say(delta(10, 11));
    expect([client.room?.version, client.verified]).toEqual([11, true]);
    expect(heard).toEqual([["notice", "repairing"], ["state", "resync"]]);
  });

  test("a second resync waits until the server allows it", async () => {
    await playing();
    FakeSocket.last.say(delta(6, 7, 1));
    FakeSocket.last.say(snapshot({ id: "100-7", reason: "resync" }));
    await settle(400);
    FakeSocket.last.say(delta(7, 8, 1));
    await settle(599);
    expect(FakeSocket.last.frames("resync")).toHaveLength(1);
    await settle(2);
    expect(FakeSocket.last.frames("resync")).toHaveLength(2);
  });

  test("a resync that came too early for the server is sent again", async () => {
    await playing();
    FakeSocket.last.say(delta(6, 7, 1));
    FakeSocket.last.say({ error: { code: "resync_too_often", detail: "", retry: true } });
    await settle(1_001);
    expect(FakeSocket.last.frames("resync")).toHaveLength(2);
  });

  test("a copy that was wrong when the connection ended is still wrong after a resume", async () => {
    const { client } = await playing();
    FakeSocket.last.say(delta(6, 7, 1));
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(recovered());
    expect(client.verified).toBe(false);
    await settle(1_001);
    expect(socket.frames("resync")).toHaveLength(1);
  });

  test("versions that were missing come after a resume", async () => {
    const { client } = await playing();
    FakeSocket.last.say(delta(8, 9));
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    expect(socket.hello.cursor).toBe("100-6");
    socket.say(recovered());
    socket.say(delta(6, 9));
    await settle(2_000);
    expect([client.verified, client.room?.version, socket.frames("resync")]).toEqual([true, 9, []]);
  });
});

describe("actions", () => {
  test("a busy server hears new ones when it said so", async () => {
    const { client } = await playing();
    client.act(MOVE);
    FakeSocket.last.say({ retry_after: { ms: 250 } });
    client.act(MOVE);
    expect(FakeSocket.last.acts).toEqual([1]);
    await settle(251);
    expect(FakeSocket.last.acts).toEqual([1, 2]);
  });

  test("no pause is longer than a timer can count", async () => {
    const timer = vi.spyOn(globalThis, "setTimeout");
    const { client } = await playing();
    FakeSocket.last.say({ retry_after: { ms: Number.MAX_SAFE_INTEGER } });
    FakeSocket.last.say({ leaving: { reconnect_after_ms: Number.MAX_SAFE_INTEGER } });
    client.act(MOVE);
    FakeSocket.last.end(1001, "draining");
    await settle(61_000);
    expect(FakeSocket.all.length).toBeGreaterThan(1);
    expect(Math.max(...timer.mock.calls.map(([, ms]) => ms ?? 0))).toBeLessThanOrEqual(60_000);
    timer.mockRestore();
  });

  test("a refused one is answered by the error, or sent again where the error says so", async () => {
    const { client } = await playing();
    const refused = client.act(MOVE).answer;
    client.act(MOVE);
    FakeSocket.last.say({ error: { code: "unknown_action", detail: "no such", retry: false, seq: 1 } });
    FakeSocket.last.say({ error: { code: "not_in_sector", detail: "", retry: true, seq: 2 } });
    await expect(refused).resolves.toEqual({ reject: { code: "unknown_action", facts: { detail: "no such" }, version: null } });
    await settle(251);
    expect(FakeSocket.last.acts).toEqual([1, 2, 2]);
  });

  test("one that was too much is sent again when the server said so, and is still pending", async () => {
    const { client, heard } = await playing();
    client.act(MOVE);
    FakeSocket.last.say({ error: { code: "rate_limited", detail: "", retry: true, seq: 1, retry_after_ms: 700 } });
    await settle(699);
    expect([FakeSocket.last.acts, client.pending.length]).toEqual([[1], 1]);
    await settle(2);
    expect(FakeSocket.last.acts).toEqual([1, 1]);
    expect(heard).toEqual([["notice", "limited"]]);
  });

  test("after a resume no more is sent per second than the server takes", async () => {
    const { client } = await playing();
    for (let count = 0; count < 100; count += 1) client.act(MOVE);
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    const { welcome } = recovered();
    socket.say({ welcome: { ...welcome, limits: { ...welcome.limits, actions_per_s: 20 } } });
    expect(socket.acts).toHaveLength(20);
    await settle(1_000);
    expect(socket.acts).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
  });

  test("a forgotten actor: all that is pending is answered, and the client comes back as a new one", async () => {
    const { client } = await playing();
    const answers = [client.act(MOVE).answer, client.act(MOVE).answer];
    FakeSocket.last.say({ reject: { seq: 1, code: "unknown_actor", facts: {}, version: 8 } });
    expect(client.act(MOVE).seq).toBe(1);
    const socket = await nextSocket();
    expect(socket.hello).toMatchObject({ resume: "cmVzdW1l", cursor: "100-6" });
    expect(socket.hello).not.toHaveProperty("actor");
    expect(socket.hello).not.toHaveProperty("first_seq");
    socket.say(recovered([], { actor: 9 }));
    expect(socket.acts).toEqual([1]);
    const codes = (await Promise.all(answers)).map((answer) => "reject" in answer && answer.reject.code);
    expect(codes).toEqual(["unknown_actor", "unknown_actor"]);
  });

  test("a move's ack leaves the old sector in place until moved comes", async () => {
    const { client, heard } = await playing();
    client.act(MOVE);
    FakeSocket.last.say({ ack: { seq: 1, version: 7 } });
    expect(client.room?.sector).toBe("12");
    FakeSocket.last.say({ moved: { from: "12", to: "13", snapshot: snapshot({ sector: "13", id: "90-4", reason: "moved" }).snapshot } });
    expect([client.room?.sector, client.room?.version, heard]).toEqual(["13", 4, [["state", "moved"]]]);
  });

  test("frames about rooms this client does not know are ignored", async () => {
    const { client } = await playing();
    FakeSocket.last.say({ snapshot: { ...snapshot().snapshot, room: 1, sector: "team" } });
    FakeSocket.last.say({ owner: { room: 2, node: "n9", epoch: 200, version: 90 } });
    expect([client.room?.sector, client.room?.owner, client.verified]).toEqual(["12", "n1", true]);
  });
});

test("a listener that throws stops nobody, and one that unsubscribed hears nothing", async () => {
  const thrown = vi.spyOn(globalThis, "queueMicrotask").mockImplementation(() => {});
  const { client } = await playing();
  const reasons: string[] = [];
  client.onState(() => {
    throw new Error("mine");
  });
  client.onState(({ reason }) => reasons.push(reason));
  const unsubscribe = client.onState(({ reason }) => reasons.push(`never ${reason}`));
  unsubscribe();
  FakeSocket.last.say(snapshot({ reason: "gap" }));
  expect(reasons).toEqual(["gap"]);
  expect(thrown.mock.calls[0]?.[0]).toThrow("mine");
  thrown.mockRestore();
});

test("the region's clock is the welcome's, corrected by pings", async () => {
  const { client } = await playing();
  expect(client.now()).toBeCloseTo(NOW, 0);
  const t = (FakeSocket.last.frames("ping")[0] as { t: number }).t;
  await settle(40);
  FakeSocket.last.say({ pong: { t, now_ms: NOW + 120 } });
  expect(client.rttMs).toBeCloseTo(40, -1);
  expect(client.now()).toBeCloseTo(NOW + 140, -1);
});
