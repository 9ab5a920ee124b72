// How fast actions, requests and calls of one kind may be sent: as many per second as the server takes, and no more than
// that at once, so that what was pending for long does not look like a flood. Pure: time comes as an argument.

export class Pace {
  private perS = 0;
  /** By kind: when the next one would be due if they came evenly. */
  private readonly evenly = new Map<string, number>();

  /** `welcome.limits.actions_per_s`; 0: no limit. */
  limit(perS: number): void {
    this.perS = perS;
  }

  /** When one of this kind may be sent. */
  dueAt(kind: string): number {
    return this.perS === 0 ? -Infinity : (this.evenly.get(kind) ?? -Infinity) - this.ahead;
  }

  /** One is sent. */
  take(kind: string, now: number): void {
    if (this.perS === 0) return;
    this.evenly.set(kind, Math.max(this.evenly.get(kind) ?? now, now) + this.interval);
  }

  /** The server took one not: nothing of this kind before then, and then evenly. */
  pause(kind: string, until: number): void {
    this.evenly.set(kind, Math.max(this.evenly.get(kind) ?? -Infinity, until + this.ahead));
  }

  private get interval(): number {
    return 1_000 / this.perS;
  }

  /** How far a burst may run ahead. The server allows twice as much: what is late on its way is no flood either. */
  private get ahead(): number {
    return this.perS === 0 ? 0 : 1_000 - this.interval;
  }
}
