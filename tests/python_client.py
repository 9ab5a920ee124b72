"""A sectorbus client, written from shared/PROTOCOL.md alone: flies around, loses its connection, checks every promise.
Says "moved N" on stderr for each acked move, at the end prints a line of JSON; exit code 0: every promise was kept."""
import argparse, contextlib, json, msgpack, random, socket, sys, time
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

MAY_COME_BACK = {1000, 1001, 1006, 1011, 4002, 4006, 4007}  # close codes, as the page says; 1000 answers our bye
KIND, PLAYER, STATUS, TO, READY_AT, HOP = 1, 2, 4, 7, 10, 11  # numbers of state fields
COUNTS = "actions moves_acked statuses_acked rejected checksums_verified mismatches duplicates contradictions drops hops"

def field_hash(alias, field, value):
    h = 0x811C9DC5
    for byte in f"{alias}:{field}:{'i' if isinstance(value, int) else 's'}{value}".encode():
        h = ((h ^ byte) * 0x01000193) % 2**32
    h = ((h ^ h >> 16) * 0x85EBCA6B) % 2**32
    h = ((h ^ h >> 13) * 0xC2B2AE35) % 2**32
    return h ^ h >> 16 if value != 0 else 0

class Client:
    def __init__(self, args):
        self.args, self.did, self.problems, self.resumes = args, dict.fromkeys(COUNTS.split(), 0), [], []
        self.sector, self.epoch, self.version, self.own_version, self.entities, self.own = None, 0, 0, 0, {}, {}
        self.told = (0, 0)  # version and epoch of the highest entry that an ack, own or a welcome's head named
        self.welcome, self.live, self.comparing, self.pending, self.answers = None, False, True, {}, {}
        self.act_at, self.return_at, self.first_hop, self.shown, self.heading = 0, 0, None, None, None

    def check(self, holds, problem):
        self.problems += [] if holds or problem in self.problems else [problem]

    def run(self):  # every URL in turn, until the work is done or a close code forbids to come back
        self.deadline, url, delay = time.monotonic() + self.args.seconds, 0, 0.25
        options = {"compression": None, "proxy": None, "max_size": 2**24, "open_timeout": 10, "close_timeout": 1,
                   "additional_headers": {"Authorization": f"Bearer {self.args.token}"},
                   "subprotocols": ["sectorbus.v1.json" if self.args.json else "sectorbus.v1.msgpack"]}
        while not self.done() and not self.problems and time.monotonic() < self.deadline:
            try:
                with connect(self.args.urls[url % len(self.args.urls)], **options) as self.ws:
                    delay = self.converse() or 0.25
                    self.send("bye", {})
                    while True:
                        self.ws.recv(timeout=5)
            except (OSError, InvalidHandshake, ConnectionClosed) as failed:
                code, status = getattr(failed, "rcvd", None), getattr(failed, "response", None)
                self.check(not code or code.code in MAY_COME_BACK, f"closed: {code}")
                self.check(not status or status.status_code == 503, f"refused: {failed}")
            url, delay = url + 1, min(10, delay * 2)
            time.sleep(max(random.uniform(delay / 4, delay / 2), self.return_at - time.monotonic()))
        self.check(self.done(), f"not done in time: pending {self.pending}, ship {self.ship()}, in {self.sector}")

    def converse(self):
        self.live, self.last, self.left = False, self.welcome or {}, self.sector
        ahead = self.sector and self.told[0] > self.version
        self.send("hello", {
            "features": [], "resume": self.last.get("resume"), "sector": self.sector,
            "cursor": f"{self.epoch}-{self.version}" if self.sector else None,
            "acked": f"{self.told[1]}-{self.told[0]}" if ahead else None, "actor": self.last.get("actor"),
            "first_seq": min(self.pending, default=self.did["actions"] + 1) if self.welcome else None})
        while not self.done() and time.monotonic() < self.deadline:
            self.act_if_due(time.monotonic())
            with contextlib.suppress(TimeoutError):
                self.take(*self.decode(self.ws.recv(timeout=0.05)))

    def send(self, name, fields):
        self.ws.send(json.dumps({name: fields}) if self.args.json else msgpack.packb({name: fields}))

    def decode(self, message):
        frame = json.loads(message) if self.args.json else msgpack.unpackb(message, strict_map_key=False)
        if isinstance(frame, dict):
            return next(iter(frame.items()))
        room, to, total, *changes = frame  # the short form of delta in MessagePack
        since, to = to if isinstance(to, list) else (to - 1, to)
        changes = [{"entity": c[0], "set": dict(zip(c[1::2], c[2::2])), "removed": len(c) == 1} for c in changes]
        return "delta", {"room": room, "from": since, "to": to, "sum": total, "changes": changes}

    def act_if_due(self, now):  # a status and a move behind it; once, the line is cut right behind a status
        there = self.live and self.ship() and self.heading in (None, self.sector)  # an acked move may be under way
        if not there or self.pending or now < self.act_at or self.own.get(READY_AT, 0) > self.clock + now * 1000:
            return
        moves, warps = self.did["moves_acked"], sorted(e[TO] for e in self.entities.values() if e.get(KIND) == "warp")
        drop = not self.did["drops"] and 0 < self.args.drop_after <= moves
        status, move = {"status": ("away", "busy", "online")[moves % 3]}, {"to": warps[moves % len(warps)]}
        for action in [{"status": status}] + [{"move": move}] * (moves < self.args.moves and not drop):
            self.did["actions"] += 1
            self.pending[self.did["actions"]] = action
            self.send("act", {"seq": self.did["actions"], "action": action})
        if drop:
            self.did["drops"] = self.ws.socket.shutdown(socket.SHUT_RDWR) or 1

    def answer(self, seq, answer):
        if seq not in self.pending:
            self.did["contradictions"] += answer not in (self.answers.get(seq), "already")
            return self.did.update(duplicates=self.did["duplicates"] + 1)
        (name, fields), self.answers[seq] = *self.pending.pop(seq).items(), answer
        self.check(answer in ("ack", "cooling_down"), f"{name} {seq}: {answer}")
        if answer != "ack":
            self.did["rejected"] += 1
        elif name == "status":
            self.shown, self.did["statuses_acked"] = fields["status"], self.did["statuses_acked"] + 1
        else:
            self.heading, self.did["moves_acked"] = fields["to"], self.did["moves_acked"] + 1
            print("moved", self.did["moves_acked"], file=sys.stderr, flush=True)

    def resolve(self, all_marks):
        for marks in (m for m in all_marks if m["actor"] == self.welcome["actor"]):
            high, bits = marks["high"], int(marks["bitmap"], 16)
            known = {a["seq"]: "ack" if a["answer"] == "ack" else a["answer"]["reject"]["code"] for a in marks["answers"]}
            self.did["contradictions"] += sum(known[s] != self.answers[s] for s in known.keys() & self.answers.keys())
            for seq in sorted(self.pending):
                if seq in known or seq < high - 128:
                    self.answer(seq, known.get(seq, "too_old"))
                elif seq == high or seq < high and bits >> (high - 1 - seq) & 1:
                    self.answer(seq, "already")
        if not self.live:  # the first state of this connection is there
            session, self.live = self.last.get("session"), True
            same = {"same_session": self.welcome["session"] == session, "same_sector": self.sector == self.left}
            self.resumes += [same | {k: self.welcome[k] for k in ("source", "recovered", "node")}] if session else []
            for seq in sorted(self.pending):
                self.send("act", {"seq": seq, "action": self.pending[seq]})

    def take(self, name, f):
        if f.get("room", 0) != 0:
            return
        if name == "welcome":
            self.check(not self.welcome or f["actor"] == self.welcome["actor"], f"the actor became {f['actor']}")
            self.welcome, self.comparing, self.clock = f, True, f["now_ms"] - time.monotonic() * 1000
            self.numbers = {name: number for number, name in enumerate(f["fields"], 1)}
            if f["source"] != "snapshot":
                epoch, version = map(int, (f.get("head") or "0-0").split("-"))
                self.tell(version, epoch)
                self.resolve(f["pending"])
        elif name in ("snapshot", "moved"):
            self.take_snapshot(f.get("snapshot", f))
        elif name in ("ack", "reject"):
            self.tell(f["version"] if name == "ack" else 0)
            self.answer(f["seq"], f.get("code", "ack"))
        elif name == "own" and f["to"] > max(self.version, self.own_version):
            self.own_version = f["to"]
            self.tell(f["to"])
            self.own = self.change(self.own, f["set"])
            self.compare({0: self.own}, f["sum"], f"own to {f['to']}")
        elif name == "delta" and f["to"] >= self.version >= f["from"]:
            self.version = f["to"]
            for c in f["changes"]:
                old = self.entities.pop(c["entity"], {})
                self.entities |= {} if c.get("removed") else {c["entity"]: self.change(old, c["set"])}
            self.compare(self.entities, f["sum"], f"delta to {f['to']}")
        elif name == "owner" and self.version >= f["version"] - 1:
            self.epoch, self.version = f["epoch"], max(self.version, f["version"])
        elif name in ("delta", "owner") and f.get("to", self.version) >= self.version:
            self.ask_again(f"versions are missing between {self.version} and {name} {f}")
        elif name in ("retry_after", "leaving"):
            self.act_at = time.monotonic() + f.get("ms", 0) / 1000
            self.return_at = time.monotonic() + f.get("reconnect_after_ms", 0) / 1000
        elif name == "error":  # this client does nothing that deserves one
            self.check(False, f"error {f}")

    def tell(self, version, epoch=0):  # of a later version than before the epoch is no earlier one either
        if version > self.told[0]:
            self.told = version, max(epoch or self.epoch, self.told[1])

    def take_snapshot(self, f):
        epoch, version = map(int, f["id"].split("-"))
        may_undo = self.sector != f["sector"] or f["reason"] == "lost" or not self.welcome["recovered"]
        self.check(may_undo or version >= self.version, f"the state went back from {self.version} to {version}")
        self.sector, self.epoch, self.version, self.own_version, self.comparing = f["sector"], epoch, version, version, True
        self.told = (0, 0)
        self.entities, self.own = {e["entity"]: self.change({}, e["fields"]) for e in f["entities"]}, self.change({}, f["own"])
        self.compare(self.entities, f["sum"], f"snapshot {f['id']}")
        self.compare({0: self.own}, f["own_sum"], f"own fields of snapshot {f['id']}")
        self.resolve(f["marks"])

    def change(self, fields, changes):
        changes = {key if isinstance(key, int) else self.numbers.get(key) or int(key): v for key, v in changes.items()}
        return {key: value for key, value in (fields | changes).items() if value is not None}

    def compare(self, entities, total, what):
        if self.comparing:
            hashes = (field_hash(alias, f, v) for alias, fields in entities.items() for f, v in fields.items())
            self.did["checksums_verified"] += 1
            if sum(hashes) % 2**32 != total:
                self.did["mismatches"] += 1
                self.ask_again(f"checksum of {what} in {self.sector} on {self.welcome['node']} differs")

    def ask_again(self, why):
        self.check(False, why)
        self.comparing = self.comparing and self.send("resync", {})

    def ship(self):
        ships = [e for e in self.entities.values() if e.get(KIND) == "ship" and e[PLAYER] == self.welcome["player"]]
        self.check(len(ships) < 2, f"{len(ships)} ships of this player in one sector")
        return ships[0] if ships else None

    def done(self):
        moves, ship = self.did["moves_acked"], self.ship()
        self.first_hop = self.first_hop or (ship and ship[HOP])
        self.did["hops"] = ship[HOP] - self.first_hop if ship else self.did["hops"]
        self.check(self.did["hops"] <= moves + len(self.pending), f"{self.did['hops']} hops by {moves} moves")
        arrived = ship and (ship[STATUS], self.did["hops"], self.sector) == (self.shown, moves, self.heading)
        return arrived and not self.pending and moves >= self.args.moves and self.did["statuses_acked"] > moves

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--json", action="store_true", help="use sectorbus.v1.json")
    for option, default in ("--token", ""), ("--moves", 6), ("--drop-after", 0), ("--seconds", 60):  # drop 0: never
        parser.add_argument(option, type=type(default), default=default)
    client = Client(parser.parse_args())
    client.run()
    client.check(not client.did["contradictions"], "an action was answered in two ways")
    client.check(client.did["drops"] or not client.args.drop_after, "the connection was never cut")
    print(json.dumps(client.did | {"resumes": client.resumes, "problems": client.problems}))
    sys.exit(1 if client.problems else 0)
