// The player's token: a fixed one, or one that is asked for when it is needed. It is shown to
// `hello` and `refresh` and nobody else; must not know connections, or when a token expires.

export type TokenSource = string | (() => string | Promise<string>);

export class Tokens {
  private current: string | null = null;
  private refused: string | null = null;

  constructor(private readonly source: TokenSource) {}

  /** The one to use; a function is asked again only after `refuse`, `forget` or by `renew`. */
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
    this.forget(token);
  }

  /** Not to be used before the source was asked again, which may have nothing else. */
  forget(token: string): void {
    if (this.current === token) this.current = null;
  }

  /** Nothing but what was refused can be had: trying again leads nowhere. */
  isRefused(token: string): boolean {
    return token === this.refused;
  }
}
