// What a player says and hears in feeds, over all connections: requests out, answers and items in, channels kept. Pure:
// time comes as an argument; must not know sockets or state.

import { Channels } from "./channels.js";
import { FEED_ID, type FeedId } from "./feedid.js";
import { Feeds } from "./feeds.js";
import type { Blocks, ChannelCount, ClientFrame, Facts, FeedPlace, Item, Page, PageItem, Preferences, ServerFrame, Welcome } from "./frames.js";
import { messageOf, type Message } from "./message.js";
import { Numbers } from "./numbers.js";
import { isWanted, PREFERENCE_KINDS, type PreferenceKind } from "./preferences.js";
import { Reads } from "./reads.js";
import { HERE, Requests } from "./requests.js";
import { asSaid, channelOf, feedOf, isPlayer, isRoom, known, playerRoom } from "./said.js";
import { Refused } from "./refused.js";
import { isTopic, topicOf, topicRoom, Topics } from "./topics.js";

/** The name of this part of the protocol. */
export const FEATURE = "feeds";
export const HISTORY_PAGE_MAX = 100;

export interface SaidPlace {
  /** Where it stands in the feed; of a private message in this player's own. */
  readonly id: FeedId;
  /** Its name for ever. */
  readonly msg: string;
}

export interface HistoryPage {
  /** Oldest first. */
  readonly messages: readonly Message[];
  /** To ask on with; null: there is nothing before. */
  readonly before: FeedId | null;
}

export class Talk {
  blocks: ReadonlySet<string> = new Set();
  /** Kinds that this player does not want to be told of. */
  unwanted: ReadonlySet<string> = new Set();
  readonly channels = new Channels(
    (name) => this.feeds.isReading(feedOf(name, this.me)),
    (name, message) => isWanted(this.unwanted, name, message, this.me),
  );
  readonly topics = new Topics(
    (name, wanted) => this.requests.ask("topic", { name, wanted }),
    (topic) => this.feeds.forget(topicRoom(topic)),
  );
  private readonly feeds = new Feeds();
  private readonly requests: Requests;
  private readonly reads = new Reads();
  private player: string | null = null;
  /** The node of this connection knows feeds too. */
  private isOn = false;

  constructor(numbers = new Numbers()) {
    this.requests = new Requests(numbers);
  }

  /** For `hello`. */
  get cursors(): Record<string, FeedId> {
    return this.feeds.cursors(this.player === null ? null : playerRoom(this.player));
  }

  /** Where the other side is not up to it, everything waits for a node that is. */
  welcome({ player, actor, features, limits }: Welcome): void {
    if (this.player !== null && this.player !== player) this.forget();
    this.player = player;
    this.isOn = features.includes(FEATURE);
    this.blocks = new Set();
    this.unwanted = new Set();
    this.feeds.restart();
    this.requests.restart();
    this.reads.restart();
    this.requests.welcome(actor, limits.actions_per_s ?? 0, this.isOn);
    this.topics.restart();
    if (this.isOn && !this.requests.isAsked("unread")) void this.unread().catch(() => {});
  }

  async say(to: string, text: string, sector: string | null): Promise<SaidPlace> {
    const room = checkedRoom(to, sector);
    const { id, msg } = await this.requests.ask("say", { to: room, text: asSaid(text) });
    return { id, msg };
  }

  async history(of: string, before: FeedId | null, limit: number | null, sector: string | null): Promise<HistoryPage> {
    if (limit !== null && !(Number.isInteger(limit) && limit >= 1 && limit <= HISTORY_PAGE_MAX)) {
      throw new RangeError(`limit: 1 to ${HISTORY_PAGE_MAX}`);
    }
    if (before !== null && !FEED_ID.test(before)) throw new RangeError("before: <ms>-<n>");
    const page = await this.requests.ask("history", {
      of: topicOf(of) === null ? checkedRoom(of, sector) : checkedTopic(of),
      ...(before !== null && { before }),
      ...(limit !== null && { limit }),
    });
    return { messages: page.items.flatMap((item) => messageOf(item, this.me) ?? []), before: page.before ?? null };
  }

  async unread(): Promise<readonly ChannelCount[]> {
    return (await this.requests.ask("unread", {})).channels;
  }

  async block(player: string, blocked: boolean): Promise<void> {
    if (!isPlayer(player)) throw new Refused("unknown_player");
    await this.requests.ask("block", { player, blocked });
  }

  async want(kind: PreferenceKind, wanted: boolean): Promise<void> {
    if (!PREFERENCE_KINDS.includes(kind)) throw new RangeError(`want: one of ${PREFERENCE_KINDS.join(", ")}`);
    await this.requests.ask("prefer", { kind, wanted });
  }

  /** Begins or ends to observe a room of another region; in the same series of numbers, with feeds or without. */
  async observe(room: string, wanted: boolean): Promise<void> {
    await this.requests.ask("observe", { room, wanted });
  }

  /** The player is in another region: what is known of feeds is of the one before. Topics begin anew. */
  leaveRegion(): void {
    this.requests.leaveRegion();
    this.feeds.clear();
    this.reads.clear();
    this.channels.clear();
  }

  /** Begins or ends to listen to a topic. What comes of one that is ended is not told any more. */
  async wantTopic(topic: string, wanted: boolean): Promise<void> {
    await this.topics.want(topic, wanted);
  }

  /** Up to the latest item if no other one is given. A mark on a room that the player has left stays here. */
  markRead(name: string, upto: FeedId | undefined): void {
    const mark = upto ?? this.channels.get(name)?.latest ?? null;
    if (mark === null) return;
    if (!isRoom(name) || !FEED_ID.test(mark)) throw new RangeError("markRead: no channel, or no place in one");
    this.channels.read(name, mark);
    if (this.channels.get(name)?.open) this.reads.mark(name, mark);
  }

  /** Nothing is answered any more. */
  leave(reason: string): void {
    this.requests.refuseAll("left", { reason });
  }

  take(frame: ServerFrame): void {
    const { name, body } = frame;
    switch (name) {
      case "said":
        return this.requests.settle("say", body.n, body);
      case "refused":
        return this.requests.refuse(body.n, body.code, body.facts);
      case "item":
        return this.heard(body);
      case "feed":
        return this.placed(body);
      case "page":
        return this.paged(body);
      case "counts":
        this.channels.count(body.channels);
        return this.requests.settle("unread", body.n, body);
      case "marked":
        this.reads.marked(body.of, body.upto);
        if (!this.channels.read(body.of, body.upto) && !this.requests.isAsked("unread")) void this.unread().catch(() => {});
        return;
      case "blocks":
        return this.blocked(body);
      case "preferences":
        return this.preferred(body);
      case "topics":
        this.topics.has(body.names);
        return this.requests.settle("topic", body.n, body);
      case "observed":
        return this.requests.settle("observe", body.n, body);
    }
  }

  /** Nothing can be answered now. */
  sendAgain(at: number): void {
    this.requests.sendAgain(at);
    this.reads.sendAgain(at);
  }

  /** Some frame without a number was not taken: of those here, that is a mark. */
  markAgain(at: number): void {
    this.reads.sendAgain(at);
  }

  /** This request was not taken: it is sent again then. */
  askAgain(n: number, at: number): void {
    this.requests.sendAgain(at, n);
  }

  /** This request never will be. */
  refuse(n: number, code: string, facts: Facts): void {
    this.requests.refuse(n, code, facts);
  }

  /** What to send now; it counts as sent. */
  takeDue(now: number, sector: string | null): ClientFrame[] {
    const reads = this.isOn ? this.reads.takeDue(now) : [];
    return [...this.requests.takeDue(now, sector), ...reads.map((read) => ({ read }))];
  }

  /** When to look again; null: nothing waits for its time only. */
  nextDue(): number | null {
    const times = [this.requests.nextDue(), this.isOn ? this.reads.nextDue() : null].filter((at) => at !== null);
    return times.length === 0 ? null : Math.min(...times);
  }

  private heard(item: Item): void {
    const topic = topicOf(item.of);
    if (topic !== null && !this.topics.isWanted(topic)) return;
    if (this.feeds.isNew(item.of, item)) {
      const message = messageOf(item, this.me);
      // What was on its way when the author was blocked.
      const isHeard = message !== null && (message.from === null || !this.blocks.has(message.from));
      if (isHeard && topic !== null) this.topics.heard(topic, message);
      else if (isHeard) this.channels.add(this.channelOf(item.of, item), message);
    }
    this.feeds.had(item.of, item);
  }

  private placed(place: FeedPlace): void {
    const topic = topicOf(place.of);
    if (topic !== null && !this.topics.isWanted(topic)) return;
    const placed = this.feeds.place(place);
    if (topic !== null) {
      if (placed !== null) this.topics.placed(topic, placed);
      return;
    }
    if (placed === "ended") this.reads.forget(place.of);
    if (placed !== null) this.channels.turned(place.of);
    if (placed === "gap") this.channels.gap(place.of);
  }

  /** Into the channels first, so that they have it when the promise is kept. */
  private paged(page: Page): void {
    // What was said in a topic is in no channel.
    if (topicOf(page.of) !== null) return this.requests.settle("history", page.n, page);
    const byChannel = new Map<string, Message[]>();
    for (const item of page.items) {
      const message = messageOf(item, this.me);
      if (message === null) continue;
      const name = this.channelOf(page.of, item);
      byChannel.set(name, [...(byChannel.get(name) ?? []), message]);
    }
    for (const [name, messages] of byChannel) this.channels.merge(name, messages);
    this.requests.settle("history", page.n, page);
  }

  private blocked(blocks: Blocks): void {
    this.blocks = new Set(blocks.players);
    if (typeof blocks.n === "number") this.requests.settle("block", blocks.n, blocks);
  }

  private preferred({ n, unwanted }: Preferences): void {
    this.unwanted = new Set(unwanted);
    this.channels.recount();
    // What the server counts is something else now; at the start of a session it is asked for already.
    if (this.isOn && (typeof n === "number" || !this.requests.isAsked("unread"))) void this.unread().catch(() => {});
    if (typeof n === "number") this.requests.settle("prefer", n, { n, unwanted });
  }

  private channelOf(of: string, { said }: PageItem): string {
    const it = known(said);
    return it === null ? of : channelOf(of, it, this.me);
  }

  /** Another player must neither see what this one heard, nor say what this one wanted to. */
  private forget(): void {
    this.requests.refuseAll("left", { reason: "another player" });
    this.feeds.clear();
    this.reads.clear();
    this.channels.clear();
    this.topics.clear();
  }

  private get me(): string {
    return this.player ?? "";
  }
}

function checkedRoom(name: string, sector: string | null): string {
  const room = name === HERE && sector !== null ? `sector:${sector}` : name;
  if (room !== HERE && !isRoom(room)) throw new Refused(room.startsWith("player:") ? "unknown_player" : "not_there");
  return room;
}

function checkedTopic(room: string): string {
  if (!isTopic(topicOf(room) ?? "")) throw new Refused("not_there");
  return room;
}
