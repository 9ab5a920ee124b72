// The rooms that this client sees beside its sector: its team's and `global`. Pure; must not know sockets or time.

import { Copy, type Entity, type Step } from "./copy.js";
import type { Delta, Owner, RoomSnapshot, Value } from "./frames.js";

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

interface Held {
  readonly of: string;
  readonly copy: Copy;
  /** Until another `room` of the slot comes. */
  isBroken: boolean;
}

export class Beside {
  private readonly slots = new Map<number, Held>();
  private fieldNames: readonly string[] = [];

  constructor(private readonly events: BesideEvents) {}

  get team(): Team | null {
    const held = this.slots.get(TEAM_SLOT);
    if (!held?.of.startsWith(TEAM)) return null;
    const { owner, version } = held.copy;
    const members = held.copy.ofKind("member").map(([, fields]) => memberOf(fields));
    members.sort((a, b) => compare(a.name, b.name) || compare(a.player, b.player));
    return { id: held.of.slice(TEAM.length), owner, version, members };
  }

  get population(): Population | null {
    const counts = this.slots.get(GLOBAL_SLOT)?.copy.ofKind("counts")[0]?.[1];
    return counts === undefined ? null : { players: integer(counts.get("players")), nodes: integer(counts.get("nodes")) };
  }

  /** One of them has a hole or differs. */
  get isBroken(): boolean {
    return [...this.slots.values()].some(({ isBroken }) => isBroken);
  }

  /** A new connection begins without them, whatever it resumes. */
  welcome(fieldNames: readonly string[]): void {
    this.fieldNames = fieldNames;
    const had = [...this.slots.keys()];
    this.slots.clear();
    had.forEach((slot) => this.changed(slot));
  }

  /** A slot that nobody knows is nothing to this client. */
  takeRoom(room: RoomSnapshot): Step {
    if (!isKnown(room.room)) return "stale";
    const copy = new Copy(room, this.fieldNames);
    const step = copy.sum === room.sum ? "applied" : "drift";
    this.slots.set(room.room, { of: room.of, copy, isBroken: false });
    this.changed(room.room);
    return this.judged(room.room, step);
  }

  takeLeft({ room, of }: { readonly room: number; readonly of: string }): void {
    if (this.slots.get(room)?.of !== of) return;
    this.slots.delete(room);
    this.changed(room);
  }

  takeDelta(delta: Delta): Step {
    const step = this.slots.get(delta.room)?.copy.takeDelta(delta) ?? "stale";
    if (step === "applied" || step === "drift") this.changed(delta.room);
    return this.judged(delta.room, step);
  }

  takeOwner(owner: Owner): Step {
    const step = this.slots.get(owner.room)?.copy.takeOwner(owner) ?? "stale";
    if (step === "applied") this.changed(owner.room);
    return this.judged(owner.room, step);
  }

  /** What is broken is asked for once. */
  private judged(slot: number, step: Step): Step {
    const held = this.slots.get(slot);
    if (held === undefined || held.isBroken || (step !== "gap" && step !== "drift")) return step === "applied" ? step : "stale";
    held.isBroken = true;
    return step;
  }

  private changed(slot: number): void {
    if (slot === TEAM_SLOT) this.events.team(this.team);
    else this.events.population(this.population);
  }
}

function isKnown(slot: number): boolean {
  return slot === TEAM_SLOT || slot === GLOBAL_SLOT;
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
