// The transport of one player: a WebSocket to one node, and another one elsewhere when that ends.
// Must not know what the frames say, but for the ping that finds out whether anybody is there.

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 10_000;
const OPEN_WITHIN_MS = 3000;
const PING_EVERY_MS = 2000;
/** Nothing heard for so long, pings included: the connection is dead whatever the socket says. */
const SILENT_AFTER_MS = 6000;

// Close codes of the protocol after which connecting again by itself would be wrong.
const FINAL_CODES = new Set([1000, 1002, 1003, 1009, 4000, 4001, 4004, 4005]);
const BAD_TOKEN = 4003;

export class Connection {
  /**
   * `seek()` resolves to {token, urls}; `events` has `opened()`, `frame(frame)` and
   * `changed({state: "connecting" | "open" | "waiting" | "stopped", url, why})`.
   */
  constructor(seek, events) {
    this.seek = seek;
    this.events = events;
    this.socket = null;
    this.session = null;
    this.url = null;
    this.preferred = null;
    this.attempts = 0;
    this.rttMs = null;
    this.heardAt = 0;
    this.timers = new Set();
  }

  start() {
    this.attempts = 0;
    this.connect();
  }

  stop(why) {
    this.drop();
    this.events.changed({ state: "stopped", url: this.url, why });
  }

  /** Goes to this node now (null: to any, as it comes). */
  prefer(url) {
    this.preferred = url;
    if (url !== null && url !== this.url) this.again("asked for another node", 0);
  }

  send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  /** The server took us in: the next loss starts with short delays again. */
  welcomed() {
    this.attempts = 0;
    this.events.changed({ state: "open", url: this.url, why: "" });
  }

  /** Connects again after a delay with full jitter: nodes must not meet all their clients at one moment. */
  again(why, atLeastMs = 0) {
    this.drop();
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.attempts);
    this.attempts += 1;
    this.events.changed({ state: "waiting", url: this.url, why });
    this.after(atLeastMs + Math.random() * ceiling, () => this.connect());
  }

  async connect() {
    this.drop();
    try {
      this.session ??= await this.seek();
    } catch {
      return this.again("the demo does not answer");
    }
    this.url = this.choose(this.session.urls);
    this.events.changed({ state: "connecting", url: this.url, why: "" });
    const socket = new WebSocket(this.url, ["sectorbus.v1.json", `sectorbus.token.${this.session.token}`]);
    this.socket = socket;
    this.after(OPEN_WITHIN_MS, () => socket.readyState === WebSocket.CONNECTING && this.again("no answer"));
    socket.onopen = () => this.opened();
    socket.onmessage = (message) => this.heard(message.data);
    socket.onclose = (close) => this.closed(close);
  }

  /** The preferred node first; after a loss, or without a preference, the one behind the last. */
  choose(urls) {
    if (this.preferred && this.attempts <= 1 && urls.includes(this.preferred)) return this.preferred;
    const last = urls.indexOf(this.url);
    return urls[last < 0 ? Math.floor(Math.random() * urls.length) : (last + 1) % urls.length];
  }

  opened() {
    this.heardAt = performance.now();
    this.events.opened();
    this.every(PING_EVERY_MS, () => {
      if (performance.now() - this.heardAt > SILENT_AFTER_MS) this.again("silent");
      else this.send({ ping: { t: Math.round(performance.now()) } });
    });
  }

  heard(text) {
    this.heardAt = performance.now();
    const frame = JSON.parse(text);
    if (frame.pong) this.rttMs = Math.max(0, performance.now() - frame.pong.t);
    this.events.frame(frame);
  }

  closed({ code, reason }) {
    const why = reason || `closed (${code})`;
    if (FINAL_CODES.has(code)) return this.stop(why);
    // A handshake refused with 401 looks like any other failed one: ask for a new token after some.
    if (code === BAD_TOKEN || this.attempts % 4 === 3) this.session = null;
    this.again(code === 1006 ? "connection lost" : why);
  }

  /** Ends the socket, its events and all timers. */
  drop() {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  after(ms, act) {
    this.timers.add(setTimeout(act, ms));
  }

  every(ms, act) {
    this.timers.add(setInterval(act, ms));
  }
}
