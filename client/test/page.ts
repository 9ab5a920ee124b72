// Reads shared/PROTOCOL.md and shared/vectors: what the tests compare the client with.

import { readFileSync } from "node:fs";

import type { FieldChanges, Fields, MarkedAnswer, Marks, Value } from "../src/frames.js";

const shared = (name: string): string => readFileSync(new URL(`../../shared/${name}`, import.meta.url), "utf8");

export const PAGE = shared("PROTOCOL.md");
export const VECTORS = JSON.parse(shared("vectors/state.json")) as Vectors;

export type Entities = Record<string, Fields>;
export type Changes = Record<string, FieldChanges | null>;
export interface VectorDelta {
  readonly from: number;
  readonly to: number;
  readonly sum: number;
  readonly changes: Changes;
}
export type MarksOutcome = string | { readonly answer: MarkedAnswer };

/** What is meant by each is said in the file's own `about`. */
interface Vectors {
  readonly field_names: string[];
  readonly field_hash: { entity: number; field: number; value: Value; canonical: string; hash: number }[];
  readonly part_sum: { entities: Entities; sum: number }[];
  readonly own_sum: { fields: Fields; sum: number }[];
  readonly apply: { what: string; state: Entities; changes: Changes; result: Entities; sum: number }[];
  readonly compose: {
    what: string;
    first: VectorDelta;
    second: VectorDelta;
    composed: VectorDelta;
    states: Record<string, Entities>;
  }[];
  readonly snapshot: {
    what: string;
    json: unknown;
    msgpack: string;
    epoch: number;
    version: number;
    sum: number;
    own_sum: number;
  }[];
  readonly marks: { what: string; marks: Marks; outcomes: Record<string, MarksOutcome> }[];
}

export interface Example {
  readonly json: string;
  readonly msgpack: Uint8Array;
}

/** Each frame of the page: its JSON, then the same frame in MessagePack. */
export function examples(): Example[] {
  const pairs = PAGE.matchAll(/```json\n([^`]+)\n```\n```msgpack\n([^`]+)\n```/g);
  return [...pairs].map(([, json = "", hex = ""]) => ({ json, msgpack: bytes(hex) }));
}

export function bytes(hex: string): Uint8Array {
  const digits = hex.replace(/\s/g, "");
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) => Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16));
}

/** Rows of the table whose head is this, as cells without backticks. */
export function table(head: string): string[][] {
  const after = PAGE.split(`${head}\n`)[1];
  if (after === undefined) throw new Error(`no table ${head}`);
  const rows = after.split("\n\n")[0]?.split("\n").slice(1) ?? [];
  return rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", "")));
}
