// The topics that an application listens to, over all connections: asked for again on each. Pure; must not know frames'
// ways or what items say.

import { Listeners, type Unsubscribe } from "./listeners.js";
import type { Message } from "./message.js";
import { Refused } from "./refused.js";

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
  private readonly wanted = new Set<string>();
  /** How many requests of each wait for their answer. */
  private readonly asked = new Map<string, number>();
  private readonly listeners = new Listeners<TopicEvent>();

  /** `request` resolves when the server has done it, and rejects with `Refused`; `forget`: begun again it begins anew. */
  constructor(
    private readonly request: (name: string, wanted: boolean) => Promise<unknown>,
    private readonly forget: (topic: string) => void,
  ) {}

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
    const before = this.wanted.has(topic);
    if (wanted) this.wanted.add(topic);
    else this.drop(topic);
    try {
      await this.ask(topic, wanted);
    } catch (problem) {
      if (wanted && !before) this.drop(topic);
      throw problem;
    }
  }

  /** A new connection has no topics. What still waits for its answer is asked again anyway. */
  restart(): void {
    this.names = new Set();
    for (const topic of this.wanted) {
      if (!this.asked.has(topic)) this.ask(topic, true).catch((problem: Refused) => this.ended(topic, problem.code));
    }
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
    if (why === "ended") this.ended(topic, null);
  }

  clear(): void {
    this.names = new Set();
    this.wanted.clear();
  }

  private ended(topic: string, code: string | null): void {
    if (this.drop(topic) && code !== "left") this.listeners.emit({ kind: "ended", topic, code });
  }

  private drop(topic: string): boolean {
    this.forget(topic);
    return this.wanted.delete(topic);
  }

  private async ask(topic: string, wanted: boolean): Promise<void> {
    this.asked.set(topic, (this.asked.get(topic) ?? 0) + 1);
    try {
      await this.request(topic, wanted);
    } finally {
      const others = (this.asked.get(topic) ?? 1) - 1;
      if (others > 0) this.asked.set(topic, others);
      else this.asked.delete(topic);
    }
  }
}
