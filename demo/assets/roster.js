// One player's team: who is in it, as they are now, and how many play at all. Shows the client's rooms beside the sector;
// must not know frames. Names are chosen by players: they only ever go in as text, each in a <bdi>.

import { make, refill, setText } from "./dom.js";

export class RosterPanel {
  /** `root` is the roster's part of the pane. */
  constructor(root) {
    const find = (name) => root.querySelector(`[data-roster="${name}"]`);
    this.parts = Object.fromEntries(["team", "members", "population"].map((name) => [name, find(name)]));
  }

  draw(client) {
    const { team, members, population } = this.parts;
    setText(team, client.team ? `Team ${client.team.id}` : "No team");
    const list = client.team?.members ?? [];
    refill(members, JSON.stringify([client.player, list]), () => list.map((member) => row(member, client.player)));
    const counts = client.population;
    setText(population, counts ? `${counts.players} playing on ${counts.nodes} ${counts.nodes === 1 ? "node" : "nodes"}` : "");
  }
}

function row({ player, name, role, status, devices, sector, lastSeen }, me) {
  const where = sector === null ? "" : `sector ${sector}`;
  const on = devices === 1 ? "1 device" : `${devices} devices`;
  const seen = lastSeen === null ? "" : `last seen ${new Date(lastSeen).toLocaleTimeString("en-GB")}`;
  return make("li", {}, make("span", { class: `dot status-${/^\w+$/.test(status) ? status : "unknown"}` }),
    make("bdi", { class: "who" }, name), player === me ? make("span", { class: "you" }, "you") : "",
    make("bdi", { "data-member": "role" }, role), make("bdi", { "data-member": "status" }, status.replace("_", " ")),
    make("span", { class: "quiet" }, [where, on, seen].filter(Boolean).join(", ")));
}
