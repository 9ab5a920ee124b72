// Frames as MessagePack, fields by number; `delta` is an array with a short form of its own.

import { decode, encode } from "@msgpack/msgpack";

import type { ClientFrame, ServerFrame } from "../frames.js";
import { BadFrame, checked } from "./schema.js";

export function encodeMsgpack(frame: ClientFrame): Uint8Array<ArrayBuffer> {
  return encode(frame, { ignoreUndefined: true });
}

export function decodeMsgpack(message: unknown): ServerFrame | null {
  const bytes = bytesOf(message);
  let decoded: unknown;
  try {
    decoded = decode(bytes);
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
