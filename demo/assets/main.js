// Starts the page: the universe once, the live picture as it changes, and the two players.

import { Counters, EventLog, NodeList } from "./cluster.js";
import { setText } from "./dom.js";
import { UniverseMap } from "./map.js";
import { Pane } from "./pane.js";
import { Player } from "./player.js";

// Both codecs of the protocol are at work.
const PANES = [{ label: "A", codec: "msgpack" }, { label: "B", codec: "json" }];

async function main() {
  const log = new EventLog(document.getElementById("events"));
  const nodes = new NodeList(document.getElementById("nodes"), control, log);
  const counters = new Counters(document.getElementById("counters"));
  const { sectors } = await getJson("universe.json");
  const map = new UniverseMap(document.getElementById("map"), sectors);
  const panes = PANES.map(startPane);

  follow((live) => {
    nodes.show(live);
    counters.show(live.counters);
    map.show(live, new Map(panes.map((pane) => [pane.player.client?.player, pane.label])));
    for (const pane of panes) pane.showNodes(live.nodes);
    setText(document.getElementById("population"), `${live.ships.length} ships, ${sectors.length} sectors`);
  });
  const form = document.getElementById("announce");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const { topic, level, text } = form.elements;
    try {
      await post("announce", { topic: topic.value || null, level: level.value, text: text.value });
      text.value = "";
    } catch (problem) {
      log.add(`Could not announce: ${problem.message}`, "bad");
    }
  };
  addEventListener("pagehide", () => panes.forEach((pane) => pane.player.client?.leave()));
}

function startPane({ label, codec }, at) {
  const root = document.getElementById("pane").content.firstElementChild.cloneNode(true);
  root.setAttribute("aria-label", `Player ${label}`);
  root.querySelector('[data-part="letter"]').textContent = label;
  document.getElementById("panes").append(root);
  const pane = new Pane(root, label);
  // `?A=…&B=…` behind the page's address names its pilots.
  const name = new URLSearchParams(location.search).get(label);
  const query = new URLSearchParams({ pane: at + 1, ...(name !== null && { name }) });
  const seek = () => getJson(`session.json?${query}`);
  const player = new Player(seek, codec, {
    changed: () => pane.changed(),
    note: (text, tone) => pane.log.add(text, tone),
  });
  pane.attach(player);
  player.start();
  return pane;
}

/** The live picture, several times a second; the browser connects again by itself. */
function follow(show) {
  const notice = document.getElementById("notice");
  const source = new EventSource("live");
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onopen = () => setText(notice, "");
  source.onerror = () => setText(notice, "The demo does not answer. Is it still running? Trying again…");
}

const control = (action, node) => post("control", { action, node });

async function post(path, body) {
  const key = document.querySelector('meta[name="demo-key"]').content;
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-demo-key": key },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.text()) || `HTTP ${answer.status}`);
}

async function getJson(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
  return answer.json();
}

main().catch((problem) => setText(document.getElementById("notice"), `The page could not start: ${problem.message}`));
