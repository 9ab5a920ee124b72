// What an application wants to be shown, by name, over all connections: asked for again on each. Pure; must not know what is
// shown.

import type { Refused } from "./refused.js";

export class Wanted {
  private readonly names = new Set<string>();
  /** How many requests of each wait for their answer. */
  private readonly asked = new Map<string, number>();

  /**
   * `request` resolves when the server has done it, and rejects with `Refused`; `dropped`: nothing of it is for the application
   * any more; `refused`: it was wanted, and a new connection does not have it.
   */
  constructor(
    private readonly request: (name: string, wanted: boolean) => Promise<unknown>,
    private readonly dropped: (name: string) => void,
    private readonly refused: (name: string, code: string) => void,
  ) {}

  has(name: string): boolean {
    return this.names.has(name);
  }

  /** Rejects with `Refused`: then it is as it was. */
  async want(name: string, wanted: boolean): Promise<void> {
    const before = this.names.has(name);
    if (wanted) this.names.add(name);
    else this.drop(name);
    try {
      await this.ask(name, wanted);
    } catch (problem) {
      if (wanted && !before) this.drop(name);
      throw problem;
    }
  }

  /** A new connection has nothing of it. What still waits for its answer is asked again anyway. */
  restart(): void {
    for (const name of this.names) {
      if (this.asked.has(name)) continue;
      this.ask(name, true).catch(({ code }: Refused) => {
        if (this.drop(name) && code !== "left") this.refused(name, code);
      });
    }
  }

  /** Answers whether it was wanted. */
  drop(name: string): boolean {
    const was = this.names.delete(name);
    this.dropped(name);
    return was;
  }

  clear(): void {
    this.names.clear();
  }

  private async ask(name: string, wanted: boolean): Promise<void> {
    this.asked.set(name, (this.asked.get(name) ?? 0) + 1);
    try {
      await this.request(name, wanted);
    } finally {
      const others = (this.asked.get(name) ?? 1) - 1;
      if (others > 0) this.asked.set(name, others);
      else this.asked.delete(name);
    }
  }
}
