// What a notice or an event says in plain English, for whoever has no words of their own for it. Pure. Facts are whatever
// somebody chose: the result is text, to be shown as text.

import type { Facts } from "./frames.js";
import type { Message } from "./message.js";

/** By kind of notice; null: a fact that the sentence needs is missing. */
const SENTENCES: Readonly<Record<string, (fact: (name: string) => string | null) => string | null>> = {
  mention: (fact) => sentence`${fact("name") ?? fact("from")} mentioned you in ${roomOf(fact("room"))}: ${fact("text")}`,
  attack: (fact) => sentence`${fact("name") ?? fact("from")} attacks sector ${fact("sector")}`,
  team: (fact) => {
    const what = fact("what");
    if (what === "joined") return sentence`${fact("player")} joined team ${fact("team")}`;
    if (what === "left") return sentence`${fact("player")} left team ${fact("team")}`;
    return what === "role" ? sentence`${fact("player")} is ${fact("role")} of team ${fact("team")} now` : null;
  },
  system: (fact) => fact("text"),
};

/** Of chat and announcements it is their text; what it has no sentence for is told by its kind and its facts. */
export function wordsOf({ text, notice, event, about }: Message): string {
  const kind = notice ?? event;
  if (kind === undefined || about === undefined) return text;
  const fact = (name: string): string | null => (Object.hasOwn(about, name) ? String(about[name]) : null);
  const known = notice !== undefined && Object.hasOwn(SENTENCES, notice) ? SENTENCES[notice]?.(fact) : null;
  return known ?? [kind, ...factsOf(about)].join(" · ");
}

function factsOf(about: Facts): string[] {
  return Object.entries(about).map(([name, value]) => `${name}: ${value}`);
}

function roomOf(room: string | null): string | null {
  return room?.replace(":", " ") ?? null;
}

/** null: one of the parts is. */
function sentence(words: TemplateStringsArray, ...parts: readonly (string | null)[]): string | null {
  return parts.includes(null) ? null : String.raw({ raw: words }, ...parts);
}
