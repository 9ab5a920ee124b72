// Why something that was asked for is not done.

import type { Facts } from "./frames.js";

export class Refused extends Error {
  override readonly name = "Refused";

  /**
   * `code`: as PROTOCOL.md names it, or `left`: the client left before the answer was there, so that what was to be said
   * may have been said.
   */
  constructor(
    readonly code: string,
    readonly facts: Facts = {},
  ) {
    super(code);
  }
}
