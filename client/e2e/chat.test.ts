// The demo's chat in a real browser: two players talk in rooms and in private, unread is counted, a block holds, and
// hostile text is shown as the text it is.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";

import { Demo } from "./demo.js";

const HOSTILE = '<img src=x onerror="document.title=\'owned\'"> <b>bold</b> \u202eright to left';

let demo: Demo;
beforeAll(async () => {
  demo = await Demo.start();
});
afterAll(async () => {
  await demo?.stop();
});

/** The chat of one of the page's two players. */
class Chat {
  private readonly root: Locator;

  constructor(page: Page, letter: "A" | "B") {
    this.root = page.getByLabel(`Player ${letter}`, { exact: true });
  }

  part(name: string): Locator {
    return this.root.locator(`[data-chat="${name}"]`);
  }

  tab(label: string | RegExp): Locator {
    return this.part("tabs").getByRole("tab").filter({ has: this.root.page().locator("bdi", { hasText: label }) });
  }

  async open(label: string | RegExp): Promise<void> {
    await this.tab(label).click();
    await this.tab(label).and(this.root.page().locator('[aria-selected="true"]')).waitFor();
  }

  async say(text: string): Promise<void> {
    await this.part("text").fill(text);
    await this.part("text").press("Enter");
  }

  /** Waits until the open channel has this message, and nothing but text in it. */
  async hears(text: string): Promise<void> {
    await expect.poll(() => this.texts(), { timeout: 20_000 }).toContain(text);
    expect(await this.part("list").locator(".text > *").count()).toBe(0);
  }

  async texts(): Promise<string[]> {
    return this.part("list").locator(".text").allTextContents();
  }

  async hasUnread(label: string | RegExp, count: number): Promise<void> {
    const badge = this.tab(label).locator(".badge");
    if (count === 0) await badge.waitFor({ state: "detached" });
    else await badge.filter({ hasText: new RegExp(`^${count}$`) }).waitFor();
  }

  /** Opens what is said with a player whose ship is here. */
  async openPrivate(name: string): Promise<void> {
    await this.root.getByRole("button", { name: `Message ${name}`, exact: true }).click();
    await this.tab(name).waitFor();
  }
}

test("two players talk: everywhere, in their sector and in private; unread is counted, and hostile text is only text", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Chat(page, "A"), new Chat(page, "B")];
  const title = await page.title();
  await Promise.all([a.tab(/^Sector \d+$/).waitFor(), b.tab(/^Sector \d+$/).waitFor()]);

  await a.say("hello everybody");
  await Promise.all([a.hears("hello everybody"), b.hears("hello everybody")]);

  await b.open(/^Sector \d+$/);
  await a.say(HOSTILE);
  await b.hasUnread("Global", 1);
  await b.open("Global");
  await Promise.all([a.hears(HOSTILE), b.hears(HOSTILE)]);
  await b.hasUnread("Global", 0);
  expect(await page.locator("[data-chat] img, [data-chat] b").count()).toBe(0);
  expect(await page.title()).toBe(title);
  const isolated = await b.part("list").locator(".text").last().evaluate((text) => getComputedStyle(text).unicodeBidi);
  expect(isolated).toBe("isolate");

  await a.openPrivate("Pilot B");
  await a.say("only for you");
  await a.hears("only for you");
  await b.hasUnread("Pilot A", 1);
  expect(await b.texts()).not.toContain("only for you");
  await b.open("Pilot A");
  await b.hears("only for you");
  await b.hasUnread("Pilot A", 0);
  await b.say("thank you");
  await a.hears("thank you");
  expect(complaints).toEqual([]);
});

test("whoever is blocked is not heard, and is told so in private", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Chat(page, "A"), new Chat(page, "B")];
  await b.openPrivate("Pilot A");
  await b.part("block").click();
  await b.part("block").filter({ hasText: "Unblock" }).waitFor();
  await a.openPrivate("Pilot B");
  await a.say("do you hear me?");
  await a.part("why").filter({ hasText: "does not take messages" }).waitFor();
  await b.part("block").click();
  await b.part("block").filter({ hasText: /^Block$/ }).waitFor();
  // A block holds everywhere within a second; so does its end.
  await expect.poll(async () => {
    await a.say("and now?");
    return b.texts();
  }, { timeout: 20_000, interval: 500 }).toContain("and now?");
  expect(await b.texts()).not.toContain("do you hear me?");
  expect(complaints).toEqual([]);
});
