// Frames as MessagePack, fields by number; `delta` is an array with a short form of its own.

import { decode, encode } from "@msgpack/msgpack";

import { NO_KEY } from "../carried.js";
import type { ClientFrame, ServerFrame } from "../frames.js";
import { BadFrame, checked } from "./schema.js";

/** A property by this name is in nobody's way. */
const DROPPED = Symbol("a key that is dropped");
const UTF8 = new TextDecoder();

/** The library throws at this key, with all that is around it: whoever wrote it would keep the player away for ever. */
const WITHOUT_NO_KEY = {
  keyDecoder: {
    canBeCached: (length: number): boolean => length === NO_KEY.length,
    decode(all: Uint8Array, at: number, length: number): string {
      const key = UTF8.decode(all.subarray(at, at + length));
      return key === NO_KEY ? (DROPPED as unknown as string) : key;
    },
  },
  mapKeyConverter(key: unknown): string | number {
    if (typeof key === "string" || typeof key === "number" || key === DROPPED) return key as string | number;
    throw new TypeError("a key that is neither text nor number");
  },
};

export function encodeMsgpack(frame: ClientFrame): Uint8Array<ArrayBuffer> {
  return encode(frame, { ignoreUndefined: true });
}

export function decodeMsgpack(message: unknown): ServerFrame | null {
  const bytes = bytesOf(message);
  let decoded: unknown;
  try {
    decoded = decode(bytes, WITHOUT_NO_KEY);
  } catch {
    throw new BadFrame("not MessagePack");
  }
  return checked(Array.isArray(decoded) ? { delta: longForm(decoded) } : decoded);
}

/** Browsers give an ArrayBuffer, some libraries a view of one. */
function bytesOf(message: unknown): ArrayBuffer | Uint8Array {
  if (message instanceof ArrayBuffer || message instanceof Uint8Array) return message;
  throw new BadFrame("a text message on a MessagePack connection");
}

/** `[room, versions, sum, change, change, …]` as the map that JSON has. */
function longForm([room, versions, sum, ...changes]: unknown[]): unknown {
  const [from, to] = Array.isArray(versions) ? (versions as unknown[]) : [previous(versions), versions];
  return { room, from, to, sum, changes: changes.map(longChange) };
}

function previous(version: unknown): unknown {
  return typeof version === "number" ? version - 1 : undefined;
}

/** `[alias, field, value, field, value, …]`; the alias alone: removed. */
function longChange(change: unknown): unknown {
  if (!Array.isArray(change) || change.length % 2 === 0) throw new BadFrame("delta: a change is no array of pairs");
  const [entity, ...pairs] = change as unknown[];
  if (pairs.length === 0) return { entity, removed: true };
  const set: [string, unknown][] = [];
  for (let at = 0; at < pairs.length; at += 2) set.push([String(pairs[at]), pairs[at + 1]]);
  return { entity, set: Object.fromEntries(set) };
}
