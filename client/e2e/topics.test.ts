// The demo's topics in a real browser: who listens to one is told what the door tells it, and nobody else.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";

import { Demo } from "./demo.js";

const HOSTILE_TEXT = '<img src=x onerror="document.title=\'owned\'"><b>ore';
const SOON = { timeout: 30_000 };

let demo: Demo;
beforeAll(async () => {
  demo = await Demo.start();
});
afterAll(async () => {
  await demo?.stop();
});

/** What one of the page's two players listens to: A in MessagePack, B in JSON. */
class Pane {
  private readonly root: Locator;

  constructor(page: Page, letter: "A" | "B") {
    this.root = page.getByLabel(`Player ${letter}`, { exact: true });
  }

  topics(name: string): Locator {
    return this.root.locator(`[data-topics="${name}"]`);
  }

  async ask(topic: string): Promise<void> {
    await this.root.locator('[data-part="link"].link-live').waitFor();
    await this.topics("ask").getByLabel("Topic", { exact: true }).fill(topic);
    await this.topics("ask").getByRole("button").click();
  }

  /** Of the topics that the server says this player has. */
  has(topic: string): Locator {
    return this.topics("names").getByText(topic, { exact: true });
  }

  async told(): Promise<string[]> {
    return this.topics("list").locator(".text").allTextContents();
  }
}

async function tell(page: Page, topic: string, text: string): Promise<void> {
  await page.getByLabel("To topic", { exact: true }).fill(topic);
  await page.getByLabel("Announcement", { exact: true }).fill(text);
  await page.getByRole("button", { name: "Announce", exact: true }).click();
  await expect.poll(() => page.getByLabel("Announcement", { exact: true }).inputValue(), SOON).toBe("");
}

test("what is told in a topic is shown to who listens to it, as text, until they stop", async () => {
  const { page, complaints } = demo;
  const [a, b] = [new Pane(page, "A"), new Pane(page, "B")];
  // One after the other: a page has one focus to type with.
  for (const pane of [a, b]) {
    await pane.ask("market:ore");
    await pane.has("market:ore").waitFor();
  }
  await tell(page, "market:ore", HOSTILE_TEXT);
  for (const pane of [a, b]) await expect.poll(() => pane.told(), SOON).toEqual([HOSTILE_TEXT]);
  expect(await a.topics("list").locator("img, b").count()).toBe(0);

  await b.topics("names").getByRole("button", { name: "Stop market:ore", exact: true }).click();
  await b.has("market:ore").waitFor({ state: "detached" });
  await b.ask("market:tin");
  await b.has("market:tin").waitFor();
  await tell(page, "market:ore", "ore is cheap");
  await tell(page, "market:tin", "tin is dear");
  await expect.poll(() => a.told(), SOON).toEqual(["ore is cheap", HOSTILE_TEXT]);
  await expect.poll(() => b.told(), SOON).toEqual(["tin is dear", HOSTILE_TEXT]);
  expect(complaints).toEqual([]);
});

test("a topic that nobody may read is refused, and the page says so", async () => {
  const { page, complaints } = demo;
  const a = new Pane(page, "A");
  await a.ask("secret:plans");
  await a.topics("why").filter({ hasText: "not_there" }).waitFor();
  expect(await a.has("secret:plans").count()).toBe(0);
  expect(complaints).toEqual([]);
});

test("who listened to a topic still does on another node, and hears what was told meanwhile once", async () => {
  const { page, complaints } = demo;
  const a = new Pane(page, "A");
  const part = (name: string): Locator => page.getByLabel("Player A", { exact: true }).locator(`[data-part="${name}"]`);
  const ask = async (): Promise<void> => {
    await a.ask("market:gas");
    await a.has("market:gas").waitFor();
  };
  await ask();
  await tell(page, "market:gas", "before");
  await expect.poll(async () => (await a.told())[0], SOON).toBe("before");
  const node = (await part("link").textContent())?.split(" ")[0] ?? "";
  await page.getByRole("button", { name: `Kill node ${node}`, exact: true }).click();
  await tell(page, "market:gas", "meanwhile");
  await expect.poll(async () => (await a.told()).slice(0, 2), SOON).toEqual(["meanwhile", "before"]);
  expect((await part("link").textContent())?.startsWith(`${node} `)).toBe(false);
  await a.has("market:gas").waitFor();
  expect(complaints).toEqual([]);
});
