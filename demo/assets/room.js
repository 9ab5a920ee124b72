// One room as this client sees it: snapshot, deltas and own changes in, entities out, every step verified.
// Pure: must not know sockets, time or the page.

import { OWN_ALIAS, fieldHash } from "./checksum.js";

export class RoomView {
  /** `fieldNames` is `welcome.fields`: the name of field n is `fieldNames[n - 1]`. */
  constructor(fieldNames) {
    this.numbers = new Map(fieldNames.map((name, at) => [name, at + 1]));
    this.sector = null;
    this.owner = "";
    this.epoch = 0;
    this.version = 0;
    /** Own changes come before the delta of their version. */
    this.ownVersion = 0;
    /** alias -> Map(field name -> value) */
    this.entities = new Map();
    this.own = new Map();
  }

  /** The last entry applied, as `hello` wants it. */
  get cursor() {
    return `${this.epoch}-${this.version}`;
  }

  /** Takes a whole state; false if its sums are not those the server sent with it. */
  load(snapshot) {
    [this.epoch, this.version] = snapshot.id.split("-").map(Number);
    this.ownVersion = this.version;
    this.sector = snapshot.sector;
    this.owner = snapshot.owner;
    this.entities = new Map(snapshot.entities.map(({ entity, fields }) => [entity, new Map(Object.entries(fields))]));
    this.own = new Map(Object.entries(snapshot.own));
    return this.publicSum() === snapshot.sum && this.ownSum() === snapshot.own_sum;
  }

  /**
   * Applies a delta: `applied`; `stale` (it leads nowhere new); `gap` (something before it is missing);
   * `drift` (applied, but the sum differs: this copy is wrong).
   */
  takeDelta({ from, to, sum, changes }) {
    if (to < this.version) return "stale";
    if (from > this.version) return "gap";
    for (const change of changes) {
      if (change.removed) this.entities.delete(change.entity);
      else assign(this.entityToChange(change.entity), change.set);
    }
    this.version = to;
    return this.publicSum() === sum ? "applied" : "drift";
  }

  /** Applies a change of the player's own fields; it comes right before the delta that reaches `to`. */
  takeOwn({ to, sum, set }) {
    if (to <= Math.max(this.version, this.ownVersion)) return "stale";
    this.ownVersion = to;
    assign(this.own, set);
    return this.ownSum() === sum ? "applied" : "drift";
  }

  /** Another node owns the room now: the version counts on in a new epoch. */
  takeOwner({ node, epoch, version }) {
    if (version > this.version + 1) return "gap";
    this.owner = node;
    this.epoch = epoch;
    this.version = Math.max(this.version, version);
    return "applied";
  }

  publicSum() {
    let sum = 0;
    for (const [alias, fields] of this.entities) sum = (sum + this.sumOf(alias, fields)) >>> 0;
    return sum;
  }

  ownSum() {
    return this.sumOf(OWN_ALIAS, this.own);
  }

  /** Entities of one kind (`ship`, `warp`, `port`), as `[alias, fields]`. */
  ofKind(kind) {
    return [...this.entities].filter(([, fields]) => fields.get("kind") === kind);
  }

  entityToChange(alias) {
    if (!this.entities.has(alias)) this.entities.set(alias, new Map());
    return this.entities.get(alias);
  }

  sumOf(alias, fields) {
    let sum = 0;
    for (const [name, value] of fields) sum = (sum + fieldHash(alias, this.numberOf(name), value)) >>> 0;
    return sum;
  }

  /** A field of a newer server comes under its number. */
  numberOf(name) {
    return this.numbers.get(name) ?? Number(name);
  }
}

function assign(fields, set) {
  for (const [name, value] of Object.entries(set)) {
    if (value === null) fields.delete(name);
    else fields.set(name, value);
  }
}
