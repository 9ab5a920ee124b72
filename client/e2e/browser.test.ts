// The demo's page in a real browser: two players see each other move, a node is killed by the page's own button, both
// go on, and the page's loss counter stays 0.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";

import { Demo } from "./demo.js";

let demo: Demo;
beforeAll(async () => {
  demo = await Demo.start();
});
afterAll(async () => {
  await demo?.stop();
});

/** One of the page's two players. */
class Pane {
  private readonly root: Locator;

  constructor(
    private readonly page: Page,
    letter: "A" | "B",
  ) {
    this.root = page.getByLabel(`Player ${letter}`, { exact: true });
  }

  part(name: string): Locator {
    return this.root.locator(`[data-part="${name}"]`);
  }

  async sector(): Promise<string> {
    return (await this.part("sector").textContent()) ?? "";
  }

  /** Goes through this node from now on. */
  async through(node: string): Promise<void> {
    await this.part("node").selectOption({ label: node });
    await this.isOn(node);
  }

  async isOn(node: string): Promise<void> {
    await this.root.locator(".chip.link-live").filter({ hasText: node }).waitFor();
  }

  async sees(name: string): Promise<void> {
    await this.ship(name).waitFor();
  }

  async seesNoMore(name: string): Promise<void> {
    await this.ship(name).waitFor({ state: "detached" });
  }

  /** Flies along a warp, as soon as the drive lets it; answers the sector it is in then. */
  async move(to?: string): Promise<string> {
    const from = await this.sector();
    await this.part("drive").filter({ hasText: /^drive ready$/ }).waitFor();
    const warps = this.part("warps").getByRole("button");
    const warp = to === undefined ? warps.first() : warps.and(this.page.getByLabel(`Move to sector ${to}`, { exact: true }));
    const target = /\d+/.exec((await warp.textContent()) ?? "")?.[0] ?? "";
    await warp.click();
    await this.part("sector").filter({ hasText: new RegExp(`^${target}$`) }).waitFor();
    expect(target).not.toBe(from);
    return target;
  }

  private ship(name: string): Locator {
    return this.part("ships").locator(".who").filter({ hasText: new RegExp(`^${name}$`) });
  }
}

function counter(name: string): Locator {
  return demo.page.locator(`[data-counter="${name}"]`);
}

/** A leaves B, B sees it go, follows, and they see each other again. */
async function flyTogether(a: Pane, b: Pane): Promise<void> {
  const to = await a.move();
  await b.seesNoMore("Pilot A");
  await b.move(to);
  await Promise.all([a.sees("Pilot B"), b.sees("Pilot A")]);
}

test("two players see each other move, their node is killed, both go on, and nothing is lost", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  await Promise.all([a.sees("Pilot B"), b.sees("Pilot A")]);
  await Promise.all([a.through("alpha"), b.through("beta")]);
  await flyTogether(a, b);

  await page.getByRole("button", { name: "Kill node alpha" }).click();
  await page.getByRole("button", { name: "Restart node alpha" }).waitFor();
  await a.part("log").getByText(/^Playing again on beta .* nothing missed$/).waitFor();
  await flyTogether(a, b);
  await counter("failover_ms").filter({ hasText: /\d/ }).waitFor();

  for (const pane of [a, b]) {
    expect(await pane.part("sum").textContent()).toBe("verified");
    expect(await pane.part("actions").locator(".bad, .pending").count()).toBe(0);
  }
  expect(await b.part("log").getByText("ended").count()).toBeLessThanOrEqual(1); // When it was sent through beta.
  expect(Number((await counter("acked").textContent())?.replaceAll(",", ""))).toBeGreaterThan(0);
  expect(await counter("acked_lost").textContent()).toBe("0");
  expect(await counter("duplicated").textContent()).toBe("0");
  expect(complaints).toEqual([]);
});

test("Aria answers a player from the sector they are in", async () => {
  const pane = new Pane(demo.page, "B");
  const answered = async (question: string, answer: string): Promise<void> => {
    await demo.page.getByLabel("Player B", { exact: true }).getByLabel("Ask Aria", { exact: true }).fill(question);
    await pane.part("ask").getByRole("button").click();
    await pane.part("aria").getByText(answer).waitFor();
  };
  await answered("Where am I?", `You are in sector ${await pane.sector()}.`);
  await answered("<b>what?</b>", "<b>what?</b> I do not know about that.");
  expect(demo.complaints).toEqual([]);
});
