// One channel as an application may show it: the latest of what was said, and how much of it is unread. Pure; must not
// know frames' ways.

import { compareFeedIds, type FeedId } from "./feedid.js";

export const CHANNEL_MESSAGES_MAX = 500;

/** Everything in it but ids and times was chosen by somebody: show it as text. */
export interface Message {
  readonly id: FeedId;
  /** Its name for ever; `id` may change when a feed is rewound. */
  readonly msg: string;
  /** ms since 1970, by the server's clock. */
  readonly at: number;
  /** The player who said it; null: whoever runs the universe. */
  readonly from: string | null;
  /** The author's name as it was then; null with `from`. */
  readonly name: string | null;
  readonly text: string;
  /** Said by this player, on this device or another. */
  readonly mine: boolean;
  /** Of an announcement: `info`, `warning`, `critical`. */
  readonly level?: string;
}

export interface Channel {
  /** `global`, `sector:<id>`, `team:<id>`; `player:<id>`: what is said with that player, or told to this one. */
  readonly name: string;
  /** Oldest first; another array after every change. */
  readonly messages: readonly Message[];
  /** Of others, after the read mark. */
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
  ) {}

  get open(): boolean {
    return this.isOpen(this.name);
  }

  get unread(): number {
    return this.unreadElsewhere + this.unreadHere;
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
    const [oldest] = this.messages;
    if (oldest !== undefined && compareFeedIds(upto, oldest.id) >= 0) this.unreadElsewhere = 0;
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
    return messages.filter(({ id, mine }) => !mine && this.isUnread(id)).length;
  }

  private wasCounted(id: FeedId): boolean {
    return this.counted !== null && compareFeedIds(id, this.counted) <= 0;
  }

  private isUnread(id: FeedId): boolean {
    return this.readUpto === null || compareFeedIds(id, this.readUpto) > 0;
  }
}
