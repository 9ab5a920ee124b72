// When to connect, where to, and when to give up: the client's one connection and the timers around it. Must not know
// what frames mean; who uses it says when the first state is there.

import { backoff, BACKOFF_LONGEST_FROM } from "./backoff.js";
import { ELSEWHERE, FLOODING, LOST, closeOf } from "./closes.js";
import type { Codec } from "./codec/codec.js";
import { Connection } from "./connection.js";
import { followed } from "./followed.js";
import type { ClientFrame, ServerFrame } from "./frames.js";
import type { SocketConstructor } from "./socket.js";
import type { Tokens } from "./tokens.js";

/** A connection that lived so long was a good one: the next loss begins with short delays again. */
export const GOOD_AFTER_MS = 10_000;
/** How long a server may take to close after the last frame. */
export const GOODBYE_WITHIN_MS = 2_000;
/** From a token that could not be had, or was refused to a connection that goes on, to the next try. */
const REFRESH_AGAIN_AFTER_MS = 5_000;
/** Whatever a node asks for. */
const AGAIN_WITHIN_MS = 60_000;

/**
 * `connecting` until the first state is there, then `live`; `dropped` while waiting to connect again,
 * `reconnecting` while doing so; `left` for good.
 */
export type ClientState = "connecting" | "live" | "dropped" | "reconnecting" | "left";

export interface DropEvent {
  /** The close code; 1006: the connection ended without one. */
  readonly code: number;
  readonly reason: string;
}

export interface LeaveEvent extends DropEvent {
  /** As PROTOCOL.md names the code. */
  readonly name: string;
}

export interface LinkEvents {
  /** A connection is open: its first frame; `there`: to the region that has the player now. */
  hello(token: string, there: boolean): ClientFrame;
  frame(frame: ServerFrame): void;
  /** A connection that was live is gone. */
  dropped(event: DropEvent): void;
  left(event: LeaveEvent): void;
}

export interface LinkOptions {
  readonly urls: readonly string[];
  readonly tokens: Tokens;
  readonly codec: Codec;
  readonly WebSocket: SocketConstructor;
  readonly random: () => number;
  readonly now: () => number;
}

export class Link {
  private phase: ClientState = "connecting";
  private connection: Connection | null = null;
  /** Of the region that has last taken this client. */
  private urls: readonly string[];
  private at: number;
  /** Where the player is instead, until a node there has taken this client; null: nowhere else. */
  private there: string | null = null;
  /** Nobody has said where that is: it is asked again where this client was. */
  private asksAgain = false;
  /** This attempt is for `there`. */
  private goesThere = false;
  private preferred: string | null = null;
  private attempts = 0;
  private liveSince = 0;
  /** A leaving node's word on when to be back. */
  private notBefore: number | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private refreshTimer: ReturnType<typeof setTimeout> | undefined;
  /** To be said on the next connection. */
  private goodbye: ClientFrame | null = null;
  private saidGoodbye = false;
  /** Counts calls of `open`, so that one that was overtaken notices. */
  private attempt = 0;
  /** The token that this connection lives by: a close for a token's sake is about this one. */
  private shown = "";
  /** The one of a `refresh` that is not answered yet. */
  private refreshing: string | null = null;
  /** Why the last token was not taken. */
  private refusal: LeaveEvent | null = null;

  constructor(
    private readonly options: LinkOptions,
    private readonly events: LinkEvents,
  ) {
    this.urls = options.urls;
    this.at = Math.floor(options.random() * options.urls.length);
    void this.open();
  }

  get state(): ClientState {
    return this.phase;
  }

  /** The node that is or was connected to, or is being. */
  get url(): string {
    return (this.goesThere ? this.there : this.urls[this.at]) ?? "";
  }

  send(frame: ClientFrame): void {
    this.connection?.send(frame);
  }

  /** The first state of this connection is there; answers whether it is not the first such connection. */
  becameLive(): boolean {
    const again = this.phase === "reconnecting";
    this.phase = "live";
    this.liveSince = this.options.now();
    if (this.goodbye !== null) this.sayGoodbye(this.goodbye);
    return again;
  }

  /** The node closes soon: be back after so long. */
  leaving(reconnectAfterMs: number): void {
    this.notBefore = this.options.now() + Math.min(reconnectAfterMs, AGAIN_WITHIN_MS);
  }

  /**
   * The player is in another region, where players connect at `address`, null: as was not told yet; answers where the next
   * connection goes, null: there is no address to go to.
   */
  elsewhere(address: string | null): string | null {
    this.there = followed(address, this.url);
    this.asksAgain = address === null;
    this.goesThere = false;
    return this.there;
  }

  /** The node that is connected to has taken this client; answers whether it is where `elsewhere` said. */
  welcomed(): boolean {
    const { there, goesThere } = this;
    if (goesThere && there !== null) {
      this.urls = [there];
      this.at = 0;
    }
    this.there = null;
    this.asksAgain = false;
    this.goesThere = false;
    return goesThere;
  }

  prefer(url: string | null): void {
    if (url !== null && !this.options.urls.includes(url)) throw new RangeError("prefer: not one of this client's urls");
    this.preferred = url;
    // In another region it is only remembered.
    if (url === null || url === this.url || this.phase === "left" || this.there !== null || !this.urls.includes(url)) return;
    this.attempts = 0;
    this.notBefore = this.options.now();
    this.lost(LOST, "asked for another node");
  }

  /** Ends this connection and makes another one. */
  restart(why: string): void {
    this.lost(LOST, why);
  }

  /** Says the last frame, if it can be said, and is over when the server has closed. */
  leave(goodbye: ClientFrame): void {
    if (this.phase === "live") this.sayGoodbye(goodbye);
    else if (this.phase !== "left") this.left({ code: 1000, name: "normal", reason: "left while not connected" });
  }

  /** The same, but it must be said, if not now then on the next connection. */
  logout(goodbye: ClientFrame): void {
    if (this.phase === "live") this.sayGoodbye(goodbye);
    else this.goodbye = goodbye;
  }

  /** Gets another token and shows it on this connection. */
  async refresh(): Promise<void> {
    const { attempt } = this;
    try {
      const token = await this.options.tokens.renew();
      if (attempt !== this.attempt || token === this.shown) return;
      this.refreshing = token;
      this.send({ refresh: { token } });
    } catch {
      if (attempt === this.attempt) this.refreshTimer = setTimeout(() => void this.refresh(), REFRESH_AGAIN_AFTER_MS);
    }
  }

  /** The server has taken the token. */
  refreshed(): void {
    this.shown = this.refreshing ?? this.shown;
    this.endRefresh();
  }

  /** The server may not have taken it: the same is sent again after so long; null: it wants another one. */
  notRefreshed(retryAfterMs: number | null): void {
    const token = this.refreshing;
    if (token === null) return;
    clearTimeout(this.refreshTimer);
    if (retryAfterMs !== null) {
      const again = () => this.send({ refresh: { token } });
      this.refreshTimer = setTimeout(again, Math.min(retryAfterMs, AGAIN_WITHIN_MS));
    } else {
      this.endRefresh();
      this.options.tokens.forget(token);
      this.refreshTimer = setTimeout(() => void this.refresh(), REFRESH_AGAIN_AFTER_MS);
    }
  }

  private endRefresh(): void {
    clearTimeout(this.refreshTimer);
    this.refreshing = null;
  }

  private sayGoodbye(goodbye: ClientFrame): void {
    if (this.saidGoodbye) return;
    this.saidGoodbye = true;
    this.send(goodbye);
    const silent = { code: LOST, name: "lost", reason: "the server did not close" };
    this.timer = setTimeout(() => this.left(silent), GOODBYE_WITHIN_MS);
  }

  /** `attempt` is over if another one has begun while it waited for its token. */
  private async open(): Promise<void> {
    const attempt = ++this.attempt;
    const { tokens, codec, WebSocket, now } = this.options;
    try {
      const token = await tokens.get();
      if (attempt !== this.attempt) return;
      if (this.refusal !== null && tokens.isRefused(token)) return this.left(this.refusal);
      this.connection = new Connection({
        url: this.url,
        codec,
        WebSocket,
        now,
        events: {
          opened: () => {
            this.shown = token;
            this.send(this.events.hello(token, this.goesThere));
          },
          frame: (frame) => this.events.frame(frame),
          ended: (code, reason) => this.ended(code, reason),
        },
      });
    } catch (error) {
      if (attempt === this.attempt) this.lost(LOST, error instanceof Error ? error.message : "no token to be had");
    }
  }

  private ended(code: number, reason: string): void {
    const { name, again } = closeOf(code);
    const follows = code === ELSEWHERE && (this.there !== null || this.asksAgain);
    if (again === "no" && !follows) return this.left({ code, name, reason });
    if (again === "with a new token") {
      this.refusal = { code, name, reason };
      this.options.tokens.refuse(this.shown);
    }
    this.lost(code, reason);
  }

  private lost(code: number, reason: string): void {
    if (this.saidGoodbye) return this.left({ code, name: closeOf(code).name, reason });
    const now = this.options.now();
    const wasLive = this.phase === "live";
    this.end();
    if (wasLive && now - this.liveSince >= GOOD_AFTER_MS) this.attempts = 0;
    if (code === FLOODING) this.attempts = Math.max(this.attempts, BACKOFF_LONGEST_FROM);
    const delay = this.notBefore === null ? backoff(this.attempts, this.options.random) : Math.max(0, this.notBefore - now);
    this.notBefore = null;
    this.turn();
    this.attempts += 1;
    if (this.phase !== "connecting") this.phase = "dropped";
    this.timer = setTimeout(() => {
      if (this.phase === "dropped") this.phase = "reconnecting";
      void this.open();
    }, delay);
    if (wasLive) this.events.dropped({ code, reason });
  }

  /** Where to try next: in another region and, where that was in vain, where this client came from, which may know better. */
  private turn(): void {
    if (!this.goesThere) this.at = this.nextAt();
    this.goesThere = this.there !== null && !this.goesThere;
  }

  /** The preferred node every second time, so that a dead one keeps nobody out; else the one behind the last. */
  private nextAt(): number {
    const round = this.there === null ? this.attempts : this.attempts >> 1;
    const preferred = this.preferred === null ? -1 : this.urls.indexOf(this.preferred);
    return preferred >= 0 && round % 2 === 0 ? preferred : (this.at + 1) % this.urls.length;
  }

  private left(event: LeaveEvent): void {
    this.end();
    this.phase = "left";
    this.events.left(event);
  }

  private end(): void {
    this.attempt += 1;
    clearTimeout(this.timer);
    this.endRefresh();
    this.connection?.close();
    this.connection = null;
  }
}
