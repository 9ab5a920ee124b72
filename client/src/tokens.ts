// The player's token: a fixed one, or one that is asked for when it is needed. Never shows it to anybody but `hello`.

export type TokenSource = string | (() => string | Promise<string>);

export class Tokens {
  private current: string | null = null;
  private refused: string | null = null;

  constructor(private readonly source: TokenSource) {}

  /** The one to use; a function is asked again only after `refuse` or by `renew`. */
  async get(): Promise<string> {
    return this.current ?? (await this.renew());
  }

  async renew(): Promise<string> {
    const { source } = this;
    const token = typeof source === "function" ? await source() : source;
    this.current = token;
    return token;
  }

  /** The server did not take this one. */
  refuse(token: string): void {
    this.refused = token;
    if (this.current === token) this.current = null;
  }

  /** Nothing but what was refused can be had: trying again leads nowhere. */
  isRefused(token: string): boolean {
    return token === this.refused;
  }
}
