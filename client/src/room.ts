// The player's sector as this client has it: snapshot, deltas and own changes in, entities out, both checksums kept up to
// date. Pure: must not know sockets, time or actions.

import { OWN_ALIAS, add } from "./checksum.js";
import { Copy, entryId, type Entity, type EntryId, type Step } from "./copy.js";
import type { FieldChanges, Fields, Own, Snapshot, Value } from "./frames.js";

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

export class Room extends Copy implements RoomView {
  readonly sector: string;
  readonly own = new Map<string, Value>();
  /** Own changes come before the delta of their version. */
  ownVersion: number;
  ownSum = 0;
  /** The highest entry of which anything was told (in an ack, in own changes, in a welcome), applied or not. */
  private told: EntryId = { epoch: 0, version: 0 };

  constructor(snapshot: Snapshot, fieldNames: readonly string[]) {
    super(snapshot, fieldNames);
    this.sector = snapshot.sector;
    this.ownVersion = this.version;
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

  takeOwn({ to, sum, set }: Own): Step {
    if (to <= Math.max(this.version, this.ownVersion)) return "stale";
    this.ownVersion = to;
    this.tell({ epoch: this.epoch, version: to });
    this.changeOwn(set);
    return this.ownSum === sum ? "applied" : "drift";
  }

  /** Epochs only grow: a later version is of no earlier one, though the owner's frame is still to come. */
  private tell({ epoch, version }: EntryId): void {
    if (version > this.told.version) this.told = { epoch: Math.max(epoch, this.told.epoch), version };
  }

  private changeOwn(set: FieldChanges | Fields): void {
    this.ownSum = add(this.ownSum, this.assign(OWN_ALIAS, this.own, set));
  }
}
