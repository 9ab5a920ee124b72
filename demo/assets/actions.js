// The player's actions: numbered, kept until their one answer comes, resolved from the server's marks after a resume.
// Pure: must not know sockets or the page. An outcome is {ack: version} | {reject: code, facts} | {decided: true}.

const SHOWN_MAX = 30;

export class ActionQueue {
  constructor() {
    /** Given by the server; the same for the life of this queue. */
    this.actor = null;
    this.nextSeq = 1;
    /** Pending ones and the latest settled ones, oldest first. */
    this.list = [];
  }

  get pending() {
    return this.list.filter((entry) => entry.outcome === null);
  }

  /** The lowest seq that may still be sent: `hello.first_seq`. */
  get firstSeq() {
    return this.pending[0]?.seq ?? this.nextSeq;
  }

  add(action, now) {
    const entry = { seq: this.nextSeq++, action, since: now, took: 0, outcome: null };
    this.list.push(entry);
    while (this.list.length > SHOWN_MAX && this.list[0].outcome !== null) this.list.shift();
    return entry;
  }

  /** The answer to one action; a repeated answer changes nothing. */
  settle(seq, outcome, now) {
    const entry = this.list.find((each) => each.seq === seq && each.outcome === null);
    if (entry) {
      entry.outcome = outcome;
      entry.took = now - entry.since;
    }
    return entry;
  }

  /** Settles what `marks` (of `welcome.pending` or `snapshot.marks`) know; what is left must be sent again. */
  settleFrom(marks, now) {
    const mine = marks.find((each) => each.actor === this.actor);
    for (const entry of mine ? this.pending : []) {
      const outcome = outcomeIn(mine, entry.seq);
      if (outcome) this.settle(entry.seq, outcome, now);
    }
    return this.pending;
  }
}

function outcomeIn({ high, bitmap, answers }, seq) {
  const kept = answers.find((each) => each.seq === seq);
  if (kept) return kept.answer === "ack" ? { ack: null } : { reject: kept.answer.reject.code, facts: kept.answer.reject.facts };
  if (seq > high) return null;
  const bit = high - 1 - seq; // -1: seq is `high` itself.
  if (bit >= 128) return { reject: "too_old", facts: {} };
  const decided = bit < 0 || ((BigInt(`0x${bitmap}`) >> BigInt(bit)) & 1n) === 1n;
  return decided ? { decided: true } : null;
}
