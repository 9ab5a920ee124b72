// The rooms that this client sees beside its sector: its team's and `global`. Pure; must not know sockets or time.

import type { Entity } from "./copy.js";
import type { Value } from "./frames.js";
import { Slots } from "./slots.js";

const TEAM_SLOT = 1;
const GLOBAL_SLOT = 2;
const TEAM = "team:";

/** A member of the player's team. Names were chosen by players: show them as text. */
export interface Member {
  readonly player: string;
  /** The player's id, where nobody has given another name. */
  readonly name: string;
  /** What they are in the team, in the game's own words. */
  readonly role: string;
  /** `offline`, `away`, `busy`, `online`, `in_combat`; a newer server may have more. */
  readonly status: string;
  /** Sessions that live. */
  readonly devices: number;
  /** Where they were seen last; null: nowhere yet. */
  readonly sector: string | null;
  /** When the last session ended, ms since 1970; null: one lives, or there was none. */
  readonly lastSeen: number | null;
}

export interface Team {
  readonly id: string;
  /** Name of the node that owns the roster; empty: none right now. */
  readonly owner: string;
  readonly version: number;
  /** By name. */
  readonly members: readonly Member[];
}

/** At most 10 s old. */
export interface Population {
  /** Players with a session. */
  readonly players: number;
  readonly nodes: number;
}

export interface BesideEvents {
  /** Who is in the team, or how they are; null: there is no team. */
  team(team: Team | null): void;
  population(population: Population | null): void;
}

export class Beside extends Slots {
  constructor(private readonly events: BesideEvents) {
    super();
  }

  get team(): Team | null {
    const copy = this.slots.get(TEAM_SLOT);
    if (!copy?.of.startsWith(TEAM)) return null;
    const { of, owner, version } = copy;
    const members = copy.ofKind("member").map(([, fields]) => memberOf(fields));
    members.sort((a, b) => compare(a.name, b.name) || compare(a.player, b.player));
    return { id: of.slice(TEAM.length), owner, version, members };
  }

  get population(): Population | null {
    const counts = this.slots.get(GLOBAL_SLOT)?.ofKind("counts")[0]?.[1];
    return counts === undefined ? null : { players: integer(counts.get("players")), nodes: integer(counts.get("nodes")) };
  }

  protected isKnown(slot: number): boolean {
    return slot === TEAM_SLOT || slot === GLOBAL_SLOT;
  }

  protected changed(slot: number): void {
    if (slot === TEAM_SLOT) this.events.team(this.team);
    else this.events.population(this.population);
  }
}

function memberOf(fields: Entity): Member {
  const player = String(fields.get("player") ?? "");
  const [sector, lastSeen] = [fields.get("sector"), fields.get("last_seen")];
  return {
    player,
    name: String(fields.get("name") ?? player),
    role: String(fields.get("role") ?? ""),
    status: String(fields.get("status") ?? "offline"),
    devices: integer(fields.get("devices")),
    sector: sector === undefined ? null : String(sector),
    lastSeen: typeof lastSeen === "number" ? lastSeen : null,
  };
}

function integer(value: Value | undefined): number {
  return typeof value === "number" ? value : 0;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
