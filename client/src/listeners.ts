// Who wants to hear of one kind of event. Must not know any event.

export type Unsubscribe = () => void;

export class Listeners<Event> {
  private readonly all = new Set<{ readonly listener: (event: Event) => void }>();

  add(listener: (event: Event) => void): Unsubscribe {
    const entry = { listener };
    this.all.add(entry);
    return () => void this.all.delete(entry);
  }

  /** A listener that throws disturbs neither the others nor the client: its error goes where uncaught ones go. */
  emit(event: Event): void {
    for (const { listener } of [...this.all]) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
