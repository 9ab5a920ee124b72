// The demo's two regions in a real browser: chat crosses, the bridge is cut by the page's own switch and mended, and a player
// jumps through the gate.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";

import { Demo } from "./demo.js";

const SOON = { timeout: 20_000 };

let demo: Demo;
beforeAll(async () => {
  demo = await Demo.start({}, null);
});
afterAll(async () => {
  await demo?.stop();
});

/** One of the page's two players; A begins in eu, B in us. */
class Pane {
  private readonly root: Locator;

  constructor(page: Page, letter: "A" | "B") {
    this.root = page.getByLabel(`Player ${letter}`, { exact: true });
  }

  part(name: string): Locator {
    return this.root.locator(`[data-part="${name}"]`);
  }

  async isIn(region: string): Promise<void> {
    await this.part("region").filter({ hasText: new RegExp(`^${region}$`) }).waitFor(SOON);
    await this.root.locator(".chip.link-live").waitFor(SOON);
  }

  async say(text: string): Promise<void> {
    const line = this.root.locator('[data-chat="text"]');
    await line.fill(text);
    await line.press("Enter");
  }

  /** What is shown of what was said in `global`. */
  async texts(): Promise<string[]> {
    return this.root.locator('[data-chat="list"] .text').allTextContents();
  }

  async hears(text: string): Promise<void> {
    await expect.poll(() => this.texts(), SOON).toContain(text);
  }
}

function link(region: string, part: "state" | "lag"): Locator {
  return demo.page.locator(`[data-link="${region}"] [data-link-part="${part}"]`);
}

/** What is said in the first seconds of a bridge stays where it is. */
async function bridged(from: Pane, to: Pane): Promise<void> {
  for (const region of ["eu", "us"]) await link(region, "state").getByText("carried by demo").waitFor(SOON);
  let n = 0;
  await expect.poll(async () => {
    await from.say(`is anybody there? ${++n}`);
    return (await to.texts()).some((text) => text.startsWith("is anybody there?"));
  }, { timeout: 20_000, interval: 1_000 }).toBe(true);
}

test("chat crosses the bridge, waits while it is cut, and comes in order when it is mended", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  await Promise.all([a.isIn("eu"), b.isIn("us")]);
  await bridged(a, b);
  await b.say("hello from us");
  await a.hears("hello from us");

  await page.getByRole("button", { name: "Cut the bridge" }).click();
  await page.locator('[data-bridge="state"]').getByText("cut: each region goes on by itself").waitFor(SOON);
  await link("us", "state").getByText("cut", { exact: true }).waitFor(SOON);
  for (const n of [1, 2, 3]) await a.say(`number ${n}`);
  await a.hears("number 3");
  await link("us", "lag").getByText(/^lag \d+ items?, ([2-9]|\d\d)/).waitFor(SOON);
  expect((await b.texts()).filter((text) => text.startsWith("number"))).toEqual([]);

  await page.getByRole("button", { name: "Mend the bridge" }).click();
  await b.hears("number 3");
  expect((await b.texts()).filter((text) => text.startsWith("number"))).toEqual(["number 1", "number 2", "number 3"]);
  // Bots come and go all the time: there is always something on the way.
  await link("us", "lag").getByText(/^(no lag$|lag \d+ items?, [01]\.)/).waitFor(SOON);
  expect(complaints).toEqual([]);
});

test("a player jumps through the gate and is in the other region", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  await a.part("gates").getByRole("button", { name: "Jump to us:1", exact: true }).click();
  await a.isIn("us");
  await b.part("ships").locator(".who").getByText("Pilot A", { exact: true }).waitFor(SOON);
  await a.part("gates").getByRole("button", { name: "Jump to eu:1", exact: true }).waitFor(SOON);
  expect(complaints).toEqual([]);
});
