// Rooms of other regions that an application looks at, over all connections: asked for again on each, verified as the sector
// is. Nothing can be done there. Pure; must not know sockets or time.

import type { Entity } from "./copy.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import { Refused } from "./refused.js";
import { Slots, type SlotChange } from "./slots.js";
import { Wanted } from "./wanted.js";

const FIRST_SLOT = 3;
const LAST_SLOT = 6;
const NAME = "[A-Za-z0-9_-]{1,64}";
const ROOM = new RegExp(`^(?:global|sector:${NAME})@${NAME}$`);

/** A room of another region as an application may see it. */
export interface ObservedRoom {
  /** `sector:<id>@<region>` or `global@<region>`. */
  readonly of: string;
  /** Name of the node there that owns the room; empty: none is known. */
  readonly owner: string;
  readonly version: number;
  /** By alias. */
  readonly entities: ReadonlyMap<number, Entity>;
  ofKind(kind: string): [alias: number, entity: Entity][];
}

export type ObservedEvent =
  /** Everything was replaced: the first state, or a repair; for this reason. */
  | { readonly kind: "state"; readonly room: ObservedRoom; readonly reason: string }
  | { readonly kind: "changed"; readonly room: ObservedRoom }
  /** It is not shown for now: a new connection has begun, and it is asked for again. */
  | { readonly kind: "gone"; readonly of: string }
  /** It is not shown any more: the server ended it, or refused it on a new connection with this code. */
  | { readonly kind: "ended"; readonly of: string; readonly code: string | null };

/** What is observed, as an application may see it. */
export interface ObservedView {
  /** Those that are shown now. */
  readonly all: readonly ObservedRoom[];
  get(of: string): ObservedRoom | undefined;
  subscribe(listener: (event: ObservedEvent) => void): Unsubscribe;
}

export function isObservedSlot(slot: number): boolean {
  return slot >= FIRST_SLOT && slot <= LAST_SLOT;
}

export class Observed extends Slots implements ObservedView {
  private readonly wanted: Wanted;
  private readonly listeners = new Listeners<ObservedEvent>();

  /** `request` resolves when the server has done it, and rejects with `Refused`. */
  constructor(request: (room: string, wanted: boolean) => Promise<unknown>) {
    super();
    const forget = (room: string): void => {
      for (const [slot, { of }] of this.slots) if (of === room) this.slots.delete(slot);
    };
    this.wanted = new Wanted(request, forget, (of, code) => this.listeners.emit({ kind: "ended", of, code }));
  }

  get all(): readonly ObservedRoom[] {
    return [...this.slots.values()];
  }

  get(of: string): ObservedRoom | undefined {
    return this.all.find((room) => room.of === of);
  }

  subscribe(listener: (event: ObservedEvent) => void): Unsubscribe {
    return this.listeners.add(listener);
  }

  /** Rejects with `Refused`: then it is as it was. */
  async want(room: string, wanted: boolean): Promise<void> {
    if (!ROOM.test(room)) throw new Refused("not_there");
    await this.wanted.want(room, wanted);
  }

  /** A new connection observes nothing. */
  override welcome(fieldNames: readonly string[]): void {
    super.welcome(fieldNames);
    this.wanted.restart();
  }

  clear(): void {
    this.slots.clear();
    this.wanted.clear();
  }

  /** What is still on its way of others is not for the application any more. */
  protected isKnown(slot: number, of: string): boolean {
    return isObservedSlot(slot) && this.wanted.has(of);
  }

  protected changed(slot: number, of: string, change: SlotChange): void {
    const room = this.slots.get(slot);
    if (change.kind === "gone") {
      if (!change.ended) this.listeners.emit({ kind: "gone", of });
      else if (this.wanted.drop(of)) this.listeners.emit({ kind: "ended", of, code: null });
    } else if (room !== undefined) {
      this.listeners.emit({ ...change, room });
    }
  }
}
