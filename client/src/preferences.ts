// What a player wants to be told of, by kind. Pure; must not know frames' ways.

import type { Message } from "./message.js";

/** `chat` and `private`: whole channels; `passage`: ships that come and go; the others are kinds of notices, `system` announcements too. */
export const PREFERENCE_KINDS = ["chat", "private", "mention", "attack", "team", "system", "passage"] as const;
export type PreferenceKind = (typeof PREFERENCE_KINDS)[number];

/** A notice or announcement of this level is told whatever its kind. */
const CRITICAL = "critical";

/** Whether a message in this channel counts as unread, for `me`. Nothing that is unwanted is hidden by that. */
export function isWanted(unwanted: ReadonlySet<string>, channel: string, message: Message, me: string): boolean {
  if (!channel.startsWith("player:") && unwanted.has("chat")) return false;
  if (channel.startsWith("player:") && channel !== `player:${me}` && unwanted.has("private")) return false;
  const isAnnouncement = message.from === null && message.event === undefined && message.notice === undefined;
  const kind = isAnnouncement ? "system" : message.notice;
  return kind === undefined || message.level === CRITICAL || !unwanted.has(kind);
}
