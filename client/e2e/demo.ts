// A running sectorbus-demo of a test's own, and its page in Debian's Chromium. Knows nothing of what the page shows.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium, type Browser, type Page } from "playwright-core";

const QUIET = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export class Demo {
  private constructor(
    private readonly child: ChildProcess,
    private readonly browser: Browser,
    readonly page: Page,
    /** What went wrong in the page: errors nobody caught, and what it wrote to its console as one. */
    readonly complaints: string[],
  ) {}

  /** `names`: of the page's pilots, by the letter of their pane. `where`: both begin in this region; null: each in its own. */
  static async start(names: Readonly<Record<string, string>> = {}, where: string | null = "eu"): Promise<Demo> {
    const child = spawn(required("SECTORBUS_DEMO"), ["--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      const address = await addressOf(child);
      const browser = await chromium.launch({ executablePath: required("SECTORBUS_CHROMIUM"), headless: true, args: QUIET });
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => {
        // The browser itself writes a line for each refused connection: a killed node is meant to be one.
        if (message.type() === "error" && !message.text().startsWith("WebSocket connection to")) complaints.push(message.text());
      });
      await page.goto(`${address}/?${new URLSearchParams({ ...names, ...(where !== null && { in: where }) })}`);
      return new Demo(child, browser, page, complaints);
    } catch (problem) {
      child.kill("SIGKILL");
      throw problem;
    }
  }

  async stop(): Promise<void> {
    await this.browser.close();
    const ended = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await ended;
  }
}

async function addressOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error("the demo's output is not piped");
  for await (const line of createInterface({ input: child.stdout })) {
    const found = /http:\/\/\S+/.exec(line);
    if (found) return found[0];
  }
  throw new Error("the demo ended before it said where its page is");
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} must name a program: tests/run sets it`);
  return value;
}
