// What is said, before it is sent and after it was heard: texts as the server takes them, the names of rooms, and which
// channel an item belongs to. Pure.

import { wholeText } from "./carried.js";
import type { OtherSaid, Said } from "./frames.js";
import { Refused } from "./refused.js";

/** Code points in normal form C. */
export const SAY_CHARS_MAX = 500;

/** In the place of what was said, where it is of a known kind and not as it should be. */
export const UNREADABLE: OtherSaid = Object.freeze({});

const NAME = "[A-Za-z0-9_-]{1,64}";
const PLAYER = new RegExp(`^${NAME}$`);
const ROOM = new RegExp(`^(?:global|(?:sector|team|player):${NAME})$`);
const KINDS = ["chat", "private", "announcement", "notice", "event"];

/**
 * The text as the server would store it, so that no frame is longer than may be: in normal form C, without control
 * characters. Half a surrogate pair, which no codec can carry, becomes U+FFFD. Throws `Refused` as the server would.
 */
export function asSaid(text: string): string {
  const said = wholeText(text).normalize("NFC").replace(/\p{Control}/gu, "");
  if ([...said].length > SAY_CHARS_MAX) throw new Refused("too_long");
  if (/^\p{White_Space}*$/u.test(said)) throw new Refused("empty");
  return said;
}

export function isRoom(text: string): boolean {
  return ROOM.test(text);
}

export function isPlayer(text: string): boolean {
  return PLAYER.test(text);
}

export function playerRoom(player: string): string {
  return `player:${player}`;
}

/** null: of a kind that only a newer client knows, to be passed over. */
export function known(said: Said | OtherSaid): Said | null {
  return KINDS.some((kind) => Object.hasOwn(said, kind)) ? (said as Said) : null;
}

/** Whose word it is; null: nobody's, of those who play. */
export function authorOf(said: Said): string | null {
  if ("chat" in said) return said.chat.from;
  return "private" in said ? said.private.from : null;
}

/** A private message travels in the feeds of both, and belongs to the channel with the other one; all else to its room's. */
export function channelOf(of: string, said: Said, me: string): string {
  if (!("private" in said)) return of;
  const { from, to } = said.private;
  return playerRoom(from === me ? to : from);
}

/** The feed that a channel's items are in. */
export function feedOf(channel: string, me: string): string {
  return channel.startsWith("player:") ? playerRoom(me) : channel;
}
