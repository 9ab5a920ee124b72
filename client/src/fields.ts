// Names and numbers of state fields, as `welcome.fields` says them. A field without a name goes by its number.

import type { Change, Delta, FieldChanges } from "./frames.js";

const NUMBER = /^[1-9][0-9]*$/;

export class FieldNames {
  private readonly numbers: ReadonlyMap<string, number>;

  /** The name of field n is `names[n - 1]`. */
  constructor(private readonly names: readonly string[]) {
    this.numbers = new Map(names.map((name, at) => [name, at + 1]));
  }

  /** The name of a field that a codec gave by name or by number. */
  nameOf(key: string): string {
    return NUMBER.test(key) ? (this.names[Number(key) - 1] ?? key) : key;
  }

  /** NaN for a key that is neither a name nor a number: its hash then fits no sum. */
  numberOf(name: string): number {
    return this.numbers.get(name) ?? Number(name);
  }

  ofChanges(set: FieldChanges): FieldChanges {
    return Object.fromEntries(Object.entries(set).map(([key, value]) => [this.nameOf(key), value]));
  }

  /** The delta with every field under its name, whatever the codec. */
  ofDelta(delta: Delta): Delta {
    const named = (change: Change): Change =>
      "removed" in change ? change : { entity: change.entity, set: this.ofChanges(change.set) };
    return { ...delta, changes: delta.changes.map(named) };
  }
}
