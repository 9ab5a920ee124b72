// Frames as JSON text, fields by name.

import type { ClientFrame, ServerFrame } from "../frames.js";
import { BadFrame, checked } from "./schema.js";

export function encodeJson(frame: ClientFrame): string {
  return JSON.stringify(frame);
}

export function decodeJson(message: unknown): ServerFrame | null {
  if (typeof message !== "string") throw new BadFrame("a binary message on a JSON connection");
  let decoded: unknown;
  try {
    decoded = JSON.parse(message);
  } catch {
    throw new BadFrame("not JSON");
  }
  return checked(decoded);
}
