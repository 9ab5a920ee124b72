// The map of one region: its sectors coloured by the node that owns them, warps between them, ships that fly.
// Shows what it is given; must not know where it comes from.

import { makeSvg, nodeClass, setAttribute, setText } from "./dom.js";

const MARGIN_PX = 34;
const SHIP_ORBIT_PX = 9;
const SHIPS_PER_ORBIT = 12;
/** Neighbouring seats are far apart: few ships spread all around their sector. */
const SEAT_STEP = 5;

export class UniverseMap {
  /** `svg` is filled; `sectors` is [{id, x, y, warps: [id]}], `gate` {sector, to}. */
  constructor(svg, sectors, gate) {
    this.svg = svg;
    this.gate = gate;
    this.sectors = new Map(sectors.map((sector) => [sector.id, { ...sector, at: { x: 0, y: 0 } }]));
    this.ships = new Map();
    this.lines = [];
    this.live = null;
    /** player -> label of the pane that plays it */
    this.marked = new Map();
    this.drawWarps();
    this.drawSectors();
    this.fleet = makeSvg("g");
    svg.append(this.fleet);
    new ResizeObserver(() => this.layOut()).observe(svg);
  }

  drawWarps() {
    const drawn = new Set();
    for (const { id, warps } of this.sectors.values()) {
      for (const to of warps) {
        const key = [id, to].sort().join(" ");
        if (drawn.has(key) || !this.sectors.has(to)) continue;
        drawn.add(key);
        const line = makeSvg("line", { class: "warp" });
        this.lines.push({ line, from: this.sectors.get(id), to: this.sectors.get(to) });
        this.svg.append(line);
      }
    }
  }

  drawSectors() {
    for (const sector of this.sectors.values()) {
      sector.title = makeSvg("title");
      sector.disc = makeSvg("circle", { class: "disc node-none" });
      sector.label = makeSvg("text", { class: "sector-label" }, sector.id);
      sector.ring = sector.id === this.gate.sector ? [makeSvg("circle", { class: "gate" })] : [];
      sector.group = makeSvg("g", { class: "sector" }, sector.title, ...sector.ring, sector.disc, sector.label);
      this.svg.append(sector.group);
    }
  }

  /** Places everything for the size that the page gives us: stretched to fit, turned on its side in a tall box. */
  layOut() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width === 0) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const all = [...this.sectors.values()];
    const turned = height > width;
    this.place(turned ? "y" : "x", "x", width);
    this.place(turned ? "x" : "y", "y", height);
    this.radius = Math.max(8, Math.min(15, Math.sqrt((width * height) / all.length) / 6));
    for (const { disc, label, group, ring, at } of all) {
      group.setAttribute("transform", `translate(${at.x} ${at.y})`);
      disc.setAttribute("r", this.radius);
      for (const circle of ring) circle.setAttribute("r", this.radius + 5);
      label.setAttribute("font-size", Math.max(8, this.radius * 0.78));
    }
    for (const { line, from, to } of this.lines) {
      for (const [name, value] of [["x1", from.at.x], ["y1", from.at.y], ["x2", to.at.x], ["y2", to.at.y]]) {
        line.setAttribute(name, value);
      }
    }
    if (this.live) this.show(this.live, this.marked);
  }

  /** Spreads the universe's `axis` over `size` pixels of the box's `side`. */
  place(axis, side, size) {
    const values = [...this.sectors.values()].map((sector) => sector[axis]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    for (const sector of this.sectors.values()) {
      const share = high > low ? (sector[axis] - low) / (high - low) : 0.5;
      sector.at[side] = MARGIN_PX + share * (size - 2 * MARGIN_PX);
    }
  }

  /** `live` is {nodes, owners, ships} of this region as /live sends them, nodes of all; `marked` says which players are ours. */
  show(live, marked) {
    this.live = live;
    this.marked = marked;
    if (!this.radius) return;
    for (const sector of this.sectors.values()) {
      const owner = live.owners[sector.id] ?? "";
      setAttribute(sector.disc, "class", `disc ${nodeClass(live.nodes, owner)}`);
      const gate = sector.ring.length > 0 ? `, with a gate to ${this.gate.to}` : "";
      setText(sector.title, `Sector ${sector.id}: ${owner ? `owned by ${owner}` : "no owner yet"}${gate}`);
    }
    this.showShips(live.ships);
  }

  showShips(ships) {
    const seats = new Map();
    const seen = new Set();
    for (const ship of [...ships].sort((a, b) => (a.player < b.player ? -1 : 1))) {
      const sector = this.sectors.get(ship.sector);
      if (!sector) continue;
      seen.add(ship.player);
      const seat = seats.get(ship.sector) ?? 0;
      seats.set(ship.sector, seat + 1);
      this.showShip(ship, this.seatAt(sector, seat));
    }
    for (const [player, drawn] of this.ships) {
      if (seen.has(player)) continue;
      drawn.group.remove();
      this.ships.delete(player);
    }
  }

  /** Ships in a sector sit on rings around it. */
  seatAt({ at }, seat) {
    const ring = Math.floor(seat / SHIPS_PER_ORBIT);
    const place = ((seat * SEAT_STEP) % SHIPS_PER_ORBIT) + ring / 2;
    const angle = (place / SHIPS_PER_ORBIT) * 2 * Math.PI - Math.PI / 2;
    const distance = this.radius + SHIP_ORBIT_PX * (0.8 + ring);
    return { x: at.x + distance * Math.cos(angle), y: at.y + distance * Math.sin(angle) };
  }

  showShip(ship, { x, y }) {
    const label = this.marked.get(ship.player);
    const drawn = this.ships.get(ship.player) ?? this.addShip(ship.player);
    const kind = label ? "ship mine" : "ship";
    setAttribute(drawn.group, "class", `${kind} status-${ship.status}`);
    drawn.group.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    drawn.dot.setAttribute("r", label ? 7.5 : 3.2);
    setText(drawn.label, label ?? "");
    setText(drawn.title, `${ship.name}: ${ship.status.replace("_", "-")}, sector ${ship.sector}`);
  }

  addShip(player) {
    const title = makeSvg("title");
    const dot = makeSvg("circle");
    const label = makeSvg("text", { class: "ship-label" });
    const drawn = { group: makeSvg("g", {}, title, dot, label), title, dot, label };
    this.fleet.append(drawn.group);
    this.ships.set(player, drawn);
    return drawn;
  }
}
