// What applications may use.

export { Client, connect } from "./client.js";
export type { Asked, ConnectOptions, DeltaEvent, Outcome, OwnEvent, StateEvent } from "./client.js";
export type { PendingAction } from "./actions.js";
export type { CallOutcome } from "./calls.js";
export type { CodecName } from "./codec/codec.js";
export { compose } from "./compose.js";
export type { Action, Change, Delta, Facts, FieldChanges, Json, Own, Source, Status, Value } from "./frames.js";
export type { ClientState, DropEvent, LeaveEvent } from "./link.js";
export type { Unsubscribe } from "./listeners.js";
export type { Answer } from "./marks.js";
export type { Entity, RoomView } from "./room.js";
export type { LiveEvent, Notice } from "./session.js";
export type { Socket, SocketConstructor } from "./socket.js";
export type { TokenSource } from "./tokens.js";
