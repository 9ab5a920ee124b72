// The region's clock as well as this client knows it, from pings and their pongs. Of the latest measurements the one
// with the shortest way counts: its error is at most half that way. Pure: the client's time comes as an argument.

const SAMPLES_KEPT = 8;

interface Sample {
  readonly rtt: number;
  readonly offset: number;
}

export class Clock {
  private samples: Sample[] = [];
  private welcomed = 0;

  /** Add this to the client's clock to have the region's. */
  get offset(): number {
    return this.best()?.offset ?? this.welcomed;
  }

  /** Of the latest ping; null before the first. */
  get rtt(): number | null {
    return this.samples.at(-1)?.rtt ?? null;
  }

  /** `welcome.now_ms`: on another node the way is another one, so measurements begin anew. */
  welcome(serverNow: number, now: number): void {
    this.samples = [];
    this.welcomed = serverNow - now;
  }

  pong(sentAt: number, serverNow: number, now: number): void {
    const rtt = now - sentAt;
    if (rtt < 0) return;
    this.samples.push({ rtt, offset: serverNow - (sentAt + rtt / 2) });
    if (this.samples.length > SAMPLES_KEPT) this.samples.shift();
  }

  private best(): Sample | undefined {
    let best: Sample | undefined;
    for (const sample of this.samples) if (best === undefined || sample.rtt <= best.rtt) best = sample;
    return best;
  }
}
