// A scripted server: sockets that a test opens, fills and closes by hand, in JSON. Time is vitest's fake time.

import { afterEach, beforeEach, vi } from "vitest";

import { connect, type Client, type ConnectOptions } from "../src/index.js";
import type { Hello, Marks, Snapshot, Welcome } from "../src/frames.js";
import type { Socket } from "../src/socket.js";

type Heard = Record<string, unknown>;

export class FakeSocket implements Socket {
  /** All of this test, in the order they were made. */
  static all: FakeSocket[] = [];

  static get last(): FakeSocket {
    return FakeSocket.all.at(-1)!;
  }

  binaryType = "";
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  /** What the client sent, as frames. */
  readonly sent: Heard[] = [];
  closedByClient = false;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.all.push(this);
  }

  send(message: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(JSON.parse(String(message)) as Heard);
  }

  close(): void {
    this.readyState = 3;
    this.closedByClient = true;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.({} as never);
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) } as never);
  }

  end(code: number, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as never);
  }

  /** The frames of this name that the client sent. */
  frames(name: string): unknown[] {
    return this.sent.filter((frame) => name in frame).map((frame) => frame[name]);
  }

  get hello(): Hello {
    return this.frames("hello")[0] as Hello;
  }

  /** Seqs in the order they were sent. */
  get acts(): number[] {
    return this.frames("act").map((act) => (act as { seq: number }).seq);
  }
}

/** Every test of the file that calls this has its own time and no sockets of the one before. */
export function eachTestAnew(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.all = [];
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

export const NOW = 1_790_000_000_000;

export function welcome(more: Partial<Welcome> = {}): { welcome: Welcome } {
  return {
    welcome: {
      session: "s-1",
      resume: "cmVzdW1l",
      player: "ann",
      actor: 3,
      features: [],
      now_ms: NOW,
      node: "n1",
      heartbeat_ms: 20_000,
      resume_window_ms: 60_000,
      recovered: false,
      source: "snapshot",
      limits: { frame_bytes: 16_384, text_bytes: 512, seq_window: 128, resync_every_ms: 1_000, realtime_frames_per_s: 30 },
      fields: ["kind", "player", "name", "status", "x", "y"],
      pending: [],
      ...more,
    },
  };
}

/** Continued from the node's replica: no snapshot follows. */
export function recovered(pending: readonly Marks[] = [], more: Partial<Welcome> = {}): { welcome: Welcome } {
  return welcome({ recovered: true, source: "replica", node: "n2", pending, ...more });
}

/** An empty sector: its sums are 0. */
export function snapshot(more: Partial<Snapshot> = {}): { snapshot: Snapshot } {
  return {
    snapshot: {
      room: 0,
      sector: "12",
      id: "100-6",
      owner: "n1",
      sum: 0,
      entities: [],
      own: {},
      own_sum: 0,
      marks: [],
      reason: "join",
      ...more,
    },
  };
}

export function delta(from: number, to: number, sum = 0): object {
  return { delta: { room: 0, from, to, sum, changes: [] } };
}

export interface Player {
  readonly client: Client;
  /** What its listeners heard, in order. */
  readonly heard: [kind: string, event: unknown][];
}

export function player(options: Partial<ConnectOptions> = {}): Player {
  const client = connect({
    urls: ["ws://a/ws", "ws://b/ws"],
    token: "token",
    codec: "json",
    WebSocket: FakeSocket,
    random: () => 0,
    now: () => performance.now(),
    ...options,
  });
  const heard: [string, unknown][] = [];
  client.onState(({ reason }) => heard.push(["state", reason]));
  client.onNotice((notice) => heard.push(["notice", notice.kind]));
  client.onDrop((event) => heard.push(["drop", event]));
  client.onReconnect((event) => heard.push(["reconnect", event]));
  client.onLeave((event) => heard.push(["leave", event]));
  return { client, heard };
}

/** Lets what waits for a promise go on, and timers that are due. */
export async function settle(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** A client that plays: its first state is there. */
export async function playing(options: Partial<ConnectOptions> = {}): Promise<Player> {
  const joined = player(options);
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.say(welcome());
  FakeSocket.last.say(snapshot());
  joined.heard.length = 0;
  return joined;
}

export const FEEDS: Partial<Welcome> = { features: ["feeds"] };

/** A client that plays where feeds are known, reading global, its sector's and its own from there on. */
export async function talking(options: Partial<ConnectOptions> = {}): Promise<Player> {
  const joined = player(options);
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.say(welcome(FEEDS));
  FakeSocket.last.say(snapshot());
  for (const of of ["global", "sector:12", "player:ann"]) FakeSocket.last.say(feed(of, "9-0"));
  joined.heard.length = 0;
  return joined;
}

export function feed(of: string, at: string, why = "started"): object {
  return { feed: { of, at, why } };
}

/** The name of an item is its id's unless it is said to be another. */
export function chat(of: string, id: string, text: string, { from = "bob", msg = `m${id}` } = {}): object {
  return { item: { of, id, msg, said: { chat: { from, name: from, text } } } };
}

/** In the feed of the player who reads. */
export function letter(id: string, from: string, to: string, text: string): object {
  return { item: { of: "player:ann", id, msg: `m${id}`, said: { private: { from, name: from, to, text } } } };
}

/** Whatever time it takes until the next socket is there; opens it. */
export async function nextSocket(): Promise<FakeSocket> {
  const before = FakeSocket.all.length;
  for (let waited = 0; FakeSocket.all.length === before; waited += 50) {
    if (waited > 30_000) throw new Error("no new socket within 30 s");
    await settle(50);
  }
  FakeSocket.last.open();
  return FakeSocket.last;
}
