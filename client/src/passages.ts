// Ships that come into the sector and leave it, derived from deltas and never from a snapshot: nobody sends them. Pure: time
// comes as an argument; must not know frames' ways.

import type { Entity } from "./copy.js";
import type { Change } from "./frames.js";

/** More in a second become one digest for each second. */
export const TOLD_PER_S_MAX = 5;
const SECOND_MS = 1_000;
const LINK_DEAD = "link_dead";

/** Who came and who left, by the names they show, which players chose; of many in one second only how many. */
export type Passages =
  | { readonly entered: readonly string[]; readonly left: readonly string[] }
  | { readonly entered: number; readonly left: number };

interface Ship {
  readonly player: string;
  readonly name: string;
  /** Its connection is lost: it neither comes nor goes. */
  readonly isDead: boolean;
}

type Entities = ReadonlyMap<number, Entity>;

export class PassagesOf {
  private sector: string | null = null;
  private ships = new Map<number, Ship>();
  /** When the latest were told one by one. */
  private toldAt: number[] = [];
  /** The digest of the second that ends then. */
  private digest: { entered: number; left: number; readonly endsAt: number } | null = null;

  constructor(private readonly tell: (passages: Passages) => void) {}

  /** Everything was replaced: nobody came or left by that. What was seen elsewhere is not told here. */
  reset(sector: string, entities: Entities): void {
    if (sector !== this.sector) this.digest = null;
    this.sector = sector;
    this.ships = new Map([...entities].flatMap(([alias, fields]) => entry(alias, shipOf(fields))));
  }

  /** `entities`: after the change. `me`: whose ship is not told of. */
  changed(entities: Entities, changes: readonly Change[], me: string, now: number): void {
    const entered = new Map<string, string>();
    const left = new Map<string, string>();
    for (const { entity: alias } of changes) {
      const before = this.ships.get(alias);
      const ship = shipOf(entities.get(alias));
      if (ship === null) this.ships.delete(alias);
      else this.ships.set(alias, ship);
      const passing = before ?? ship;
      if (passing === null || passing.isDead || passing.player === me) continue;
      if (before === undefined) entered.set(passing.player, passing.name);
      else if (ship === null) left.set(passing.player, passing.name);
    }
    // In one delta the same ship may have left and come back.
    for (const player of [...entered.keys()]) if (left.delete(player)) entered.delete(player);
    if (entered.size + left.size > 0) this.passed([...entered.values()], [...left.values()], now);
  }

  /** When to call `flush`; null: nothing waits. */
  nextDue(): number | null {
    return this.digest?.endsAt ?? null;
  }

  /** Tells the digest of a second that is over. */
  flush(now: number): void {
    if (this.digest === null || this.digest.endsAt > now) return;
    const { entered, left } = this.digest;
    const isMany = entered + left > TOLD_PER_S_MAX;
    this.digest = isMany ? { entered: 0, left: 0, endsAt: now + SECOND_MS } : null;
    this.toldAt = [];
    if (entered + left > 0) this.tell({ entered, left });
  }

  private passed(entered: readonly string[], left: readonly string[], now: number): void {
    this.flush(now);
    const count = entered.length + left.length;
    this.toldAt = this.toldAt.filter((at) => at > now - SECOND_MS);
    if (this.digest === null && this.toldAt.length + count <= TOLD_PER_S_MAX) {
      this.toldAt.push(...Array<number>(count).fill(now));
      return this.tell({ entered, left });
    }
    this.digest ??= { entered: 0, left: 0, endsAt: now + SECOND_MS };
    this.digest.entered += entered.length;
    this.digest.left += left.length;
  }
}

function entry(alias: number, ship: Ship | null): [number, Ship][] {
  return ship === null ? [] : [[alias, ship]];
}

/** null: no ship. */
function shipOf(fields: Entity | undefined): Ship | null {
  if (fields?.get("kind") !== "ship") return null;
  const player = String(fields.get("player") ?? "");
  return { player, name: String(fields.get("name") ?? player), isDead: fields.get("status") === LINK_DEAD };
}
