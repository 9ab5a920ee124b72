// Starts the page: the universe once, the live picture as it changes, and the two players, one in each region.

import { BridgePanel } from "./bridge.js";
import { Counters, EventLog, NodeList } from "./cluster.js";
import { make, makeSvg, setText } from "./dom.js";
import { UniverseMap } from "./map.js";
import { Pane } from "./pane.js";
import { Player } from "./player.js";

// Both codecs of the protocol are at work.
const PANES = [{ label: "A", codec: "msgpack" }, { label: "B", codec: "json" }];

async function main() {
  const log = new EventLog(document.getElementById("events"));
  const nodes = new NodeList(document.getElementById("nodes"), control, log);
  const counters = new Counters(document.getElementById("counters"));
  const bridge = new BridgePanel(document.getElementById("bridge"), (cut) => post("bridge", { cut }), log);
  const { regions } = await getJson("universe.json");
  const maps = regions.map(startMap);
  const panes = PANES.map((pane, at) => startPane(pane, at, regions.map(({ name }) => name)));

  follow((live) => {
    const all = live.regions.flatMap(({ name, nodes }) => nodes.map((node) => ({ ...node, region: name })));
    const owned = live.regions.flatMap(({ name, owners }) => Object.entries(owners).map(([sector, owner]) => [`${name} ${sector}`, owner]));
    nodes.show({ nodes: all, owners: Object.fromEntries(owned), counters: live.counters });
    counters.show(live.counters);
    bridge.show(live.bridge);
    const marked = new Map(panes.map((pane) => [pane.player.client?.player, pane.label]));
    live.regions.forEach(({ owners, ships }, at) => maps[at].show({ nodes: all, owners, ships }, marked));
    for (const pane of panes) pane.showNodes(all);
    const [ships, sectors] = [live.regions.flatMap((region) => region.ships), regions.flatMap((region) => region.sectors)];
    setText(document.getElementById("population"), `${ships.length} ships, ${sectors.length} sectors, ${regions.length} regions`);
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

function startMap({ name, sectors, gate }) {
  const label = `Map of region ${name}: sectors coloured by owner node, with ships flying between them`;
  const svg = makeSvg("svg", { class: "map", role: "img", "aria-label": label });
  document.getElementById("maps").append(make("section", { class: "region" }, make("h3", {}, `Region ${name}`), svg));
  return new UniverseMap(svg, sectors, gate);
}

function startPane({ label, codec }, at, regions) {
  const root = document.getElementById("pane").content.firstElementChild.cloneNode(true);
  root.setAttribute("aria-label", `Player ${label}`);
  root.querySelector('[data-part="letter"]').textContent = label;
  document.getElementById("panes").append(root);
  const pane = new Pane(root, label);
  // `?A=…&B=…` behind the page's address names its pilots; `in=eu`: both begin there, and not each in a region of their own.
  const asked = new URLSearchParams(location.search);
  const name = asked.get(label);
  const seek = (region) => {
    const where = region ?? asked.get("in");
    return getJson(`session.json?${new URLSearchParams({ pane: at + 1, ...(where !== null && { region: where }), ...(name !== null && { name }) })}`);
  };
  const player = new Player(seek, codec, regions, {
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
