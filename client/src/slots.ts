// Copies of the rooms that this client sees beside its sector, slot by slot: begun by `room`, gone on by `delta` and `owner`,
// over by `left`. Pure; must not know sockets or time, or what is in the rooms.

import { Copy, type Step, type Whole } from "./copy.js";
import type { Delta, Owner, RoomSnapshot } from "./frames.js";

/** `state`: everything was replaced, for this reason; `gone`: a new connection began, or the server has ended it. */
export type SlotChange =
  | { readonly kind: "state"; readonly reason: string }
  | { readonly kind: "changed" }
  | { readonly kind: "gone"; readonly ended: boolean };

export class SlotCopy extends Copy {
  /** Until another `room` of the slot comes. */
  isBroken = false;

  constructor(
    /** Which room it is. */
    readonly of: string,
    whole: Whole,
    fieldNames: readonly string[],
  ) {
    super(whole, fieldNames);
  }
}

export abstract class Slots {
  protected readonly slots = new Map<number, SlotCopy>();
  private fieldNames: readonly string[] = [];

  /** One that is not is nothing to this client. */
  protected abstract isKnown(slot: number, of: string): boolean;
  protected abstract changed(slot: number, of: string, change: SlotChange): void;

  /** One of them has a hole or differs. */
  get isBroken(): boolean {
    return [...this.slots.values()].some(({ isBroken }) => isBroken);
  }

  /** A new connection begins without them, whatever it resumes. */
  welcome(fieldNames: readonly string[]): void {
    this.fieldNames = fieldNames;
    const had = [...this.slots];
    this.slots.clear();
    for (const [slot, { of }] of had) this.changed(slot, of, { kind: "gone", ended: false });
  }

  takeRoom(room: RoomSnapshot): Step {
    if (!this.isKnown(room.room, room.of)) return "stale";
    const copy = new SlotCopy(room.of, room, this.fieldNames);
    const step = copy.sum === room.sum ? "applied" : "drift";
    this.slots.set(room.room, copy);
    this.changed(room.room, room.of, { kind: "state", reason: room.reason });
    return this.judged(room.room, step);
  }

  takeLeft({ room, of }: { readonly room: number; readonly of: string }): void {
    if (this.slots.get(room)?.of !== of) return;
    this.slots.delete(room);
    this.changed(room, of, { kind: "gone", ended: true });
  }

  takeDelta(delta: Delta): Step {
    const copy = this.slots.get(delta.room);
    const step = copy?.takeDelta(delta) ?? "stale";
    if (copy !== undefined && (step === "applied" || step === "drift")) this.changed(delta.room, copy.of, { kind: "changed" });
    return this.judged(delta.room, step);
  }

  takeOwner(owner: Owner): Step {
    const copy = this.slots.get(owner.room);
    const step = copy?.takeOwner(owner) ?? "stale";
    if (copy !== undefined && step === "applied") this.changed(owner.room, copy.of, { kind: "changed" });
    return this.judged(owner.room, step);
  }

  /** What is broken is asked for once. */
  private judged(slot: number, step: Step): Step {
    const copy = this.slots.get(slot);
    if (copy === undefined || copy.isBroken || (step !== "gap" && step !== "drift")) return step === "applied" ? step : "stale";
    copy.isBroken = true;
    return step;
  }
}
