// The two parts that reckon with time: how long to wait before coming back, and what time it is in the region.

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { backoff, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, backoffCeiling } from "../src/backoff.js";
import { Clock } from "../src/clock.js";

const SEED = 7;

describe("back-off", () => {
  test("its ceiling doubles from 250 ms to 10 s", () => {
    expect([0, 1, 2, 5, 6, 1_000].map(backoffCeiling)).toEqual([250, 500, 1000, 8000, 10_000, 10_000]);
  });

  test(`it is anywhere between nothing and its ceiling (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.nat(2_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempts, dice) => {
        const delay = backoff(attempts, () => dice);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts));
        expect(delay).toBe(dice * backoffCeiling(attempts));
      }),
      { seed: SEED },
    );
  });
});

describe("the clock", () => {
  test("begins with the welcome's time and goes on with the middle of a ping's way", () => {
    const clock = new Clock();
    clock.welcome(5_000, 1_000);
    expect([clock.offset, clock.rtt]).toEqual([4_000, null]);
    clock.pong(1_000, 5_030, 1_040);
    expect([clock.offset, clock.rtt]).toEqual([4_010, 40]);
  });

  test("of the latest eight the shortest way counts", () => {
    const clock = new Clock();
    clock.pong(0, 1_005, 10);
    for (let at = 1; at <= 7; at += 1) clock.pong(at * 100, at * 100 + 1_400, at * 100 + 800);
    expect(clock.offset).toBe(1_000);
    clock.pong(800, 2_020, 840);
    expect(clock.offset).toBe(1_200);
  });

  test("another node is another way: measurements begin anew", () => {
    const clock = new Clock();
    clock.pong(0, 1_000, 2);
    clock.welcome(9_000, 1_000);
    expect([clock.offset, clock.rtt]).toEqual([8_000, null]);
  });

  test("a pong from the future is none", () => {
    const clock = new Clock();
    clock.pong(50, 1_000, 40);
    expect([clock.offset, clock.rtt]).toEqual([0, null]);
  });
});
