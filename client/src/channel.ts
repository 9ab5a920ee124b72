// One channel as an application may show it: the latest of what was said, and how much of it is unread. Pure; must not
// know frames' ways.

import { compareFeedIds, type FeedId } from "./feedid.js";
import type { Message } from "./message.js";

export const CHANNEL_MESSAGES_MAX = 500;

export interface Channel {
  /** `global`, `sector:<id>`, `team:<id>`; `player:<id>`: what is said with that player, or told to this one. */
  readonly name: string;
  /** Oldest first; another array after every change. */
  readonly messages: readonly Message[];
  /** Of others, after the read mark, and of what the player wants to hear of. */
  readonly unread: number;
  /** Read up to here, on any device; null: never marked. */
  readonly readUpto: FeedId | null;
  /** What is said in it now is heard here. */
  readonly open: boolean;
}

export class HeldChannel implements Channel {
  messages: readonly Message[] = [];
  readUpto: FeedId | null = null;
  private unreadHere = 0;
  /** Unread ones that are not held here: older than all that are. */
  private unreadElsewhere = 0;
  /** Every item up to here is held, or in one of the two; null: nothing was counted. */
  private counted: FeedId | null = null;

  constructor(
    readonly name: string,
    private readonly isOpen: (name: string) => boolean,
    /** Whether the player wants to hear of such a message here. */
    private readonly isWanted: (name: string, message: Message) => boolean = () => true,
  ) {}

  get open(): boolean {
    return this.isOpen(this.name);
  }

  get unread(): number {
    return this.unreadElsewhere + this.unreadHere;
  }

  /** The latest message; where none is held, what the server has counted up to; null: there is nothing. */
  get latest(): FeedId | null {
    return this.messages.at(-1)?.id ?? (this.unreadElsewhere > 0 ? this.counted : null);
  }

  /** false: it is there already. */
  add(message: Message): boolean {
    if (this.messages.some(({ msg }) => msg === message.msg)) return false;
    // After a reconnect what was missed comes behind the count that has it already.
    this.foundHere([message]);
    this.keep([...this.messages, message]);
    return true;
  }

  /** Puts in what was said before. */
  merge(page: readonly Message[]): void {
    const held = new Set(this.messages.map(({ msg }) => msg));
    const missing = page.filter(({ msg }) => !held.has(msg));
    this.foundHere(missing);
    this.keep([...this.messages, ...missing].sort((a, b) => compareFeedIds(a.id, b.id)));
  }

  /** It never goes back. false: what is unread elsewhere has to be asked for. */
  read(upto: FeedId): boolean {
    if (this.isUnread(upto)) this.readUpto = upto;
    this.unreadHere = this.unreadOf(this.messages);
    // What is unread elsewhere was counted, and is older than all that is held.
    const after = this.messages[0]?.id ?? this.counted;
    if (after !== null && compareFeedIds(upto, after) >= 0) this.unreadElsewhere = 0;
    return this.unreadElsewhere === 0;
  }

  /**
   * The server's count of items after `upto`, up to `counted`; null: there are none. It may be older than the mark here: then it
   * says nothing new.
   */
  count(upto: FeedId | null, unread: number, counted: FeedId | null): void {
    if (this.readUpto !== null && (upto === null || compareFeedIds(upto, this.readUpto) < 0)) return;
    this.readUpto = upto;
    this.counted = counted;
    this.unreadHere = this.unreadOf(this.messages);
    this.unreadElsewhere = Math.max(0, unread - this.unreadOf(this.messages.filter(({ id }) => this.wasCounted(id))));
  }

  /** What the player wants to hear of is something else now; what is unread elsewhere has to be asked for. */
  recount(): void {
    this.unreadHere = this.unreadOf(this.messages);
  }

  /** Those of these that were counted were elsewhere until now. */
  private foundHere(messages: readonly Message[]): void {
    const counted = messages.filter(({ id }) => this.wasCounted(id));
    this.unreadElsewhere = Math.max(0, this.unreadElsewhere - this.unreadOf(counted));
  }

  private keep(messages: readonly Message[]): void {
    const over = Math.max(0, messages.length - CHANNEL_MESSAGES_MAX);
    const dropped = messages.slice(0, over);
    const last = dropped.at(-1);
    this.unreadElsewhere += this.unreadOf(dropped);
    if (last !== undefined && !this.wasCounted(last.id)) this.counted = last.id;
    this.messages = messages.slice(over);
    this.unreadHere = this.unreadOf(this.messages);
  }

  private unreadOf(messages: readonly Message[]): number {
    return messages.filter((each) => !each.mine && this.isUnread(each.id) && this.isWanted(this.name, each)).length;
  }

  private wasCounted(id: FeedId): boolean {
    return this.counted !== null && compareFeedIds(id, this.counted) <= 0;
  }

  private isUnread(id: FeedId): boolean {
    return this.readUpto === null || compareFeedIds(id, this.readUpto) > 0;
  }
}
