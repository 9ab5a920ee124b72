// Whose presence this client watches, and what it was told of them. Asked for on every connection. Pure: time comes as an
// argument; must not know sockets.

import type { PlayerPresence } from "./frames.js";
import { isPlayer } from "./said.js";

/** The server takes no more in one list. */
export const WATCHED_MAX = 100;
/** A list replaces the one before, and a long one counts as much: of many in this time the last is sent. */
const ASK_EVERY_MS = 1_500;

export class PresenceOf {
  /** By player; of those watched who are known. */
  readonly known = new Map<string, PlayerPresence>();
  private watched: readonly string[] = [];
  /** What the server was told on this connection; null: nothing. */
  private told: readonly string[] | null = null;
  private notBefore = -Infinity;

  /** In place of those before. Throws a RangeError for what no server would take. */
  watch(players: readonly string[]): void {
    const watched = [...new Set(players)];
    if (watched.length > WATCHED_MAX) throw new RangeError(`watch: at most ${WATCHED_MAX} players`);
    if (!watched.every(isPlayer)) throw new RangeError("watch: ids of players");
    this.watched = watched;
    for (const player of this.known.keys()) if (!watched.includes(player)) this.known.delete(player);
  }

  /** A new connection watches nobody. What was known is shown until it is told anew. */
  restart(): void {
    this.told = null;
    this.notBefore = -Infinity;
  }

  /** The list may not have been taken: it is sent again then. */
  sendAgain(at: number): void {
    this.told = null;
    this.notBefore = at;
  }

  /** null: there is nothing to send now. */
  takeDue(now: number): readonly string[] | null {
    const at = this.nextDue();
    if (at === null || at > now) return null;
    this.told = this.watched;
    this.notBefore = now + ASK_EVERY_MS;
    return this.watched;
  }

  /** When to look again; null: the server knows. */
  nextDue(): number | null {
    const isTold = this.told === null ? this.watched.length === 0 : isSame(this.told, this.watched);
    return isTold ? null : this.notBefore;
  }

  /** Answers those of them who are watched. */
  take(players: readonly PlayerPresence[]): readonly PlayerPresence[] {
    const changed = players.filter(({ player }) => this.watched.includes(player));
    for (const presence of changed) this.known.set(presence.player, presence);
    return changed;
  }

  clear(): void {
    this.known.clear();
    this.watched = [];
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, at) => each === b[at]);
}
