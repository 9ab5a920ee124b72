// What each server frame must look like. A server is a socket like any other: what it sends is checked before use.
// Unknown fields are dropped, unknown frames are not an error; must not know what frames mean.

import * as v from "valibot";

import { NO_KEY } from "../carried.js";
import { FEED_ID } from "../feedid.js";
import type { Json, OtherSaid, ServerFrame, ServerFrames } from "../frames.js";
import { UNREADABLE } from "../said.js";

const integer = v.pipe(v.number(), v.safeInteger());
const natural = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const sum = v.pipe(natural, v.maxValue(0xffff_ffff));
const texts = v.array(v.string());
const value = v.union([integer, v.string()]);
const entryId = v.pipe(v.string(), v.regex(/^\d{1,16}-\d{1,16}$/));
const facts = mapOf(value);
/** Their names are the server's own, and many. */
const fields = v.record(v.string(), v.nullable(value));

const json: v.GenericSchema<unknown, Json> = v.lazy(() =>
  v.union([v.null(), v.boolean(), integer, v.string(), v.array(json), mapOf(json)]),
);

const marks = v.array(
  v.object({
    actor: natural,
    high: natural,
    bitmap: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/i)),
    answers: v.array(
      v.object({
        seq: natural,
        answer: v.union([v.literal("ack"), v.object({ reject: v.object({ code: v.string(), facts }) })]),
      }),
    ),
  }),
);

const snapshot = v.object({
  room: natural,
  sector: v.string(),
  id: entryId,
  owner: v.string(),
  sum,
  entities: v.array(v.object({ entity: natural, fields })),
  own: fields,
  own_sum: sum,
  marks,
  reason: v.string(),
});

const change = v.union([
  v.object({ entity: natural, removed: v.literal(true) }),
  v.object({ entity: natural, set: fields }),
]);

const feedId = v.pipe(v.string(), v.regex(FEED_ID));
const KNOWN_SAID = {
  chat: v.object({ chat: v.object({ from: v.string(), name: v.string(), text: v.string() }) }),
  private: v.object({ private: v.object({ from: v.string(), name: v.string(), to: v.string(), text: v.string() }) }),
  announcement: v.object({ announcement: v.object({ level: v.string(), text: v.string() }) }),
  notice: v.object({ notice: v.object({ kind: v.string(), level: v.string(), about: facts }) }),
  event: v.object({ event: v.object({ name: v.string(), level: v.string(), about: facts }) }),
};
/** A kind that is not known here is no error. */
const otherSaid = v.custom<OtherSaid>(
  (said) => typeof said === "object" && said !== null && !Object.keys(KNOWN_SAID).some((kind) => kind in said),
);
/**
 * What others chose is no reason to end the connection, which would bring the same again for ever: one of a known kind that
 * is not as it should be is passed over, and a reply's body too.
 */
const said = v.fallback(v.union([...Object.values(KNOWN_SAID), otherSaid]), UNREADABLE);
const body = v.union([json, v.pipe(v.unknown(), v.transform(() => undefined))]);
const item = { id: feedId, msg: v.string(), said };

type Schemas = { readonly [Name in keyof ServerFrames]: v.GenericSchema<unknown, ServerFrames[Name]> };

const SCHEMAS: Schemas = {
  welcome: v.object({
    session: v.string(),
    resume: v.string(),
    player: v.string(),
    actor: natural,
    features: texts,
    now_ms: natural,
    node: v.string(),
    heartbeat_ms: natural,
    resume_window_ms: natural,
    recovered: v.boolean(),
    source: v.picklist(["replica", "log", "snapshot"]),
    limits: v.object({
      frame_bytes: natural,
      text_bytes: natural,
      seq_window: natural,
      resync_every_ms: natural,
      realtime_frames_per_s: natural,
      frames_per_s: v.nullish(natural),
      actions_per_s: v.nullish(natural),
    }),
    fields: texts,
    pending: marks,
    head: v.nullish(entryId),
  }),
  snapshot,
  delta: v.object({ room: natural, from: natural, to: natural, sum, changes: v.array(change) }),
  own: v.object({ to: natural, sum, set: fields }),
  ack: v.object({ seq: natural, version: natural }),
  reject: v.object({ seq: natural, code: v.string(), facts, version: natural }),
  retry_after: v.object({ ms: natural }),
  unavailable: v.object({ retry_after_ms: natural }),
  moved: v.object({ from: v.string(), to: v.string(), snapshot }),
  owner: v.object({ room: natural, node: v.string(), epoch: natural, version: natural }),
  pong: v.object({ t: integer, now_ms: natural }),
  error: v.object({
    code: v.string(),
    detail: v.string(),
    retry: v.boolean(),
    seq: v.nullish(natural),
    n: v.nullish(natural),
    retry_after_ms: v.nullish(natural),
  }),
  expiring: v.object({ expires_ms: natural }),
  refreshed: v.object({ expires_ms: natural }),
  leaving: v.object({ reconnect_after_ms: natural }),
  elsewhere: v.object({
    region: v.string(),
    sector: v.nullish(v.string()),
    address: v.nullish(v.string()),
    ticket: v.nullish(v.string()),
  }),
  said: v.object({ n: natural, id: feedId, msg: v.string() }),
  refused: v.object({ n: natural, code: v.string(), facts }),
  item: v.object({ of: v.string(), ...item }),
  feed: v.object({ of: v.string(), at: feedId, why: v.string() }),
  page: v.object({ n: natural, of: v.string(), items: v.array(v.object(item)), before: v.nullish(feedId) }),
  marked: v.object({ of: v.string(), upto: feedId }),
  counts: v.object({
    n: natural,
    channels: v.array(v.object({ of: v.string(), upto: v.nullish(feedId), unread: natural, counted: feedId })),
  }),
  blocks: v.object({ n: v.nullish(natural), players: texts }),
  preferences: v.object({ n: v.nullish(natural), unwanted: texts }),
  topics: v.object({ n: natural, names: texts }),
  observed: v.object({ n: natural, rooms: v.array(v.object({ room: natural, of: v.string() })) }),
  room: v.object({
    room: natural,
    of: v.string(),
    id: entryId,
    owner: v.string(),
    sum,
    entities: v.array(v.object({ entity: natural, fields })),
    reason: v.string(),
  }),
  left: v.object({ room: natural, of: v.string() }),
  presence: v.object({
    players: v.array(
      v.object({
        player: v.string(),
        status: v.string(),
        devices: natural,
        last_seen_ms: v.nullish(natural),
        sector: v.nullish(v.string()),
      }),
    ),
  }),
  reply: v.object({ n: natural, service: v.string(), conversation: v.string(), body }),
  call_failed: v.object({ n: natural, code: v.string(), retry_after_ms: v.nullish(natural) }),
};

/** By whatever names there are: `v.record` hides some of them. Dropped is only the one that no codec carries. */
function mapOf<Item>(item: v.GenericSchema<unknown, Item>) {
  return v.pipe(
    v.custom<object>((map) => typeof map === "object" && map !== null && !Array.isArray(map)),
    v.rawTransform<object, Record<string, Item>>(({ dataset, addIssue, NEVER }) => {
      const items: [string, Item][] = [];
      for (const [key, each] of Object.entries(dataset.value)) {
        if (key === NO_KEY) continue;
        const result = v.safeParse(item, each, { abortEarly: true });
        if (!result.success) {
          addIssue({ path: [{ type: "object", origin: "value", input: dataset.value as Record<string, unknown>, key, value: each }] });
          return NEVER;
        }
        items.push([key, result.output]);
      }
      return Object.fromEntries(items);
    }),
  );
}

/** A message that is no frame of the protocol. */
export class BadFrame extends Error {
  override readonly name = "BadFrame";
}

/** Checks a map of one frame; null: a frame of a newer server. */
export function checked(decoded: unknown): ServerFrame | null {
  if (typeof decoded !== "object" || decoded === null || Array.isArray(decoded)) throw new BadFrame("not a map");
  const entries = Object.entries(decoded);
  const [entry] = entries;
  if (entry === undefined || entries.length !== 1) throw new BadFrame(`a map of ${entries.length}, not of one`);
  const [name, body] = entry;
  if (!isKnown(name)) return null;
  const result = v.safeParse(SCHEMAS[name], body, { abortEarly: true });
  if (!result.success) throw new BadFrame(`${name}: ${v.getDotPath(result.issues[0]) ?? "it"} is not as it should be`);
  return { name, body: result.output } as ServerFrame;
}

function isKnown(name: string): name is keyof ServerFrames {
  return Object.hasOwn(SCHEMAS, name);
}
