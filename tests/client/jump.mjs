// A player of the built client that jumps to another region and back in the middle of its actions, run by jump.rs:
// node jump.mjs <client.js> <what to play, as JSON>. Says at the end, as one JSON object, what it was told. Judges nothing;
// throws where what should come does not.

import { pathToFileURL } from "node:url";

const [clientFile, play] = process.argv.slice(2);
const { connect, Refused } = await import(pathToFileURL(clientFile));
const { urls, token, codec, jumps, statuses, resident } = JSON.parse(play);

const WITHIN_MS = 60_000;
const ASK_AGAIN_AFTER_MS = 100;
const STATUSES = ["away", "busy", "online"];

const told = { answers: [], regions: [], drops: [], reconnects: [], sessions: [], actors: [], sectors: [], observed: [] };
const changed = new Set();
/** Somebody plays in the other region, or nothing of it is to be seen. */
const there = connect({ ...resident, codec });
const client = connect({ urls, token, codec });
const on = (subscribe, listener) => subscribe((event) => {
  listener(event);
  for (const look of [...changed]) look();
});
on((it) => client.onState(it), ({ room }) => {
  told.sectors.push(room.sector);
  told.sessions.push(client.session.welcome.session);
  told.actors.push(client.session.welcome.actor);
});
on((it) => client.onDelta(it), () => {});
on((it) => client.onPopulation(it), () => {});
on((it) => client.onRegion(it), ({ region, sector, url }) => {
  // A node hears of a new address within 2 s.
  if (url !== null) told.regions.push([region, sector]);
});
on((it) => client.onDrop(it), ({ code }) => told.drops.push(code));
on((it) => client.onReconnect(it), ({ node }) => told.reconnects.push(node));
on((it) => client.onLeave(it), ({ name }) => (told.left = name));
on((it) => client.observed.subscribe(it), ({ kind, of, room, code }) => told.observed.push([kind, of ?? room.of, code ?? null]));

function until(what, isSo) {
  if (isSo()) return Promise.resolve();
  const { promise, resolve, reject } = Promise.withResolvers();
  const look = () => isSo() && resolve();
  const complain = () => reject(new Error(`not ${what} within ${WITHIN_MS} ms: ${client.state} ${JSON.stringify(told)}`));
  const timer = setTimeout(complain, WITHIN_MS);
  changed.add(look);
  return promise.finally(() => {
    clearTimeout(timer);
    changed.delete(look);
  });
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function ask(action) {
  const { seq, answer } = client.act(action);
  const outcome = await answer;
  told.answers.push([seq, "ack" in outcome ? "ack" : (outcome.reject?.code ?? "unknown")]);
  return outcome;
}

/** A drive that is not ready is asked again. */
async function fly(action) {
  for (;;) {
    const outcome = await ask(action);
    if ("ack" in outcome) return;
    if (outcome.reject?.code !== "cooling_down") throw new Error(JSON.stringify(outcome));
    const { ready_at, now } = outcome.reject.facts;
    await later(Math.max(0, ready_at - now));
  }
}

/** Its counts are mirrored when the regions have met. */
async function observe(room) {
  const deadline = Date.now() + WITHIN_MS;
  for (;;) {
    try {
      await client.observe(room);
      break;
    } catch (problem) {
      if (!(problem instanceof Refused) || problem.code !== "not_there" || Date.now() > deadline) throw problem;
      await later(ASK_AGAIN_AFTER_MS);
    }
  }
  await until(`shown ${room}`, () => client.observed.get(room)?.ofKind("counts").length === 1);
}

const ship = () => client.room.ofKind("ship").find(([, fields]) => fields.get("player") === client.player)?.[1];
const gate = (to) => client.room?.ofKind("gate").some(([, fields]) => fields.get("to") === to);

await until("live", () => client.state === "live" && ship() !== undefined);
// A node counts its players every second: of a region that was passed through before that, no counts are to be seen.
await until("counted", () => client.population !== null);
told.hop_before = ship().get("hop") ?? 0;
for (const to of jumps) {
  const [region, sector] = to.split(":");
  await until(`at a gate to ${to}`, () => gate(to));
  await observe(`global@${region}`);
  const reconnects = told.reconnects.length;
  const before = ask({ status: { status: "busy" } });
  await fly({ jump: { to } });
  // Asked for while nobody has the player: they wait, and are sent where it comes in.
  const meanwhile = Array.from({ length: statuses }, (_, n) => ask({ status: { status: STATUSES[n % STATUSES.length] } }));
  await until(`in ${to}`, () => told.reconnects.length > reconnects && client.region === region && client.room.sector === sector);
  await Promise.all([before, ...meanwhile]);
  await until("told that its own region is no other", () => told.observed.some(([kind, of]) => kind === "ended" && of === `global@${region}`));
}
await until("shown as it asked to be", () => ship()?.get("status") === STATUSES[(statuses - 1) % STATUSES.length]);
Object.assign(told, { hop: ship().get("hop"), verified: client.verified, pending: client.pending.length });
there.leave();
client.leave();
await until("gone", () => told.left !== undefined);
console.log(JSON.stringify(told));
