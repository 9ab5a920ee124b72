// The demo's roster and bell in a real browser: a team mate is shown with status and sector, what the door announces rings,
// and a hostile name is shown as the text it is, in every panel.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";

import { Demo } from "./demo.js";

/** A name, and with a mark that turns the direction of text, which no name keeps, an announcement. */
const HOSTILE = '<img src=x onerror="document.title=\'owned\'"><b>A';
const HOSTILE_TEXT = `${HOSTILE}\u202e`;
const SOON = { timeout: 30_000 };

let demo: Demo;
beforeAll(async () => {
  demo = await Demo.start({ A: HOSTILE });
});
afterAll(async () => {
  await demo?.stop();
});

/** What one of the page's two players is shown. */
class Pane {
  readonly root: Locator;

  constructor(page: Page, letter: "A" | "B") {
    this.root = page.getByLabel(`Player ${letter}`, { exact: true });
  }

  part(name: string): Locator {
    return this.root.locator(`[data-part="${name}"]`);
  }

  bell(name: string): Locator {
    return this.root.locator(`[data-bell="${name}"]`);
  }

  /** The row of a member of the team. */
  member(name: string): Locator {
    const page = this.root.page();
    const who = page.locator(".who").and(page.getByText(name, { exact: true }));
    return this.root.locator('[data-roster="members"] > li').filter({ has: who });
  }

  async sector(): Promise<string> {
    return (await this.part("sector").textContent()) ?? "";
  }

  async move(): Promise<string> {
    const from = await this.sector();
    await this.part("drive").filter({ hasText: /^drive ready$/ }).waitFor();
    await this.part("warps").getByRole("button").first().click();
    await expect.poll(() => this.sector(), SOON).not.toBe(from);
    return this.sector();
  }

  /** Waits until the bell has rung with it; answers its level. */
  async rings(text: string): Promise<string | null> {
    const item = this.bell("list").locator("li").filter({ has: this.root.page().getByText(text, { exact: true }) });
    await item.first().waitFor();
    expect(await item.count()).toBe(1);
    return item.getAttribute("data-level");
  }
}

async function announce(page: Page, level: string, text: string): Promise<void> {
  await page.getByLabel("Level", { exact: true }).selectOption(level);
  await page.getByLabel("Announcement", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Announce", exact: true }).click();
  await expect.poll(() => page.getByLabel("Announcement", { exact: true }).inputValue(), SOON).toBe("");
}

test("the roster shows a team mate's role, status, devices and sector as they change", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  await b.root.locator('[data-roster="team"]').getByText("Team pilots", { exact: true }).waitFor();
  const mate = b.member(HOSTILE);
  await mate.filter({ hasText: "online" }).filter({ hasText: `sector ${await a.sector()}, 1 device` }).waitFor();
  expect(await mate.locator('[data-member="role"]').textContent()).toBe("captain");
  await b.member("Pilot B").filter({ hasText: "you" }).waitFor();
  await a.part("statuses").getByRole("button", { name: "Busy" }).click();
  await mate.filter({ hasText: "busy" }).waitFor();
  const sector = await a.move();
  await mate.filter({ hasText: `sector ${sector}, 1 device` }).waitFor();
  await expect.poll(() => b.root.locator('[data-roster="population"]').textContent(), SOON).toMatch(/^\d+ playing on 2 nodes$/);
  expect(complaints).toEqual([]);
});

test("the bell rings with what the door announces, on both panes, and counts it until it is read", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  // The chat reads what is on its screen.
  await b.root.getByRole("tab").filter({ hasText: /^Sector/ }).click();
  await announce(page, "warning", "maintenance at noon");
  expect([await a.rings("maintenance at noon"), await b.rings("maintenance at noon")]).toEqual(["warning", "warning"]);
  await b.bell("unread").getByText(/^[1-9]\d*$/).waitFor();
  await b.bell("read").click();
  await b.bell("unread").waitFor({ state: "hidden" });
  await announce(page, "critical", HOSTILE_TEXT);
  expect(await b.rings(HOSTILE_TEXT)).toBe("critical");
  expect(complaints).toEqual([]);
});

test("a hostile name is text in every panel: ships, roster, chat, bell and what Aria says", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  const text = (root: Locator): Locator => root.getByText(HOSTILE);
  // B follows to where A is, and sees A leave.
  const target = await a.sector();
  await reach(b, target);
  await text(b.part("ships")).waitFor();
  await text(b.part("roster")).waitFor();
  await b.part("ask").getByLabel("Ask Aria", { exact: true }).fill("Who is here?");
  await b.part("ask").getByRole("button").click();
  await text(b.part("aria")).waitFor();
  await b.root.getByRole("tab").filter({ hasText: "Global" }).click();
  await a.root.locator('[data-chat="text"]').fill("hello from A");
  await a.root.locator('[data-chat="text"]').press("Enter");
  await text(b.part("chat")).first().waitFor();
  await a.move();
  await b.bell("passages").getByText(`${HOSTILE} left`, { exact: true }).waitFor();
  for (const pane of [a, b]) expect(await pane.root.locator("img, b").count()).toBe(0);
  expect(await page.title()).toBe("sectorbus: live demo");
  expect(complaints).toEqual([]);
});

test("whoever is named in a room hears the bell, unless they do not want to", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  const says = async (text: string): Promise<void> => {
    await a.root.locator('[data-chat="text"]').fill(text);
    await a.root.locator('[data-chat="text"]').press("Enter");
    await b.part("chat").locator(".text").filter({ hasText: text }).waitFor();
  };
  const wants = async (wanted: boolean): Promise<void> => {
    const box = b.bell("kinds").getByLabel("mention", { exact: true });
    await box.setChecked(wanted);
    // It can be pressed again when the server has said what holds now.
    await expect.poll(async () => [await box.isEnabled(), await box.isChecked()], SOON).toEqual([true, wanted]);
  };
  const ring = (text: string): string => `${HOSTILE} mentioned you in global: ${text}`;
  await b.root.getByRole("tab").filter({ hasText: "Global" }).click();
  await b.root.getByText("Tell me of").click();
  await says("where is @pilot-b");
  expect(await b.rings(ring("where is @pilot-b"))).toBe("info");
  await wants(false);
  await says("@pilot-b does not listen");
  await wants(true);
  await says("and now @pilot-b");
  await b.rings(ring("and now @pilot-b"));
  expect(await b.bell("list").getByText(ring("@pilot-b does not listen"), { exact: true }).count()).toBe(0);
  expect(await a.bell("list").getByText("mentioned").count()).toBe(0);
  expect(complaints).toEqual([]);
});

/** Both began in one sector, and A has made one move from it. */
async function reach(pane: Pane, target: string): Promise<void> {
  if ((await pane.sector()) === target) return;
  await pane.part("drive").filter({ hasText: /^drive ready$/ }).waitFor();
  await pane.part("warps").getByRole("button", { name: `Move to sector ${target}`, exact: true }).click();
  await expect.poll(() => pane.sector(), SOON).toBe(target);
}
