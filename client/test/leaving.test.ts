// The client against a scripted server: what ends it and what does not, and the tokens it shows.

import { describe, expect, test, vi } from "vitest";

import { CLOSES } from "../src/closes.js";
import { FakeSocket, NOW, delta, eachTestAnew, nextSocket, player, playing, recovered, settle } from "./fake.js";

const MOVE = { move: { to: "13" } };

eachTestAnew();

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
  /** The server says that the token expires; the client asks for another. */
  async function expiring(): Promise<void> {
    FakeSocket.last.say({ expiring: { expires_ms: NOW + 60_000 } });
    await settle();
  }

  /** Time on a connection whose pings are answered. */
  async function passing(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      FakeSocket.last.say({ pong: { t: 0, now_ms: NOW } });
      await settle(Math.min(left, 1_000));
    }
  }

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
    await expiring();
    expect(FakeSocket.last.frames("refresh")).toEqual([{ token: "new" }]);
    FakeSocket.last.say({ refreshed: { expires_ms: NOW + 3_600_000 } });
    FakeSocket.last.end(1006);
    expect((await nextSocket()).hello.token).toBe("new");
    expect(heard).toEqual([["drop", { code: 1006, reason: "" }]]);
  });

  test("once the new token is taken, a close for a token's sake is about it", async () => {
    const tokens = ["old", "new", "newer"];
    await playing({ token: async () => tokens.shift()! });
    await expiring();
    FakeSocket.last.say({ refreshed: { expires_ms: NOW + 60_000 } });
    FakeSocket.last.end(4008, "expired");
    expect((await nextSocket()).hello.token).toBe("newer");
  });

  test.each([
    ["rate_limited", { retry_after_ms: 700 }, 700],
    ["not_in_sector", {}, 250],
  ])("a refresh that was answered with %s is sent again, until it is taken", async (code, more, ms) => {
    const token = vi.fn(() => (token.mock.calls.length === 1 ? "old" : "new"));
    await playing({ token });
    const refused = { error: { code, detail: "", retry: true, ...more } };
    FakeSocket.last.say(refused);
    await expiring();
    for (let times = 1; times < 4; times += 1) {
      FakeSocket.last.say(refused);
      await settle(ms - 1);
      expect(FakeSocket.last.frames("refresh")).toEqual(Array(times).fill({ token: "new" }));
      await settle(2);
      expect(FakeSocket.last.frames("refresh")).toEqual(Array(times + 1).fill({ token: "new" }));
    }
    FakeSocket.last.say(refused);
    FakeSocket.last.say({ refreshed: { expires_ms: NOW + 3_600_000 } });
    FakeSocket.last.say(refused);
    await settle(1_000);
    expect([FakeSocket.last.frames("refresh").length, token.mock.calls.length]).toEqual([4, 2]);
  });

  test("what was too much may have been the refresh or a resync: both are sent again", async () => {
    const tokens = ["old", "new"];
    await playing({ token: async () => tokens.shift()! });
    await expiring();
    FakeSocket.last.say(delta(6, 7, 1));
    FakeSocket.last.say({ error: { code: "rate_limited", detail: "", retry: true, retry_after_ms: 1_500 } });
    await settle(1_501);
    expect([FakeSocket.last.frames("refresh").length, FakeSocket.last.frames("resync").length]).toEqual([2, 2]);
  });

  test("a refresh whose token is refused is sent again with what the source has then", async () => {
    const tokens = ["old", "bad", "bad", "new"];
    const { heard } = await playing({ token: async () => tokens.shift()! });
    await expiring();
    for (const shown of [["bad"], ["bad", "bad"]]) {
      FakeSocket.last.say({ error: { code: "bad_token", detail: "unknown_key", retry: false } });
      await passing(4_999);
      expect(FakeSocket.last.frames("refresh")).toEqual(shown.map((token) => ({ token })));
      await passing(2);
    }
    expect(FakeSocket.last.frames("refresh").at(-1)).toEqual({ token: "new" });
    FakeSocket.last.say({ refreshed: { expires_ms: NOW + 3_600_000 } });
    await passing(10_000);
    expect(FakeSocket.last.frames("refresh")).toHaveLength(3);
    expect(heard).toEqual([["notice", "refused"], ["notice", "refused"]]);
  });

  test("a refused new token is not taken along to the next connection", async () => {
    const tokens = ["old", "bad", "new"];
    await playing({ token: async () => tokens.shift()! });
    await expiring();
    FakeSocket.last.say({ error: { code: "bad_token", detail: "wrong_player", retry: false } });
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(recovered());
    await passing(10_000);
    expect([socket.hello.token, socket.frames("refresh")]).toEqual(["new", []]);
  });

  test("expired right after a refresh without answer: the client comes back with the new token", async () => {
    const token = vi.fn(() => (token.mock.calls.length === 1 ? "old" : "new"));
    const { client, heard } = await playing({ token });
    await expiring();
    FakeSocket.last.end(4008, "expired");
    const socket = await nextSocket();
    socket.say(recovered());
    expect([socket.hello.token, client.state, heard.map(([kind]) => kind)]).toEqual(["new", "live", ["drop", "reconnect"]]);
  });

  test("a refresh that its connection did not see answered is none of the next one's", async () => {
    const tokens = ["old", "new", "newer"];
    const { client } = await playing({ token: async () => tokens.shift()! });
    const refused = { error: { code: "rate_limited", detail: "", retry: true, retry_after_ms: 700 } };
    await expiring();
    FakeSocket.last.say(refused);
    FakeSocket.last.end(1006);
    const socket = await nextSocket();
    socket.say(recovered());
    await settle(1_000);
    socket.say(refused);
    await settle(1_000);
    expect([socket.frames("refresh"), socket.hello.token]).toEqual([[], "new"]);
    socket.end(4008, "expired");
    const last = await nextSocket();
    last.say(recovered());
    expect([last.hello.token, client.state]).toEqual(["newer", "live"]);
  });

  test("no pause before a refresh is longer than a timer can count", async () => {
    const tokens = ["old", "new"];
    await playing({ token: async () => tokens.shift()! });
    await expiring();
    FakeSocket.last.say({ error: { code: "rate_limited", detail: "", retry: true, retry_after_ms: Number.MAX_SAFE_INTEGER } });
    await passing(59_999);
    expect(FakeSocket.last.frames("refresh")).toHaveLength(1);
    await passing(2);
    expect(FakeSocket.last.frames("refresh")).toHaveLength(2);
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
    await expiring();
    expect(FakeSocket.last.frames("refresh")).toEqual([]);
    await passing(5_001);
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
    await expiring();
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
