// All channels of a player, as applications see them. Pure; must not know frames.

import { HeldChannel, type Channel } from "./channel.js";
import type { FeedId } from "./feedid.js";
import type { ChannelCount } from "./frames.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import type { Message } from "./message.js";

/** Of more, those go that were quiet for longest and are no rooms that the player is in. */
export const CHANNELS_MAX = 64;

export type ChannelEvent =
  /** Something was said: each item once. */
  | { readonly kind: "message"; readonly channel: Channel; readonly message: Message }
  /** Older messages came, what is unread changed, or the channel opened or closed. */
  | { readonly kind: "changed"; readonly channel: Channel }
  /** Items of this feed are missing: `history` may still have them. `player:<own>`: of all private channels. */
  | { readonly kind: "gap"; readonly channel: Channel };

/** The channels as an application may see them. */
export interface ChannelsView {
  /** The one that was quiet for longest first. */
  readonly all: readonly Channel[];
  /** In all of them. */
  readonly unread: number;
  get(name: string): Channel | undefined;
  subscribe(listener: (event: ChannelEvent) => void): Unsubscribe;
}

export class Channels implements ChannelsView {
  private readonly held = new Map<string, HeldChannel>();
  private readonly listeners = new Listeners<ChannelEvent>();

  /** `isOpen`: whether what is said in a channel is heard now; `isWanted`: whether such a message there counts as unread. */
  constructor(
    private readonly isOpen: (name: string) => boolean,
    private readonly isWanted: (name: string, message: Message) => boolean = () => true,
  ) {}

  get all(): readonly Channel[] {
    return [...this.held.values()];
  }

  get(name: string): HeldChannel | undefined {
    return this.held.get(name);
  }

  get unread(): number {
    return this.all.reduce((sum, { unread }) => sum + unread, 0);
  }

  subscribe(listener: (event: ChannelEvent) => void): Unsubscribe {
    return this.listeners.add(listener);
  }

  add(name: string, message: Message): void {
    const channel = this.channel(name);
    this.held.delete(name);
    this.held.set(name, channel);
    if (channel.add(message)) this.listeners.emit({ kind: "message", channel, message });
  }

  merge(name: string, page: readonly Message[]): void {
    const channel = this.channel(name);
    channel.merge(page);
    this.changed(channel);
  }

  /** It opened, or closed. */
  turned(name: string): void {
    this.changed(this.channel(name));
  }

  /** false: how much is unread has to be asked for. */
  read(name: string, upto: FeedId): boolean {
    const channel = this.channel(name);
    const isKnown = channel.read(upto);
    this.changed(channel);
    return isKnown;
  }

  /** The server's counts of this moment; a channel that is not among them has neither mark nor unread items. */
  count(counts: readonly ChannelCount[]): void {
    const counted = new Map(counts.map((count) => [count.of, count]));
    for (const name of new Set([...this.held.keys(), ...counted.keys()])) {
      const count = counted.get(name);
      const channel = this.channel(name);
      channel.count(count?.upto ?? null, count?.unread ?? 0, count?.counted ?? null);
      this.changed(channel);
    }
  }

  /** What is wanted is something else now. */
  recount(): void {
    for (const channel of this.held.values()) {
      channel.recount();
      this.changed(channel);
    }
  }

  gap(name: string): void {
    this.listeners.emit({ kind: "gap", channel: this.channel(name) });
  }

  clear(): void {
    this.held.clear();
  }

  private changed(channel: HeldChannel): void {
    this.listeners.emit({ kind: "changed", channel });
  }

  private channel(name: string): HeldChannel {
    let channel = this.held.get(name);
    if (channel === undefined) {
      this.held.set(name, (channel = new HeldChannel(name, this.isOpen, this.isWanted)));
      this.dropQuiet();
    }
    return channel;
  }

  private dropQuiet(): void {
    for (const [name, { open }] of [...this.held].slice(0, -1)) {
      if (this.held.size <= CHANNELS_MAX) break;
      if (!open || isWithPlayer(name)) this.held.delete(name);
    }
  }
}

function isWithPlayer(name: string): boolean {
  return name.startsWith("player:");
}
