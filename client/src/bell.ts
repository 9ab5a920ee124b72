// The bell: what nobody of those who play has said (notices, announcements, events), over all channels, and how much of
// everything is unread. Derived from channels; pure.

import type { ChannelsView } from "./channels.js";
import { compareFeedIds } from "./feedid.js";
import type { Message } from "./message.js";

export const BELL_ITEMS_MAX = 100;

export interface BellItem {
  /** The channel it is in, and is marked read with. */
  readonly channel: string;
  readonly message: Message;
}

export interface Bell {
  /** Over all channels, of what the player wants to hear of. */
  readonly unread: number;
  /** Oldest first; of more the latest. What was told in several rooms is there once. */
  readonly items: readonly BellItem[];
}

export function bellOf({ all, unread }: ChannelsView): Bell {
  const items = new Map<string, BellItem>();
  for (const { name, messages } of all) {
    for (const message of messages) if (message.from === null) items.set(message.msg, { channel: name, message });
  }
  const ordered = [...items.values()].sort((a, b) => compareFeedIds(a.message.id, b.message.id));
  return { unread, items: ordered.slice(-BELL_ITEMS_MAX) };
}
