// One WebSocket to one node: frames in and out, and an end, also where the socket does not notice it. Must not know
// what frames mean, but for the ping that finds out whether anybody is there.

import { LOST } from "./closes.js";
import type { Codec } from "./codec/codec.js";
import type { ClientFrame, ServerFrame } from "./frames.js";
import { OPEN, type Socket, type SocketConstructor } from "./socket.js";

export const OPEN_WITHIN_MS = 5_000;
export const PING_EVERY_MS = 3_000;
/** A ping and everything else unanswered for so long: the connection is dead whatever the socket says. */
export const SILENT_AFTER_MS = 6_000;

export interface ConnectionEvents {
  opened(): void;
  frame(frame: ServerFrame): void;
  /** Once, and nothing after it; never after `close`. */
  ended(code: number, reason: string): void;
}

export interface ConnectionOptions {
  readonly url: string;
  readonly codec: Codec;
  readonly WebSocket: SocketConstructor;
  readonly now: () => number;
  readonly events: ConnectionEvents;
}

export class Connection {
  private readonly socket: Socket;
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** When the ping was sent that nothing has come after; null: there is none. */
  private unansweredSince: number | null = null;

  constructor(private readonly options: ConnectionOptions) {
    const { url, codec, WebSocket, events } = options;
    const socket = new WebSocket(url, [codec.subprotocol]);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }: { data: unknown }) => this.heard(data);
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      this.close();
      events.ended(code, reason);
    };
    socket.onerror = () => {}; // A close follows.
    this.timer = setTimeout(() => this.end("no answer"), OPEN_WITHIN_MS);
  }

  send(frame: ClientFrame): void {
    if (this.socket.readyState === OPEN) this.socket.send(this.options.codec.encode(frame));
  }

  /** Ends it without a word to `events`. */
  close(): void {
    clearTimeout(this.timer);
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private end(reason: string): void {
    this.close();
    this.options.events.ended(LOST, reason);
  }

  private opened(): void {
    clearTimeout(this.timer);
    this.options.events.opened();
    this.ping();
  }

  /** Timers of a page in the background come late, so only a ping that was sent can go unanswered. */
  private ping(): void {
    const now = this.options.now();
    if (this.unansweredSince !== null && now - this.unansweredSince >= SILENT_AFTER_MS) return this.end("silent");
    this.unansweredSince ??= now;
    this.send({ ping: { t: Math.floor(now) } });
    this.timer = setTimeout(() => this.ping(), PING_EVERY_MS);
  }

  private heard(message: unknown): void {
    this.unansweredSince = null;
    let frame: ServerFrame | null;
    try {
      frame = this.options.codec.decode(message);
    } catch (error) {
      return this.end(error instanceof Error ? error.message : "a message that is no frame");
    }
    if (frame !== null) this.options.events.frame(frame);
  }
}
