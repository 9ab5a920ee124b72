// One player whose tokens live for seconds, run by tokens.rs: node tokens.mjs <client.js> <what to play, as JSON>. Plays
// until its last token is in use and the ones before have expired, logs out, and says on stdout, as one line of
// JSON, what it was told. Judges nothing.

import { pathToFileURL } from "node:url";

const [clientFile, play] = process.argv.slice(2);
const { connect } = await import(pathToFileURL(clientFile));
const { url, codec, tokens, expired_ms: expiredMs } = JSON.parse(play);

const WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 50;

/** Waits until something is so. */
async function until(what, isSo) {
  const deadline = Date.now() + WITHIN_MS;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`not ${what} within ${WITHIN_MS} ms: ${JSON.stringify(told)}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

const told = { asked: 0, drops: [], refused: [], left: null };
const token = () => tokens[Math.min(told.asked++, tokens.length - 1)];
const client = connect({ urls: url, token, codec });
client.onDrop((event) => told.drops.push(event));
client.onNotice((notice) => notice.kind === "refused" && told.refused.push(notice));
client.onLeave((event) => (told.left = event));

await until("past its first tokens", () => told.asked >= tokens.length && Date.now() > expiredMs);
told.acked = "ack" in (await client.act({ status: { status: "busy" } }).answer);
client.logout();
await until("logged out", () => told.left !== null);

console.log(JSON.stringify(told));
