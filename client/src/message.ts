// One thing said as applications see it, whatever kind it is of. Pure; must not know channels or frames' ways.

import { timeOf, type FeedId } from "./feedid.js";
import type { Facts, PageItem } from "./frames.js";
import { authorOf, known } from "./said.js";

/** Everything in it but ids and times was chosen by somebody: show it as text. */
export interface Message {
  readonly id: FeedId;
  /** Its name for ever; `id` may change when a feed is rewound. */
  readonly msg: string;
  /** ms since 1970, by the server's clock. */
  readonly at: number;
  /** The player who said it; null: whoever runs the universe, or the universe itself. */
  readonly from: string | null;
  /** The author's name as it was then; null with `from`. */
  readonly name: string | null;
  /** Of a notice or an event the fact `text`; empty: `wordsOf` says what it is. */
  readonly text: string;
  /** Said by this player, on this device or another. */
  readonly mine: boolean;
  /** With `from` null: `info`, `warning`, `critical`; a newer server may have more. */
  readonly level?: string;
  /** Of a notice: `mention`, `attack`, `team`, `system`; a newer server may have more. */
  readonly notice?: string;
  /** The name of an event, in the game's words. */
  readonly event?: string;
  /** What a notice or an event says. */
  readonly about?: Facts;
}

/** `me`: who reads. null: of a kind that is not known here. */
export function messageOf({ id, msg, said }: PageItem, me: string): Message | null {
  const it = known(said);
  if (it === null) return null;
  const from = authorOf(it);
  const common = { id, msg, at: timeOf(id), from, mine: from === me };
  if ("announcement" in it) return { ...common, name: null, text: it.announcement.text, level: it.announcement.level };
  if ("notice" in it) return { ...common, notice: it.notice.kind, ...told(it.notice) };
  if ("event" in it) return { ...common, event: it.event.name, ...told(it.event) };
  const { name, text } = "chat" in it ? it.chat : it.private;
  return { ...common, name, text };
}

function told({ level, about }: { readonly level: string; readonly about: Facts }) {
  const text = Object.hasOwn(about, "text") && typeof about.text === "string" ? about.text : "";
  return { name: null, text, level, about };
}
