// What one player listens to beside their rooms: asks for topics by name, and shows what is told in them. Shows the client's
// topics; must not know frames. Whatever is in it was chosen by somebody: it only ever goes in as text, each in a <bdi>.

import { wordsOf } from "./client.js";
import { make, refill, setText } from "./dom.js";

const ITEMS_SHOWN = 30;

export class TopicsPanel {
  /** `root` is the topics' part of the pane. */
  constructor(root) {
    const find = (name) => root.querySelector(`[data-topics="${name}"]`);
    this.parts = Object.fromEntries(["why", "ask", "names", "list"].map((name) => [name, find(name)]));
    this.client = null;
    this.items = [];
    const { ask } = this.parts;
    ask.onsubmit = (event) => {
      event.preventDefault();
      const topic = ask.elements.topic.value;
      this.tell((client) => client.subscribe(topic));
      ask.reset();
    };
  }

  /** Another client: nothing of the last one's is shown any more. */
  attach(client) {
    this.client = client;
    this.items = [];
    client.topics.subscribe(({ kind, topic, message, code }) => {
      if (client !== this.client) return;
      if (kind === "item") this.items = [...this.items, { topic, message }].slice(-ITEMS_SHOWN);
      if (kind === "ended") setText(this.parts.why, `${topic} has ended${code ? `: ${code}` : ""}`);
    });
  }

  draw() {
    const { client, items, parts } = this;
    if (!client) return;
    const names = [...client.topics.names].sort();
    refill(parts.names, JSON.stringify(names), () => names.map((name) => make("li", {}, make("bdi", {}, name), " ",
      make("button", { type: "button", class: "link", "aria-label": `Stop ${name}`, onclick: () => this.tell((client) => client.unsubscribe(name)) }, "stop"))));
    const shown = [...items].reverse();
    refill(parts.list, shown.map(({ message }) => message.msg).join(" "), () => shown.map(row));
  }

  /** Does it, and says why it was not done. */
  async tell(ask) {
    try {
      if (!this.client) throw new Error("not connected yet");
      await ask(this.client);
      setText(this.parts.why, "");
    } catch (problem) {
      setText(this.parts.why, `Not done: ${problem.message}`);
    }
  }
}

function row({ topic, message }) {
  return make("li", {}, make("time", { class: "quiet" }, new Date(message.at).toLocaleTimeString("en-GB")), " ",
    make("bdi", { class: "quiet" }, topic), " ", make("bdi", { class: "text" }, wordsOf(message)));
}
