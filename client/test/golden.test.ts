// The examples of PROTOCOL.md in both codecs: what the client writes and reads is what the page says.

import { expect, test } from "vitest";

import { CODECS } from "../src/codec/codec.js";
import { FieldNames } from "../src/fields.js";
import type { ClientFrame } from "../src/frames.js";
import { bytes, examples, PAGE, VECTORS } from "./page.js";

const CLIENT_FRAMES = [
  ...["hello", "act", "resync", "ping", "refresh", "logout", "bye"],
  ...["say", "history", "read", "unread", "block", "watch", "call", "prefer", "topic", "observe"],
];
const names = new FieldNames(VECTORS.field_names);

const nameOf = (json: string): string => Object.keys(JSON.parse(json) as object)[0] ?? "";
const all = examples().map((example) => ({ ...example, name: nameOf(example.json) }));
const sent = all.filter(({ name }) => CLIENT_FRAMES.includes(name));
const received = all.filter(({ name }) => !CLIENT_FRAMES.includes(name));

/** The same with every field under its name. */
function named(value: unknown, at = ""): unknown {
  if (Array.isArray(value)) return value.map((each) => named(each));
  if (typeof value !== "object" || value === null) return value;
  if (["fields", "own", "set"].includes(at)) return names.ofChanges(value as Record<string, number>);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, named(each, key)]));
}

test("the page has examples of every frame", () => {
  const described = CLIENT_FRAMES.filter((name) => PAGE.includes(`### ${name}\n`));
  expect(new Set(sent.map(({ name }) => name))).toEqual(new Set(described));
  expect(received.length).toBeGreaterThan(15);
});

test.each(sent)("$name is written as the page has it: $json", ({ json, msgpack }) => {
  const frame = JSON.parse(json) as ClientFrame;
  expect(CODECS.json.encode(frame)).toBe(json);
  expect(CODECS.msgpack.encode(frame)).toEqual(msgpack);
});

test.each(received)("$name is read alike in both codecs: $json", ({ name, json, msgpack }) => {
  const body = (JSON.parse(json) as Record<string, unknown>)[name];
  expect(CODECS.json.decode(json)).toEqual({ name, body });
  const decoded = CODECS.msgpack.decode(msgpack);
  expect(decoded?.name).toBe(name);
  const isState = ["snapshot", "moved", "delta", "own", "room"].includes(name);
  expect(isState ? { ...(named({ body: decoded?.body }) as object) } : { body: decoded?.body }).toEqual({ body });
});

test("a frame of a newer server and unknown fields are ignored", () => {
  expect(CODECS.json.decode('{"weather":{"rain":true}}')).toBeNull();
  expect(CODECS.msgpack.decode(bytes("81 a1 78 80"))).toBeNull();
  expect(CODECS.json.decode('{"pong":{"t":1,"now_ms":2,"mood":"fine"}}')).toEqual({ name: "pong", body: { t: 1, now_ms: 2 } });
});

test.each([
  "",
  "nothing",
  "[]",
  "null",
  "{}",
  '{"pong":{"t":1,"now_ms":2},"ack":{}}',
  '{"pong":{"t":"1","now_ms":2}}',
  '{"ack":{"seq":1.5,"version":1}}',
  '{"ack":{"seq":-1,"version":1}}',
  '{"own":{"to":1,"sum":4294967296,"set":{}}}',
  '{"delta":{"room":0,"from":1,"to":2,"sum":0,"changes":[{"entity":1}]}}',
  '{"delta":{"room":0,"from":1,"to":2,"sum":0,"changes":[{"entity":1,"set":{"x":[1]}}]}}',
])("JSON that is no frame is refused: %s", (text) => {
  expect(() => CODECS.json.decode(text)).toThrow(expect.objectContaining({ name: "BadFrame" }));
});

test.each([
  ["", "nothing"],
  ["c1", "a byte that MessagePack does not use"],
  ["90", "an empty delta"],
  ["94 00 07 00 05", "a change that is no array"],
  ["94 00 07 00 92 05 05", "a field without its value"],
  ["94 00 a1 78 00 91 05", "a version that is a text"],
  ["81 a3 61 63 6b", "cut off"],
])("MessagePack that is no frame is refused: %s (%s)", (hex) => {
  expect(() => CODECS.msgpack.decode(bytes(hex))).toThrow(expect.objectContaining({ name: "BadFrame" }));
});

test("a message of the other codec's kind is refused", () => {
  expect(() => CODECS.json.decode(new ArrayBuffer(1))).toThrow("binary");
  expect(() => CODECS.msgpack.decode("{}")).toThrow("text");
});
