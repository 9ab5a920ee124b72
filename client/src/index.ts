// What applications may use.

export { Client, connect } from "./client.js";
export type { Asked, ConnectOptions, DeltaEvent, Outcome, OwnEvent, StateEvent } from "./client.js";
export type { PendingAction } from "./actions.js";
export type { Channel, Message } from "./channel.js";
export type { ChannelEvent, ChannelsView } from "./channels.js";
export type { CallOutcome } from "./calls.js";
export type { CodecName } from "./codec/codec.js";
export { compose } from "./compose.js";
export { compareFeedIds, timeOf, type FeedId } from "./feedid.js";
export type { Action, Change, ChannelCount, Delta, Facts, FieldChanges, Json, Own, Source, Status, Value } from "./frames.js";
export type { ClientState, DropEvent, LeaveEvent } from "./link.js";
export type { Unsubscribe } from "./listeners.js";
export type { Answer } from "./marks.js";
export { Refused } from "./refused.js";
export type { Entity, RoomView } from "./room.js";
export type { LiveEvent, Notice } from "./session.js";
export type { Socket, SocketConstructor } from "./socket.js";
export type { HistoryPage, SaidPlace } from "./talk.js";
export type { TokenSource } from "./tokens.js";
