// An attack on the demo's page, in a real browser: both ships are in combat then, and who controls the sector hears of it.

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

/** One of the page's two players. Both begin in one sector, where A has drones. */
class Pane {
  readonly root: Locator;

  constructor(page: Page, letter: "A" | "B") {
    this.root = page.getByLabel(`Player ${letter}`, { exact: true });
  }

  part(name: string): Locator {
    return this.root.locator(`[data-part="${name}"]`);
  }

  /** A ship in the sector, as this player sees it. */
  ship(name: string): Locator {
    const page = this.root.page();
    return this.part("ships").locator("li").filter({ has: page.locator(".who").and(page.getByText(name, { exact: true })) });
  }

  bell(text: string): Locator {
    return this.root.locator('[data-bell="list"] > li').filter({ has: this.root.page().getByText(text, { exact: true }) });
  }
}

test("who attacks and who is attacked are shown as in combat, and the bell tells who controls the sector", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  await b.ship("Pilot A").filter({ hasText: "online" }).waitFor();
  const sector = (await b.part("sector").textContent()) ?? "";
  await b.part("ports").getByText("Drones of pilot-a", { exact: true }).waitFor();
  expect(await b.ship("Pilot B").getByRole("button").count()).toBe(0);
  await b.ship("Pilot A").getByRole("button", { name: "Attack Pilot A", exact: true }).click();
  for (const pane of [a, b]) {
    for (const name of ["Pilot A", "Pilot B"]) await pane.ship(name).filter({ hasText: "in-combat" }).waitFor();
  }
  await b.part("actions").locator("li.good").filter({ hasText: /attack \d+/ }).waitFor();
  await a.bell(`Pilot B attacks sector ${sector}`).first().waitFor();
  // Combat ends by itself.
  for (const name of ["Pilot A", "Pilot B"]) await a.ship(name).filter({ hasText: "online" }).waitFor();
  expect(complaints).toEqual([]);
});
