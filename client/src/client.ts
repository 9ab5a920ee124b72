// The client as applications use it: joins the link (when and where to connect) and the session (what frames do).

import type { PendingAction } from "./actions.js";
import { bellOf, type Bell } from "./bell.js";
import type { Population, Team } from "./beside.js";
import type { CallOutcome } from "./calls.js";
import { carried } from "./carried.js";
import { CODECS, type CodecName } from "./codec/codec.js";
import type { ChannelsView } from "./channels.js";
import type { FeedId } from "./feedid.js";
import type { Action, ChannelCount, Delta, Json, Own, PlayerPresence } from "./frames.js";
import { Link, type ClientState, type DropEvent, type LeaveEvent } from "./link.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import type { Answer } from "./marks.js";
import type { ObservedView } from "./observed.js";
import type { Passages } from "./passages.js";
import type { PreferenceKind } from "./preferences.js";
import type { RoomView } from "./room.js";
import { Session, type LiveEvent, type Notice } from "./session.js";
import type { SocketConstructor } from "./socket.js";
import type { HistoryPage, SaidPlace, Talk } from "./talk.js";
import { Tokens, type TokenSource } from "./tokens.js";
import type { TopicsView } from "./topics.js";

/** A platform's timer fires at once if it is asked for more than it can count. */
const WAKE_WITHIN_MS = 60_000;
/** Of services and conversations. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

export interface ConnectOptions {
  /** Where nodes are, such as `wss://play.example/ws`. Of several one is chosen by chance, and the next after a loss. */
  readonly urls: string | readonly string[];
  /** The player's token, or how to get one: called at the start and whenever a new one is needed. */
  readonly token: TokenSource;
  /** Default: `msgpack`. */
  readonly codec?: CodecName;
  /** Chat and whatever else is said in feeds. Default: true. */
  readonly feeds?: boolean;
  /** Default: the platform's. */
  readonly WebSocket?: SocketConstructor;
  /** In [0, 1). Default: `Math.random`. */
  readonly random?: () => number;
  /** The client's clock in ms, which must not go back. Default: the platform's monotonic one. */
  readonly now?: () => number;
}

/** What became of an action. Unknown: the client left before the answer was there. */
export type Outcome = Answer | { readonly unknown: { readonly reason: string } };

export interface Asked {
  readonly seq: number;
  /** Comes exactly once, whatever happens to connections in between; never rejects. */
  readonly answer: Promise<Outcome>;
}

export interface StateEvent {
  readonly room: RoomView;
  /** Why everything was replaced, as PROTOCOL.md names it: `join`, `moved`, `resync`, … */
  readonly reason: string;
}

export interface DeltaEvent {
  readonly room: RoomView;
  /** Fields by name, in either codec. */
  readonly delta: Delta;
}

export interface OwnEvent {
  readonly room: RoomView;
  readonly own: Own;
}

/** Which region has the player. */
export interface RegionEvent {
  /** null: that of `urls`, of which no name was told. */
  readonly region: string | null;
  /** Where the player came in there, if that was told. */
  readonly sector: string | null;
  /** Where this client goes for that; null: it was not told where (it asks again), or to go where it does not, and leaves. */
  readonly url: string | null;
}

/** Connects, and stays connected until `leave` or a close code that forbids to come back. */
export function connect(options: ConnectOptions): Client {
  return new Client(options);
}

export class Client {
  private readonly now_: () => number;
  private readonly session: Session;
  private readonly link: Link;
  private readonly callers = new Map<number, (outcome: CallOutcome) => void>();
  private readonly resolvers = new Map<PendingAction, (outcome: Outcome) => void>();
  private readonly heard = {
    state: new Listeners<StateEvent>(),
    delta: new Listeners<DeltaEvent>(),
    own: new Listeners<OwnEvent>(),
    team: new Listeners<Team | null>(),
    population: new Listeners<Population | null>(),
    presence: new Listeners<readonly PlayerPresence[]>(),
    passages: new Listeners<Passages>(),
    notice: new Listeners<Notice>(),
    drop: new Listeners<DropEvent>(),
    reconnect: new Listeners<LiveEvent>(),
    leave: new Listeners<LeaveEvent>(),
    region: new Listeners<RegionEvent>(),
  };
  /** Where the node that has last taken this client is. */
  private taken: RegionEvent = { region: null, sector: null, url: null };
  /** Where the player is. */
  private where = this.taken;
  private wakeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectOptions) {
    const { heard } = this;
    const { codec = "msgpack", feeds = true, random = Math.random, now = platformNow } = options;
    this.now_ = now;
    this.session = new Session({
      send: (frame) => this.link.send(frame),
      settled: (action, answer) => this.settled(action, answer),
      called: (n, outcome) => {
        this.callers.get(n)?.(outcome);
        this.callers.delete(n);
      },
      welcomed: () => this.welcomed(),
      elsewhere: ({ region, sector, address }) => this.isIn({ region, sector, url: this.link.elsewhere(address) }),
      live: (event) => {
        if (this.link.becameLive()) heard.reconnect.emit(event);
      },
      state: (event) => heard.state.emit(event),
      delta: (event) => heard.delta.emit(event),
      own: (event) => heard.own.emit(event),
      team: (team) => heard.team.emit(team),
      population: (population) => heard.population.emit(population),
      presence: (changed) => heard.presence.emit(changed),
      passages: (passages) => heard.passages.emit(passages),
      notice: (notice) => heard.notice.emit(notice),
      leaving: (reconnectAfterMs) => this.link.leaving(reconnectAfterMs),
      expiring: () => void this.link.refresh(),
      refreshed: () => this.link.refreshed(),
      notRefreshed: (retryAfterMs) => this.link.notRefreshed(retryAfterMs),
      restart: (why) => this.link.restart(why),
    }, feeds);
    this.link = new Link(
      {
        urls: checkedUrls(options.urls),
        tokens: new Tokens(options.token),
        codec: CODECS[codec],
        WebSocket: options.WebSocket ?? platformWebSocket(),
        random,
        now,
      },
      {
        hello: (token, there) => ({ hello: this.session.hello(token, there) }),
        frame: (frame) => {
          this.session.take(frame, now());
          this.wakeWhenDue();
        },
        dropped: (event) => {
          this.session.dropped();
          heard.drop.emit(event);
        },
        left: (event) => this.left(event),
      },
    );
  }

  get state(): ClientState {
    return this.link.state;
  }

  /** The sector as this client has it; null before the first state. Kept while reconnecting. */
  get room(): RoomView | null {
    return this.session.room;
  }

  /** The last checksum agreed, and no version is missing. */
  get verified(): boolean {
    return this.session.verified;
  }

  /** The token's `sub`; null before the first welcome. */
  get player(): string | null {
    return this.session.welcome?.player ?? null;
  }

  /** Name of the node this client is or was last connected to; null before the first welcome. */
  get node(): string | null {
    return this.session.welcome?.node ?? null;
  }

  /** Name of the region that the player is in; null: that of `urls`, as long as nobody has told another. */
  get region(): string | null {
    return this.where.region;
  }

  /** Way to the node and back in ms, of the latest ping; null before the first. */
  get rttMs(): number | null {
    return this.session.clock.rtt;
  }

  /** Actions without an answer, in the order of seq. */
  get pending(): readonly PendingAction[] {
    return this.session.actions.pending;
  }

  /** The region's time in ms since 1970, as well as this client knows it. */
  now(): number {
    return this.now_() + this.session.clock.offset;
  }

  /**
   * Asks for a change of state. May be called at any time before the client has left: it is sent when it can be. Throws a
   * RangeError for what no frame can carry.
   */
  act(action: Action): Asked {
    if (this.state === "left") throw new Error("act: this client has left");
    const pending = this.session.add(carried("act", action) as Action, this.now_());
    const answer = new Promise<Outcome>((resolve) => this.resolvers.set(pending, resolve));
    this.wake();
    return { seq: pending.seq, answer };
  }

  /**
   * Says something in `global`, `sector` (where the player is now), `sector:<id>`, `team:<id>`, or to `player:<id>`. It is
   * said once, whatever happens to connections in between; after a jump perhaps in both regions. Rejects with `Refused`.
   */
  say(to: string, text: string): Promise<SaidPlace> {
    return this.asked("say", (talk) => talk.say(to, text, this.session.sector));
  }

  /**
   * What was said before in a channel, from the end or before an item; 50 messages, or up to `limit` (1 to 100). They are
   * in `channels` then; of a topic (`topic:<name>`) they are not. Rejects with `Refused`.
   */
  history(of: string, before: FeedId | null = null, limit: number | null = null): Promise<HistoryPage> {
    return this.asked("history", (talk) => talk.history(of, before, limit, this.session.sector));
  }

  /** What the server counts as unread; `channels` keep it up to date by themselves. Rejects with `Refused`. */
  unread(): Promise<readonly ChannelCount[]> {
    return this.asked("unread", (talk) => talk.unread());
  }

  /** The player has read a channel, up to its latest message or the one given; on every device. */
  markRead(of: string, upto?: FeedId): void {
    this.session.talk.markRead(of, upto);
    this.wake();
  }

  /** From now on nothing that this player says is heard; or it is again. Rejects with `Refused`. */
  block(player: string, blocked: boolean): Promise<void> {
    return this.asked("block", (talk) => talk.block(player, blocked));
  }

  /** Whom this player blocks. */
  get blocks(): ReadonlySet<string> {
    return this.session.talk.blocks;
  }

  /** What was said, channel by channel, and how much of it is unread. */
  get channels(): ChannelsView {
    return this.session.talk.channels;
  }

  /** What was told by nobody who plays, over all channels, and how much of everything is unread; of this moment. */
  get bell(): Bell {
    return bellOf(this.channels);
  }

  /** Whether this player wants to be told of such things, on every device. Rejects with `Refused`. */
  want(kind: PreferenceKind, wanted: boolean): Promise<void> {
    return this.asked("want", (talk) => talk.want(kind, wanted));
  }

  /** Kinds that this player does not want to be told of; `channels` tell of a change. */
  get unwanted(): ReadonlySet<string> {
    return this.session.talk.unwanted;
  }

  /** From now on what is said in this topic is told by `topics`, over all reconnects. Rejects with `Refused`. */
  subscribe(topic: string): Promise<void> {
    return this.asked("subscribe", (talk) => talk.wantTopic(topic, true));
  }

  /** Nothing of it is told any more. Rejects with `Refused`. */
  unsubscribe(topic: string): Promise<void> {
    return this.asked("unsubscribe", (talk) => talk.wantTopic(topic, false));
  }

  /** What is said in the topics that were asked for. */
  get topics(): TopicsView {
    return this.session.talk.topics;
  }

  /**
   * Looks at a room of another region, `sector:<id>@<region>` or `global@<region>`, from now on and over all reconnects; `observed`
   * has it. Rejects with `Refused`: it is not mirrored here (`not_there`), or 4 others are (`too_many`).
   */
  observe(room: string): Promise<void> {
    return this.wantsToSee(room, true);
  }

  /** It is not shown any more. Rejects with `Refused`. */
  unobserve(room: string): Promise<void> {
    return this.wantsToSee(room, false);
  }

  /** Rooms of other regions, to look at and nothing else. */
  get observed(): ObservedView {
    return this.session.observed;
  }

  /** The player's team, as its room has it now; null: none, or not known yet on this connection. */
  get team(): Team | null {
    return this.session.beside.team;
  }

  /** How many play; null: not known yet on this connection. */
  get population(): Population | null {
    return this.session.beside.population;
  }

  /** Whose presence to be told of from now on, at most 100 players; in place of those before. */
  watch(players: readonly string[]): void {
    this.session.presence.watch(players);
    this.wake();
  }

  /** Of the players watched those who are known. */
  get presence(): ReadonlyMap<string, PlayerPresence> {
    return this.session.presence.known;
  }

  /**
   * Asks a worker of a service. Comes exactly once, over all reconnects, and never rejects. `conversation`: that of an earlier
   * reply, which this goes on from. Throws a RangeError for what the server would not take; half a surrogate pair in a text of
   * `body` becomes U+FFFD.
   */
  call(service: string, body: Json, conversation?: string): Promise<CallOutcome> {
    if (this.state === "left") throw new Error("call: this client has left");
    if (!NAME.test(service)) throw new RangeError("call: a service is a name");
    if (conversation !== undefined && !NAME.test(conversation)) throw new RangeError("call: a conversation is as a reply named it");
    const n = this.session.calls.add(service, body, conversation);
    const outcome = new Promise<CallOutcome>((resolve) => this.callers.set(n, resolve));
    this.wake();
    return outcome;
  }

  /** Goes to this one of its urls now, and back to it when it can; null: any will do. */
  prefer(url: string | null): void {
    this.link.prefer(url);
  }

  /** The player leaves now, without grace or resume window. `onLeave` follows. */
  leave(): void {
    this.link.leave({ bye: {} });
  }

  /**
   * The player leaves now and the session ends for good: nobody can resume it. Said as soon as the client is connected;
   * `onLeave` with the name `logged_out` says that it is done.
   */
  logout(): void {
    this.link.logout({ logout: {} });
  }

  /** Everything was replaced: the first state, another sector, a repair. */
  onState(listener: (event: StateEvent) => void): Unsubscribe {
    return this.heard.state.add(listener);
  }

  /** The sector changed. */
  onDelta(listener: (event: DeltaEvent) => void): Unsubscribe {
    return this.heard.delta.add(listener);
  }

  /** What only this player sees changed. */
  onOwn(listener: (event: OwnEvent) => void): Unsubscribe {
    return this.heard.own.add(listener);
  }

  /** Who is in the team, or how they are, changed; null: there is none now. */
  onTeam(listener: (team: Team | null) => void): Unsubscribe {
    return this.heard.team.add(listener);
  }

  onPopulation(listener: (population: Population | null) => void): Unsubscribe {
    return this.heard.population.add(listener);
  }

  /** How watched players are: at once, and after every change. */
  onPresence(listener: (changed: readonly PlayerPresence[]) => void): Unsubscribe {
    return this.heard.presence.add(listener);
  }

  /** Ships came into the sector or left it; not this player's own. */
  onPassages(listener: (passages: Passages) => void): Unsubscribe {
    return this.heard.passages.add(listener);
  }

  onNotice(listener: (notice: Notice) => void): Unsubscribe {
    return this.heard.notice.add(listener);
  }

  /** The connection is gone; the client connects again by itself. */
  onDrop(listener: (event: DropEvent) => void): Unsubscribe {
    return this.heard.drop.add(listener);
  }

  /** Playing again. Where the state was replaced, `onState` follows. */
  onReconnect(listener: (event: LiveEvent) => void): Unsubscribe {
    return this.heard.reconnect.add(listener);
  }

  /** It is over: this client does not connect again. */
  onLeave(listener: (event: LeaveEvent) => void): Unsubscribe {
    return this.heard.leave.add(listener);
  }

  /** Another region has the player: this client goes there by itself, `onDrop` and `onReconnect` follow. */
  onRegion(listener: (event: RegionEvent) => void): Unsubscribe {
    return this.heard.region.add(listener);
  }

  private isIn(where: RegionEvent): void {
    const before = this.where;
    this.where = where;
    if (where.region !== before.region || where.url !== before.url) this.heard.region.emit(where);
  }

  /** Where it was told to go, or where it was before, if the player is there after all. */
  private welcomed(): void {
    if (this.link.welcomed()) this.taken = this.where;
    else this.isIn(this.taken);
  }

  private wantsToSee(room: string, wanted: boolean): Promise<void> {
    if (this.state === "left") throw new Error("observe: this client has left");
    const done = this.session.observed.want(room, wanted);
    this.wake();
    return done;
  }

  private settled(action: PendingAction, outcome: Outcome): void {
    this.resolvers.get(action)?.(outcome);
    this.resolvers.delete(action);
  }

  /** Sends what can be sent of it. */
  private asked<Answer>(what: string, ask: (talk: Talk) => Promise<Answer>): Promise<Answer> {
    if (this.state === "left") throw new Error(`${what}: this client has left`);
    if (!this.session.feeds) throw new Error(`${what}: connected without feeds`);
    const answer = ask(this.session.talk);
    this.wake();
    return answer;
  }

  private left(event: LeaveEvent): void {
    clearTimeout(this.wakeTimer);
    this.session.dropped();
    this.session.talk.leave(event.name);
    for (const pending of this.pending) this.settled(pending, { unknown: { reason: event.name } });
    this.session.calls.settleAll("left");
    this.heard.leave.emit(event);
  }

  private wake(): void {
    this.session.flush(this.now_());
    this.wakeWhenDue();
  }

  private wakeWhenDue(): void {
    clearTimeout(this.wakeTimer);
    const at = this.session.wakeAt(this.now_());
    if (at === null) return;
    const delay = Math.min(WAKE_WITHIN_MS, Math.max(0, at - this.now_()));
    this.wakeTimer = setTimeout(() => this.wake(), delay);
  }
}

/** Counts in ms since 1970 and never goes back. */
function platformNow(): number {
  return performance.timeOrigin + performance.now();
}

function platformWebSocket(): SocketConstructor {
  const found = (globalThis as { WebSocket?: unknown }).WebSocket;
  if (typeof found !== "function") throw new TypeError("WebSocket: this platform has none, pass a constructor");
  return found as SocketConstructor;
}

function checkedUrls(given: string | readonly string[]): readonly string[] {
  const urls = typeof given === "string" ? [given] : [...given];
  if (urls.length === 0) throw new RangeError("urls: at least one is needed");
  for (const url of urls) {
    if (!/^wss?:$/.test(new URL(url).protocol)) throw new RangeError("urls: only ws: and wss: are accepted");
  }
  return urls;
}
