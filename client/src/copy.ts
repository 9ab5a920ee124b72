// A copy of one room's public state: what it is and how it changes, the checksum kept up to date, by the rules of
// PROTOCOL.md's Versions. Pure; must not know which room it is, sockets or time.

import { add, fieldHash, subtract } from "./checksum.js";
import { FieldNames } from "./fields.js";
import type { Delta, FieldChanges, Fields, Owner, Value } from "./frames.js";

/** Fields of one entity by name; a field without a name by its number. */
export type Entity = ReadonlyMap<string, Value>;

/**
 * What became of a step: `applied`; `stale` (it leads nowhere new); `gap` (something before it is missing);
 * `drift` (applied, but the checksum differs: this copy is wrong).
 */
export type Step = "applied" | "stale" | "gap" | "drift";

export interface EntryId {
  readonly epoch: number;
  readonly version: number;
}

/** What a snapshot of any room has. */
export interface Whole {
  /** `<epoch>-<version>` */
  readonly id: string;
  readonly owner: string;
  readonly entities: readonly { readonly entity: number; readonly fields: Fields }[];
}

export class Copy {
  readonly entities = new Map<number, Map<string, Value>>();
  owner: string;
  epoch: number;
  version: number;
  sum = 0;
  protected readonly names: FieldNames;

  constructor(whole: Whole, fieldNames: readonly string[]) {
    const { epoch, version } = entryId(whole.id);
    this.names = new FieldNames(fieldNames);
    this.owner = whole.owner;
    this.epoch = epoch;
    this.version = version;
    for (const { entity, fields } of whole.entities) this.change(entity, fields);
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

  /** Answers by how much the sum of these fields has grown, modulo 2^32. */
  protected assign(alias: number, fields: Map<string, Value>, set: FieldChanges | Fields): number {
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

  private remove(alias: number): void {
    for (const [name, value] of this.entities.get(alias) ?? []) this.sum = subtract(this.sum, this.hash(alias, name, value));
    this.entities.delete(alias);
  }

  private hash(alias: number, name: string, value: Value): number {
    return fieldHash(alias, this.names.numberOf(name), value);
  }
}

/** Reads `<epoch>-<version>`. */
export function entryId(id: string): EntryId {
  const [epoch = "", version = ""] = id.split("-");
  return { epoch: Number(epoch), version: Number(version) };
}
