// What applications may use.

export { Client, connect } from "./client.js";
export type { Asked, ConnectOptions, DeltaEvent, Outcome, OwnEvent, RegionEvent, StateEvent } from "./client.js";
export type { PendingAction } from "./actions.js";
export type { Bell, BellItem } from "./bell.js";
export type { Member, Population, Team } from "./beside.js";
export type { Channel } from "./channel.js";
export type { ChannelEvent, ChannelsView } from "./channels.js";
export type { CallOutcome } from "./calls.js";
export type { CodecName } from "./codec/codec.js";
export { compose } from "./compose.js";
export { compareFeedIds, timeOf, type FeedId } from "./feedid.js";
export type { Entity } from "./copy.js";
export type {
  Action, Change, ChannelCount, Delta, Facts, FieldChanges, Json, Own, PlayerPresence, Source, Status, Value,
} from "./frames.js";
export type { ClientState, DropEvent, LeaveEvent } from "./link.js";
export type { Unsubscribe } from "./listeners.js";
export type { Answer } from "./marks.js";
export type { Message } from "./message.js";
export type { ObservedEvent, ObservedRoom, ObservedView } from "./observed.js";
export type { Passages } from "./passages.js";
export { PREFERENCE_KINDS, type PreferenceKind } from "./preferences.js";
export { Refused } from "./refused.js";
export type { RoomView } from "./room.js";
export type { LiveEvent, Notice } from "./session.js";
export type { Socket, SocketConstructor } from "./socket.js";
export type { HistoryPage, SaidPlace } from "./talk.js";
export type { TokenSource } from "./tokens.js";
export type { TopicEvent, TopicsView } from "./topics.js";
export { wordsOf } from "./words.js";
