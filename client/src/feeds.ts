// How far this client has read each feed, so that an item is shown once, on whichever connection and under whichever id
// it comes. Pure; must not know what items say.

import { compareFeedIds, type FeedId } from "./feedid.js";
import type { FeedPlace } from "./frames.js";
import { topicOf } from "./topics.js";

/** Cursors of rooms in one `hello`, and rooms kept at all; and as many topics as a session may have. */
export const ROOMS_MAX = 16;
export const TOPICS_MAX = 50;
/** Names of shown items that are kept of each feed: what a rewind posts again is among them, or very old. */
const SHOWN_MAX = 500;

/** What a `feed` frame means here; null: nothing to tell anybody. `gap`: items that it has not had are missing. */
export type Placed = "started" | "gap" | "rewound" | "ended" | null;

interface Feed {
  /** The last item shown, or where reading began. */
  cursor: FeedId | null;
  /** On this connection. */
  reading: boolean;
  readonly shown: Set<string>;
}

export class Feeds {
  /** The one that began last is the last. */
  private readonly all = new Map<string, Feed>();

  isReading(of: string): boolean {
    return this.all.get(of)?.reading ?? false;
  }

  /** Room by room the last item had, for `hello`; of too many the player's own and those being read. */
  cursors(own: string | null): Record<string, FeedId> {
    const rank = ([of, { reading }]: [string, Feed]) => (of === own ? 2 : reading ? 1 : 0);
    const latestFirst = [...this.all].reverse().sort((a, b) => rank(b) - rank(a));
    const known = latestFirst.flatMap(([of, { cursor }]) => (cursor === null ? [] : [[of, cursor] as const]));
    const [topics, rooms] = [known.filter(([of]) => isTopic(of)), known.filter(([of]) => !isTopic(of))];
    return Object.fromEntries([...rooms.slice(0, ROOMS_MAX), ...topics.slice(0, TOPICS_MAX)]);
  }

  /** A new connection reads nothing before the server says so. */
  restart(): void {
    for (const feed of this.all.values()) feed.reading = false;
  }

  /** Begun again it begins anew. */
  forget(of: string): void {
    this.all.delete(of);
  }

  clear(): void {
    this.all.clear();
  }

  place({ of, at, why }: FeedPlace): Placed {
    const feed = this.feed(of);
    switch (why) {
      case "started":
      case "gap": {
        const had = feed.cursor;
        feed.cursor = had === null || compareFeedIds(at, had) > 0 ? at : had;
        if (why === "started") this.began(of, feed);
        // A server that did not know the cursor begins at the end.
        return why === "gap" || (had !== null && had !== feed.cursor) ? "gap" : "started";
      }
      case "rewound":
        feed.cursor = at;
        return "rewound";
      case "ended":
        feed.reading = false;
        return "ended";
      case "passed":
        // Nothing is missing up to there.
        if (isAfter(at, feed.cursor)) feed.cursor = at;
        return null;
      default:
        return null;
    }
  }

  /** It has not been shown, under this id or another. */
  isNew(of: string, { id, msg }: { readonly id: FeedId; readonly msg: string }): boolean {
    const feed = this.feed(of);
    return isAfter(id, feed.cursor) && !feed.shown.has(msg);
  }

  /** It was given to the application, or needed not to be. */
  had(of: string, { id, msg }: { readonly id: FeedId; readonly msg: string }): void {
    const feed = this.feed(of);
    if (!isAfter(id, feed.cursor)) return;
    feed.cursor = id;
    feed.shown.add(msg);
    for (const oldest of feed.shown) {
      if (feed.shown.size <= SHOWN_MAX) break;
      feed.shown.delete(oldest);
    }
  }

  private feed(of: string): Feed {
    let feed = this.all.get(of);
    if (feed === undefined) this.all.set(of, (feed = { cursor: null, reading: false, shown: new Set() }));
    return feed;
  }

  private began(of: string, feed: Feed): void {
    feed.reading = true;
    this.all.delete(of);
    this.all.set(of, feed);
    // A topic is kept until nobody wants it.
    const rooms = [...this.all].filter(([name]) => !isTopic(name));
    const quiet = rooms.filter(([, { reading }]) => !reading);
    for (const [old] of quiet.slice(0, Math.max(0, rooms.length - ROOMS_MAX))) this.all.delete(old);
  }
}

function isAfter(id: FeedId, cursor: FeedId | null): boolean {
  return cursor === null || compareFeedIds(id, cursor) > 0;
}

function isTopic(of: string): boolean {
  return topicOf(of) !== null;
}
