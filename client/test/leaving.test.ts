// The client against a scripted server: what ends it and what does not, and the tokens it shows.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { CLOSES } from "../src/closes.js";
import { FakeSocket, NOW, nextSocket, player, playing, recovered, settle } from "./fake.js";

const MOVE = { move: { to: "13" } };

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
});
afterEach(() => {
  vi.useRealTimers();
});

describe("leaving", () => {
  const final = [...CLOSES].filter(([, { again }]) => again === "no");
  const resumed = [...CLOSES].filter(([, { again }]) => again === "resume");

  test.each(final)("%i %o is the end", async (code, { name }) => {
    const { client, heard } = await playing();
    const { answer } = client.act(MOVE);
    FakeSocket.last.end(code, name);
    expect([client.state, heard]).toEqual(["left", [["leave", { code, name, reason: name }]]]);
    await expect(answer).resolves.toEqual({ unknown: { reason: name } });
    await settle(60_000);
    expect(FakeSocket.all).toHaveLength(1);
    expect(() => client.act(MOVE)).toThrow("left");
  });

  test.each(resumed)("after %i %o the client comes back", async (code, { name }) => {
    const { client, heard } = await playing();
    FakeSocket.last.end(code, name);
    (await nextSocket()).say(recovered());
    expect([client.state, heard.map(([kind]) => kind)]).toEqual(["live", ["drop", "reconnect"]]);
  });

  test("bye is said, and the server's close is the end", async () => {
    const { client, heard } = await playing();
    client.leave();
    client.leave();
    expect(FakeSocket.last.frames("bye")).toEqual([{}]);
    FakeSocket.last.end(1000, "normal");
    expect(heard).toEqual([["leave", { code: 1000, name: "normal", reason: "normal" }]]);
  });

  test("nothing brings back who has said bye", async () => {
    const { client, heard } = await playing();
    client.act(MOVE);
    client.leave();
    FakeSocket.last.say({ reject: { seq: 1, code: "unknown_actor", facts: {}, version: 8 } });
    await settle(60_000);
    expect([client.state, heard.length, FakeSocket.all.length]).toEqual(["left", 1, 1]);
  });

  test("a server that does not close after bye is left all the same", async () => {
    const { client, heard } = await playing();
    client.leave();
    await settle(2_000);
    expect([client.state, heard[0]?.[0], FakeSocket.last.closedByClient]).toEqual(["left", "leave", true]);
    expect(heard[0]?.[1]).toMatchObject({ code: 1006, name: "lost" });
  });

  test("logout is said, and the server's word on it is the end", async () => {
    const { client, heard } = await playing();
    client.logout();
    client.leave();
    expect([FakeSocket.last.frames("logout"), FakeSocket.last.frames("bye")]).toEqual([[{}], []]);
    FakeSocket.last.end(4010, "logged_out");
    expect([client.state, heard]).toEqual(["left", [["leave", { code: 4010, name: "logged_out", reason: "logged_out" }]]]);
  });

  test("who logs out without a connection does so on the next one", async () => {
    const { client, heard } = await playing();
    FakeSocket.last.end(1006);
    client.logout();
    expect(client.state).toBe("dropped");
    const socket = await nextSocket();
    expect(socket.frames("logout")).toEqual([]);
    socket.say(recovered());
    expect(socket.frames("logout")).toEqual([{}]);
    socket.end(1006);
    expect([client.state, heard.at(-1)]).toEqual(["left", ["leave", { code: 1006, name: "lost", reason: "" }]]);
  });

  test("who leaves while connecting does not come", async () => {
    const { client, heard } = player();
    client.leave();
    await settle(60_000);
    expect([client.state, heard.length, FakeSocket.all.length]).toEqual(["left", 1, 0]);
  });
});

describe("tokens", () => {
  test("a refused token is replaced by a new one", async () => {
    const tokens = ["old", "new"];
    const { client, heard } = await playing({ token: async () => tokens.shift()! });
    FakeSocket.last.end(4003, "bad_token: expired");
    const socket = await nextSocket();
    expect(socket.hello.token).toBe("new");
    socket.say(recovered());
    expect([client.state, heard.map(([kind]) => kind)]).toEqual(["live", ["drop", "reconnect"]]);
  });

  test("an expiring token is replaced on the same connection", async () => {
    const tokens = ["old", "new"];
    const { heard } = await playing({ token: async () => tokens.shift()! });
    FakeSocket.last.say({ expiring: { expires_ms: NOW + 60_000 } });
    await settle();
    expect(FakeSocket.last.frames("refresh")).toEqual([{ token: "new" }]);
    FakeSocket.last.say({ refreshed: { expires_ms: NOW + 3_600_000 } });
    FakeSocket.last.end(1006);
    expect((await nextSocket()).hello.token).toBe("new");
    expect(heard).toEqual([["drop", { code: 1006, reason: "" }]]);
  });

  test("when no new token can be had in time it is asked for again", async () => {
    let asked = 0;
    await playing({
      token: () => {
        asked += 1;
        if (asked === 2) throw new Error("the door is closed");
        return `token ${asked}`;
      },
    });
    FakeSocket.last.say({ expiring: { expires_ms: NOW + 60_000 } });
    await settle();
    expect(FakeSocket.last.frames("refresh")).toEqual([]);
    for (let waited = 0; waited < 5; waited += 1) {
      FakeSocket.last.say({ pong: { t: 0, now_ms: NOW } });
      await settle(1_001);
    }
    expect(FakeSocket.last.frames("refresh")).toEqual([{ token: "token 3" }]);
  });

  test("a token that comes after its connection is used on the next one", async () => {
    const late = Promise.withResolvers<string>();
    let asked = 0;
    await playing({ token: () => (asked++ === 0 ? "old" : late.promise) });
    const first = FakeSocket.last;
    first.say({ expiring: { expires_ms: NOW + 60_000 } });
    await settle();
    first.end(1006);
    late.resolve("new");
    const second = await nextSocket();
    expect([first.frames("refresh"), second.frames("refresh"), second.hello.token]).toEqual([[], [], "new"]);
  });

  test("a fixed token cannot be refreshed: nothing is sent until the server ends it", async () => {
    const { heard } = await playing();
    FakeSocket.last.say({ expiring: { expires_ms: NOW + 60_000 } });
    await settle();
    expect(FakeSocket.last.frames("refresh")).toEqual([]);
    FakeSocket.last.end(4008, "expired");
    await settle(10_000);
    expect(heard.map(([kind]) => kind)).toEqual(["drop", "leave"]);
  });

  test("a token that came too late for the old one is good for the next connection", async () => {
    const tokens = ["old", "new", "new"];
    const late = Promise.withResolvers<void>();
    const { client } = await playing({
      token: async () => {
        if (tokens.length === 2) await late.promise;
        return tokens.shift()!;
      },
    });
    FakeSocket.last.say({ expiring: { expires_ms: NOW + 60_000 } });
    FakeSocket.last.end(4008, "expired");
    late.resolve();
    const socket = await nextSocket();
    socket.say(recovered());
    expect([socket.hello.token, client.state]).toEqual(["new", "live"]);
  });

  test("a token is asked for once, not for each connection", async () => {
    const token = vi.fn(() => "token");
    await playing({ token });
    FakeSocket.last.end(1006);
    await nextSocket();
    expect(token).toHaveBeenCalledTimes(1);
  });

  test.each([["a fixed token", "token"], ["a function that has no other", () => "token"]])("%s that is refused is the end", async (_, token) => {
    const { heard } = player({ token });
    await settle();
    FakeSocket.last.open();
    FakeSocket.last.end(4003, "bad_token: bad_signature");
    await settle(10_000);
    expect(heard).toEqual([["leave", { code: 4003, name: "bad_token", reason: "bad_token: bad_signature" }]]);
    expect(FakeSocket.all).toHaveLength(1);
  });

  test("when no token can be had it is asked for again, later", async () => {
    let asked = 0;
    const { client } = player({
      token: () => {
        asked += 1;
        if (asked < 3) throw new Error("the door is closed");
        return "token";
      },
    });
    const socket = await nextSocket();
    expect([asked, socket.hello.token, client.state]).toEqual([3, "token", "connecting"]);
  });
});
