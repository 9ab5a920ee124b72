// The topics that an application listens to, over all connections: asked for again on each. Pure; must not know frames'
// ways or what items say.

import { Listeners, type Unsubscribe } from "./listeners.js";
import type { Message } from "./message.js";
import { Refused } from "./refused.js";
import { Wanted } from "./wanted.js";

const TOPIC_CHARS_MAX = 64;
const TOPIC = /^[A-Za-z0-9_-]+(?::[A-Za-z0-9_-]+)*$/;
const ROOM = "topic:";

export type TopicEvent =
  /** Something was said in it: each item once. */
  | { readonly kind: "item"; readonly topic: string; readonly message: Message }
  /** It is heard from now on. */
  | { readonly kind: "open"; readonly topic: string }
  /** Items are missing: `history` of `topic:<name>` may still have them. */
  | { readonly kind: "gap"; readonly topic: string }
  /** It is heard no more: the server ended it, or refused it on a new connection with this code. */
  | { readonly kind: "ended"; readonly topic: string; readonly code: string | null };

/** The topics as an application may see them. */
export interface TopicsView {
  /** Of this connection, as the server says. */
  readonly names: ReadonlySet<string>;
  subscribe(listener: (event: TopicEvent) => void): Unsubscribe;
}

/** null: no topic's feed. */
export function topicOf(room: string): string | null {
  return room.startsWith(ROOM) ? room.slice(ROOM.length) : null;
}

export function isTopic(name: string): boolean {
  return name.length <= TOPIC_CHARS_MAX && TOPIC.test(name);
}

export function topicRoom(topic: string): string {
  return ROOM + topic;
}

export class Topics implements TopicsView {
  names: ReadonlySet<string> = new Set();
  private readonly wanted: Wanted;
  private readonly listeners = new Listeners<TopicEvent>();

  /** `request` resolves when the server has done it, and rejects with `Refused`; `forget`: begun again it begins anew. */
  constructor(request: (name: string, wanted: boolean) => Promise<unknown>, forget: (topic: string) => void) {
    this.wanted = new Wanted(request, forget, (topic, code) => this.listeners.emit({ kind: "ended", topic, code }));
  }

  subscribe(listener: (event: TopicEvent) => void): Unsubscribe {
    return this.listeners.add(listener);
  }

  /** What is still on its way of others is not for the application any more. */
  isWanted(topic: string): boolean {
    return this.wanted.has(topic);
  }

  /** Rejects with `Refused`: then it is as it was. */
  async want(topic: string, wanted: boolean): Promise<void> {
    if (!isTopic(topic)) throw new Refused("not_there");
    await this.wanted.want(topic, wanted);
  }

  /** A new connection has no topics. What still waits for its answer is asked again anyway. */
  restart(): void {
    this.names = new Set();
    this.wanted.restart();
  }

  has(names: readonly string[]): void {
    this.names = new Set(names);
  }

  heard(topic: string, message: Message): void {
    this.listeners.emit({ kind: "item", topic, message });
  }

  /** `why`: as `Feeds` says it. */
  placed(topic: string, why: "started" | "gap" | "rewound" | "ended"): void {
    if (why === "started") this.listeners.emit({ kind: "open", topic });
    if (why === "gap") this.listeners.emit({ kind: "gap", topic });
    if (why === "ended" && this.wanted.drop(topic)) this.listeners.emit({ kind: "ended", topic, code: null });
  }

  clear(): void {
    this.names = new Set();
    this.wanted.clear();
  }
}
