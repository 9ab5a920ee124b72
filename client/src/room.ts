// One room as this client has it: snapshot, deltas and own changes in, entities out, the checksums kept up to date.
// Pure: must not know sockets, time or actions.

import { OWN_ALIAS, add, fieldHash, subtract } from "./checksum.js";
import { FieldNames } from "./fields.js";
import type { Delta, FieldChanges, Fields, Own, Owner, Snapshot, Value } from "./frames.js";

/** Fields of one entity by name; a field without a name by its number. */
export type Entity = ReadonlyMap<string, Value>;

/** A room as an application may see it. */
export interface RoomView {
  readonly sector: string;
  /** Name of the node that owns the room; empty: none right now. */
  readonly owner: string;
  readonly version: number;
  /** By alias. */
  readonly entities: ReadonlyMap<number, Entity>;
  /** What only this player sees. */
  readonly own: Entity;
  /** Entities of one kind: `ship`, `warp`, `port`. */
  ofKind(kind: string): [alias: number, entity: Entity][];
}

/**
 * What became of a step: `applied`; `stale` (it leads nowhere new); `gap` (something before it is missing);
 * `drift` (applied, but the checksum differs: this copy is wrong).
 */
export type Step = "applied" | "stale" | "gap" | "drift";

interface EntryId {
  readonly epoch: number;
  readonly version: number;
}

export class Room implements RoomView {
  readonly sector: string;
  readonly entities = new Map<number, Map<string, Value>>();
  readonly own = new Map<string, Value>();
  owner: string;
  epoch: number;
  version: number;
  /** Own changes come before the delta of their version. */
  ownVersion: number;
  /** The highest entry of which anything was told (in an ack, in own changes, in a welcome), applied or not. */
  private told: EntryId = { epoch: 0, version: 0 };
  sum = 0;
  ownSum = 0;
  private readonly names: FieldNames;

  constructor(snapshot: Snapshot, fieldNames: readonly string[]) {
    const { epoch, version } = entryId(snapshot.id);
    this.names = new FieldNames(fieldNames);
    this.sector = snapshot.sector;
    this.owner = snapshot.owner;
    this.epoch = epoch;
    this.version = version;
    this.ownVersion = version;
    for (const { entity, fields } of snapshot.entities) this.change(entity, fields);
    this.changeOwn(snapshot.own);
  }

  /** The last entry applied, and a later one of which something was told, as `hello` wants them. */
  get known(): { sector: string; cursor: string; acked?: string } {
    const { sector, told, epoch, version } = this;
    const ahead = told.version > version && { acked: `${told.epoch}-${told.version}` };
    return { sector, cursor: `${epoch}-${version}`, ...ahead };
  }

  takeAck(version: number): void {
    this.tell({ epoch: this.epoch, version });
  }

  /** The entry that a welcome and what follows it reach. */
  takeHead(head: string): void {
    this.tell(entryId(head));
  }

  ofKind(kind: string): [number, Entity][] {
    return [...this.entities].filter(([, fields]) => fields.get("kind") === kind);
  }

  takeDelta({ from, to, sum, changes }: Omit<Delta, "room">): Step {
    if (to < this.version) return "stale";
    if (from > this.version) return "gap";
    for (const change of changes) {
      if ("removed" in change) this.remove(change.entity);
      else this.change(change.entity, change.set);
    }
    this.version = to;
    return this.sum === sum ? "applied" : "drift";
  }

  takeOwn({ to, sum, set }: Own): Step {
    if (to <= Math.max(this.version, this.ownVersion)) return "stale";
    this.ownVersion = to;
    this.tell({ epoch: this.epoch, version: to });
    this.changeOwn(set);
    return this.ownSum === sum ? "applied" : "drift";
  }

  /** Another node owns the room now: the version counts on in a new epoch. */
  takeOwner({ node, epoch, version }: Owner): Step {
    if (version > this.version + 1) return "gap";
    this.owner = node;
    this.epoch = epoch;
    this.version = Math.max(this.version, version);
    return "applied";
  }

  /** Creates the entity if it is not there, even with no field at all. */
  change(alias: number, set: FieldChanges | Fields): void {
    let fields = this.entities.get(alias);
    if (fields === undefined) this.entities.set(alias, (fields = new Map()));
    this.sum = add(this.sum, this.assign(alias, fields, set));
  }

  /** Epochs only grow: a later version is of no earlier one, though the owner's frame is still to come. */
  private tell({ epoch, version }: EntryId): void {
    if (version > this.told.version) this.told = { epoch: Math.max(epoch, this.told.epoch), version };
  }

  private remove(alias: number): void {
    for (const [name, value] of this.entities.get(alias) ?? []) this.sum = subtract(this.sum, this.hash(alias, name, value));
    this.entities.delete(alias);
  }

  private changeOwn(set: FieldChanges | Fields): void {
    this.ownSum = add(this.ownSum, this.assign(OWN_ALIAS, this.own, set));
  }

  /** Answers by how much the sum of these fields has grown, modulo 2^32. */
  private assign(alias: number, fields: Map<string, Value>, set: FieldChanges | Fields): number {
    let grown = 0;
    for (const [key, value] of Object.entries(set)) {
      const name = this.names.nameOf(key);
      const before = fields.get(name);
      if (before !== undefined) grown = subtract(grown, this.hash(alias, name, before));
      if (value === null) {
        fields.delete(name);
      } else {
        fields.set(name, value);
        grown = add(grown, this.hash(alias, name, value));
      }
    }
    return grown;
  }

  private hash(alias: number, name: string, value: Value): number {
    return fieldHash(alias, this.names.numberOf(name), value);
  }
}

/** Reads `<epoch>-<version>`. */
function entryId(id: string): EntryId {
  const [epoch = "", version = ""] = id.split("-");
  return { epoch: Number(epoch), version: Number(version) };
}
