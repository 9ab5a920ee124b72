// The client's table of close codes is that of PROTOCOL.md.

import { expect, test } from "vitest";

import { CLOSES, closeOf } from "../src/closes.js";
import { table } from "./page.js";

test("every close code of the page means here what it means there", () => {
  const page = table("| number | name | meaning | again? |").map(([number, name, , again]) => [Number(number), { name, again }]);
  expect(page.length).toBeGreaterThan(13);
  expect([...CLOSES]).toEqual(page);
});

test("a code that nobody knows does not keep a player out", () => {
  expect(closeOf(1006)).toEqual({ name: "lost", again: "resume" });
  expect(closeOf(4999).again).toBe("resume");
});
