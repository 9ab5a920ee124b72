// The frames of sectorbus v1 as shared/PROTOCOL.md names them, in the form both codecs read and write.
// Types only. Fields of entities are keyed as the codec has them: by name in JSON, by number in MessagePack.

import type { FeedId } from "./feedid.js";

export type Value = number | string;
/** New values; null: the field is removed. */
export type FieldChanges = Readonly<Record<string, Value | null>>;
export type Fields = Readonly<Record<string, Value | null>>;
export type Facts = Readonly<Record<string, Value>>;

export interface Hello {
  readonly token?: string;
  readonly features: readonly string[];
  readonly resume?: string;
  /** In place of `resume`, in another region than before. */
  readonly ticket?: string;
  readonly cursor?: string;
  readonly sector?: string;
  readonly acked?: string;
  readonly actor?: number;
  readonly first_seq?: number;
  /** With the feature `feeds`: room by room the last item had. */
  readonly feeds?: Readonly<Record<string, FeedId>>;
}

/** A ship's presence as its player may choose it. */
export type Status = "online" | "away" | "busy";

export type Action =
  | { readonly move: { readonly to: string } }
  /** Through a gate; `to`: `<region>:<sector>`. */
  | { readonly jump: { readonly to: string } }
  | { readonly status: { readonly status: Status } }
  /** `target`: the alias of another player's ship, or of drones of another player. */
  | { readonly attack: { readonly target: number } };

/** What is called and answered. Numbers are whole, and at most 2^53 - 1 either way. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Call {
  readonly n: number;
  readonly service: string;
  readonly body: Json;
  readonly conversation?: string;
}

export interface CallReply {
  readonly n: number;
  readonly service: string;
  readonly conversation: string;
  /** undefined: nothing that a body may be. */
  readonly body?: Json | undefined;
}

export interface CallFailed {
  readonly n: number;
  readonly code: string;
  readonly retry_after_ms?: number | null | undefined;
}

export type ClientFrame =
  | { readonly hello: Hello }
  | { readonly act: { readonly seq: number; readonly action: Action } }
  | { readonly call: Call }
  | { readonly resync: Empty }
  | { readonly ping: { readonly t: number } }
  | { readonly refresh: { readonly token: string } }
  | { readonly logout: Empty }
  | { readonly bye: Empty }
  | { readonly say: { readonly n: number; readonly to: string; readonly text: string } }
  | { readonly history: { readonly n: number; readonly of: string; readonly before?: FeedId; readonly limit?: number } }
  | { readonly read: { readonly of: string; readonly upto: FeedId } }
  | { readonly unread: { readonly n: number } }
  | { readonly block: { readonly n: number; readonly player: string; readonly blocked: boolean } }
  | { readonly watch: { readonly players: readonly string[] } }
  | { readonly prefer: { readonly n: number; readonly kind: string; readonly wanted: boolean } }
  | { readonly topic: { readonly n: number; readonly name: string; readonly wanted: boolean } }
  | { readonly observe: { readonly n: number; readonly room: string; readonly wanted: boolean } };

export type Empty = Readonly<Record<string, never>>;

export type Source = "replica" | "log" | "snapshot";

export interface Limits {
  readonly frame_bytes: number;
  readonly text_bytes: number;
  readonly seq_window: number;
  readonly resync_every_ms: number;
  readonly realtime_frames_per_s: number;
  readonly frames_per_s?: number | null | undefined;
  /** Of one kind; 0 or absent: no limit. */
  readonly actions_per_s?: number | null | undefined;
}

/** An answer as marks keep it. */
export type MarkedAnswer = "ack" | { readonly reject: { readonly code: string; readonly facts: Facts } };

/** What is decided of one actor's actions. */
export interface Marks {
  readonly actor: number;
  readonly high: number;
  /** 32 hex digits: 128 bits, the highest first. */
  readonly bitmap: string;
  readonly answers: readonly { readonly seq: number; readonly answer: MarkedAnswer }[];
}

export interface Welcome {
  readonly session: string;
  readonly resume: string;
  readonly player: string;
  readonly actor: number;
  readonly features: readonly string[];
  readonly now_ms: number;
  readonly node: string;
  readonly heartbeat_ms: number;
  readonly resume_window_ms: number;
  readonly recovered: boolean;
  readonly source: Source;
  readonly limits: Limits;
  readonly fields: readonly string[];
  readonly pending: readonly Marks[];
  /** `<epoch>-<version>`: what `pending` and the frames that follow reach; with source `replica` or `log`. */
  readonly head?: string | null | undefined;
}

export interface Snapshot {
  readonly room: number;
  readonly sector: string;
  /** `<epoch>-<version>` */
  readonly id: string;
  readonly owner: string;
  readonly sum: number;
  readonly entities: readonly { readonly entity: number; readonly fields: Fields }[];
  readonly own: Fields;
  readonly own_sum: number;
  readonly marks: readonly Marks[];
  /** `join`, `moved`, `resync`, `gap`, `slow`, `lost`; a newer server may have more. */
  readonly reason: string;
}

export type Change =
  | { readonly entity: number; readonly set: FieldChanges }
  | { readonly entity: number; readonly removed: true };

export interface Delta {
  readonly room: number;
  readonly from: number;
  readonly to: number;
  readonly sum: number;
  readonly changes: readonly Change[];
}

export interface Own {
  readonly to: number;
  readonly sum: number;
  readonly set: FieldChanges;
}

export interface Ack {
  readonly seq: number;
  readonly version: number;
}

export interface Reject {
  readonly seq: number;
  readonly code: string;
  readonly facts: Facts;
  readonly version: number;
}

export interface Owner {
  readonly room: number;
  readonly node: string;
  readonly epoch: number;
  readonly version: number;
}

export interface Refusal {
  readonly code: string;
  readonly detail: string;
  readonly retry: boolean;
  /** Of the refused action. */
  readonly seq?: number | null | undefined;
  /** Of the refused request or call. */
  readonly n?: number | null | undefined;
  readonly retry_after_ms?: number | null | undefined;
}

/** One thing said in a feed. */
export type Said =
  | { readonly chat: { readonly from: string; readonly name: string; readonly text: string } }
  | { readonly private: { readonly from: string; readonly name: string; readonly to: string; readonly text: string } }
  | { readonly announcement: { readonly level: string; readonly text: string } }
  | { readonly notice: { readonly kind: string; readonly level: string; readonly about: Facts } }
  | { readonly event: { readonly name: string; readonly level: string; readonly about: Facts } };

/** One of a kind that only a newer client knows. */
export type OtherSaid = Readonly<Record<string, unknown>>;

export interface PageItem {
  readonly id: FeedId;
  readonly msg: string;
  readonly said: Said | OtherSaid;
}

export interface Item extends PageItem {
  readonly of: string;
}

export interface FeedPlace {
  readonly of: string;
  readonly at: FeedId;
  /** `started`, `gap`, `rewound`, `passed`, `ended`; a newer server may have more. */
  readonly why: string;
}

export interface SaidAt {
  readonly n: number;
  readonly id: FeedId;
  readonly msg: string;
}

export interface RefusedRequest {
  readonly n: number;
  readonly code: string;
  readonly facts: Facts;
}

export interface Page {
  readonly n: number;
  readonly of: string;
  readonly items: readonly PageItem[];
  readonly before?: FeedId | null | undefined;
}

export interface Marked {
  readonly of: string;
  readonly upto: FeedId;
}

export interface ChannelCount {
  readonly of: string;
  readonly upto?: FeedId | null | undefined;
  readonly unread: number;
  /** Items after this id were not counted. */
  readonly counted: FeedId;
}

export interface Counts {
  readonly n: number;
  readonly channels: readonly ChannelCount[];
}

export interface Blocks {
  readonly n?: number | null | undefined;
  readonly players: readonly string[];
}

/** Kinds that the player does not want to be told of. */
export interface Preferences {
  readonly n?: number | null | undefined;
  readonly unwanted: readonly string[];
}

/** All topics that the session has now. */
export interface TopicNames {
  readonly n: number;
  readonly names: readonly string[];
}

/** All rooms of other regions that the session is shown now. */
export interface ObservedRooms {
  readonly n: number;
  readonly rooms: readonly { readonly room: number; readonly of: string }[];
}

/** Which region has the player now. */
export interface Elsewhere {
  readonly region: string;
  /** Where they came in there. */
  readonly sector?: string | null | undefined;
  /** Where players connect there. */
  readonly address?: string | null | undefined;
  /** For `hello` there: as secret as a token. */
  readonly ticket?: string | null | undefined;
}

/** A room beside the sector: the team's (slot 1), `global` (slot 2), those of other regions (slots 3 to 6). */
export interface RoomSnapshot {
  readonly room: number;
  /** `team:<id>`, `global`, `sector:<id>@<region>` or `global@<region>`. */
  readonly of: string;
  /** `<epoch>-<version>` */
  readonly id: string;
  readonly owner: string;
  readonly sum: number;
  readonly entities: readonly { readonly entity: number; readonly fields: Fields }[];
  readonly reason: string;
}

/** What a watched player is shown as. */
export interface PlayerPresence {
  readonly player: string;
  /** `offline`, `away`, `busy`, `online`, `in_combat`; a newer server may have more. */
  readonly status: string;
  readonly devices: number;
  readonly last_seen_ms?: number | null | undefined;
  /** Of team mates only. */
  readonly sector?: string | null | undefined;
}

export interface ServerFrames {
  readonly welcome: Welcome;
  readonly snapshot: Snapshot;
  readonly delta: Delta;
  readonly own: Own;
  readonly ack: Ack;
  readonly reject: Reject;
  readonly retry_after: { readonly ms: number };
  readonly unavailable: { readonly retry_after_ms: number };
  readonly moved: { readonly from: string; readonly to: string; readonly snapshot: Snapshot };
  readonly owner: Owner;
  readonly pong: { readonly t: number; readonly now_ms: number };
  readonly error: Refusal;
  readonly expiring: { readonly expires_ms: number };
  readonly refreshed: { readonly expires_ms: number };
  readonly leaving: { readonly reconnect_after_ms: number };
  readonly elsewhere: Elsewhere;
  readonly said: SaidAt;
  readonly refused: RefusedRequest;
  readonly item: Item;
  readonly feed: FeedPlace;
  readonly page: Page;
  readonly marked: Marked;
  readonly counts: Counts;
  readonly blocks: Blocks;
  readonly preferences: Preferences;
  readonly topics: TopicNames;
  readonly observed: ObservedRooms;
  readonly room: RoomSnapshot;
  readonly left: { readonly room: number; readonly of: string };
  readonly presence: { readonly players: readonly PlayerPresence[] };
  readonly reply: CallReply;
  readonly call_failed: CallFailed;
}

/** Name and body, so that a `switch` on the name knows the body. */
export type ServerFrame = {
  [Name in keyof ServerFrames]: { readonly name: Name; readonly body: ServerFrames[Name] };
}[keyof ServerFrames];
