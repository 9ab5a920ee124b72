// The two codecs under one name each. Chosen once per connection, by subprotocol.

import type { ClientFrame, ServerFrame } from "../frames.js";
import { decodeJson, encodeJson } from "./json.js";
import { decodeMsgpack, encodeMsgpack } from "./msgpack.js";

export type CodecName = "msgpack" | "json";

export interface Codec {
  readonly subprotocol: string;
  encode(frame: ClientFrame): string | Uint8Array<ArrayBuffer>;
  /** null: a frame of a newer server, to be ignored. Throws `BadFrame`. */
  decode(message: unknown): ServerFrame | null;
}

export const CODECS: Readonly<Record<CodecName, Codec>> = {
  msgpack: { subprotocol: "sectorbus.v1.msgpack", encode: encodeMsgpack, decode: decodeMsgpack },
  json: { subprotocol: "sectorbus.v1.json", encode: encodeJson, decode: decodeJson },
};
