// The pending list: numbers, windows, pauses, and one answer per action under every way back to a server.

import { beforeEach, expect, test } from "vitest";

import { Actions } from "../src/actions.js";
import type { Action, Marks } from "../src/frames.js";
import { rejected, type Answer } from "../src/marks.js";

const AWAY: Action = { status: { status: "away" } };
const ACKED: Answer = { ack: { version: 9 } };
const WINDOW = 128;

let settled: [seq: number, answer: Answer][];
let actions: Actions;
beforeEach(() => {
  settled = [];
  actions = new Actions(({ seq }, answer) => settled.push([seq, answer]));
});

const ask = (count: number) => Array.from({ length: count }, () => actions.add(AWAY, 0).seq);
const due = (now = 0) => actions.takeDue(now, WINDOW).map(({ seq }) => seq);
const pending = () => actions.pending.map(({ seq }) => seq);
const marks = (high: number, set: number[], answers: Marks["answers"] = []): Marks => {
  const bits = set.reduce((all, seq) => all | (1n << BigInt(high - 1 - seq)), 0n);
  return { actor: 3, high, bitmap: bits.toString(16).padStart(32, "0"), answers };
};

test("actions are numbered from 1, sent once in order, and answered once", () => {
  expect(ask(3)).toEqual([1, 2, 3]);
  expect(due()).toEqual([1, 2, 3]);
  expect(due()).toEqual([]);
  expect(actions.settle(2, ACKED)).toBe(true);
  expect(actions.settle(2, rejected("no_warp"))).toBe(false);
  expect(actions.settle(99, ACKED)).toBe(false);
  expect(settled).toEqual([[2, ACKED]]);
  expect([pending(), actions.firstSeq]).toEqual([[1, 3], 1]);
});

test("first_seq is the next new one where nothing is pending", () => {
  ask(2);
  actions.settle(1, ACKED);
  actions.settle(2, ACKED);
  expect(actions.firstSeq).toBe(3);
});

test("nothing is sent beyond the window until its lowest is answered", () => {
  ask(130);
  expect(due()).toHaveLength(128);
  actions.settle(2, ACKED);
  expect(due()).toEqual([]);
  expect(actions.nextDue(0, WINDOW)).toBeNull();
  actions.settle(1, ACKED);
  expect(due()).toEqual([129, 130]);
});

test("a busy server holds back new actions, not those that were sent", () => {
  ask(1);
  due();
  actions.hold(250);
  ask(1);
  expect(due(249)).toEqual([]);
  expect(actions.nextDue(0, WINDOW)).toBe(250);
  expect(due(250)).toEqual([2]);
});

test("an action that was not taken is sent again when its time has come, others go on", () => {
  ask(2);
  due();
  actions.sendAgain(1, 500);
  ask(1);
  expect(due(499)).toEqual([3]);
  expect(actions.nextDue(0, WINDOW)).toBe(500);
  expect(due(500)).toEqual([1]);
  actions.settle(1, ACKED);
  actions.sendAgain(1, 900);
  expect(due(900)).toEqual([]);
});

test("no more of a kind is sent than the server takes, and nothing overtakes", () => {
  actions.limit(20);
  ask(25);
  actions.add({ move: { to: "13" } }, 0);
  expect(due()).toHaveLength(20);
  expect(actions.nextDue(0, WINDOW)).toBe(50);
  expect(due(49)).toEqual([]);
  expect(due(50)).toEqual([21]);
  actions.restart();
  for (let seq = 1; seq <= 20; seq += 1) actions.settle(seq, ACKED);
  expect(due(100)).toEqual([21]);
  expect(due(300)).toEqual([22, 23, 24, 25, 26]);
});

test("after the server took one not, its kind waits and then goes evenly", () => {
  actions.limit(20);
  ask(3);
  expect(due()).toEqual([1, 2, 3]);
  actions.sendAgain(2, 400);
  ask(2);
  actions.add({ move: { to: "13" } }, 0);
  expect(due(399)).toEqual([]);
  expect(due(400)).toEqual([2]);
  expect(due(449)).toEqual([]);
  expect(due(500)).toEqual([4, 5, 6]);
});

test("a kind that rested may burst again, by no more than a second's worth", () => {
  actions.limit(4);
  ask(20);
  expect(due(0)).toHaveLength(4);
  expect(due(5_000)).toHaveLength(4);
  expect(actions.nextDue(5_000, WINDOW)).toBe(5_250);
});

test("after a reconnect what marks decided is answered, and the rest is sent again in order", () => {
  actions.welcome(3);
  ask(6);
  due();
  actions.hold(10_000);
  actions.restart();
  actions.welcome(3);
  actions.settleFrom([marks(5, [2, 4], [{ seq: 1, answer: "ack" }, { seq: 4, answer: { reject: { code: "no_warp", facts: { to: "9" } } } }])]);
  expect(settled).toEqual([
    [1, { ack: { version: null } }],
    [2, rejected("already")],
    [4, rejected("no_warp", { to: "9" })],
    [5, rejected("already")],
  ]);
  expect(due()).toEqual([3, 6]);
});

test("the same marks again, or those of another actor, answer nothing", () => {
  actions.welcome(3);
  ask(2);
  actions.settleFrom([{ ...marks(9, [1, 2]), actor: 4 }]);
  expect(settled).toEqual([]);
  actions.settleFrom([marks(1, [])]);
  actions.settleFrom([marks(1, [])]);
  expect(settled).toEqual([[1, rejected("already")]]);
});

test("what fell out of the bitmap is too old", () => {
  actions.welcome(3);
  ask(3);
  actions.settleFrom([marks(131, [])]);
  expect(settled).toEqual([[1, rejected("too_old")], [2, rejected("too_old")]]);
  expect(pending()).toEqual([3]);
});

test("a forgotten actor ends all that is pending, and the next one counts from 1", () => {
  actions.welcome(3);
  ask(2);
  actions.forgetActor();
  expect(settled).toEqual([[1, rejected("unknown_actor")], [2, rejected("unknown_actor")]]);
  expect([actions.actor, actions.firstSeq]).toEqual([null, 1]);
  expect(ask(1)).toEqual([1]);
  actions.welcome(8);
  expect(pending()).toEqual([1]);
});

test("a server that gives another actor than asked for knows nothing of what was pending", () => {
  actions.welcome(3);
  ask(1);
  actions.welcome(4);
  expect(settled).toEqual([[1, rejected("unknown_actor")]]);
  expect(actions.actor).toBe(4);
});

test("what is asked for before the first welcome keeps its number", () => {
  ask(2);
  actions.welcome(3);
  expect(settled).toEqual([]);
  expect(due()).toEqual([1, 2]);
});
