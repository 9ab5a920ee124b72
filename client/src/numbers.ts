// The numbers of everything that an actor asks for, in feeds or of workers: one series. Pure; must not know what is asked.

export class Numbers {
  private last = 0;

  next(): number {
    return ++this.last;
  }

  /** For another actor. */
  restart(): void {
    this.last = 0;
  }
}
