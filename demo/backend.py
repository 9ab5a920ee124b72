#!/usr/bin/env python3
"""A game's backend in one page: pays every player who joins a bounty, once, whatever crashes in between. It reads the
stream `events` with a consumer group and changes state through the door (/api/v1), with its key in BACKEND_KEY."""
import argparse, hashlib, json, os, socket, time, urllib.error, urllib.request

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--door", required=True, help="http://host:port")
options.add_argument("--redis", required=True, help="host:port")
options.add_argument("--region", required=True)
options.add_argument("--bounty", type=int, default=500)
options.add_argument("--count", type=int, help="end after this many events")
args = options.parse_args()
EVENTS, GROUP, ME = f"sb:{args.region}:{{out}}:events", "bounties", socket.gethostname()
PLANS = "backend:bounties"  # our own: where each bounty is being paid, written before it is

class Redis:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.stream = socket.create_connection((host, int(port))).makefile("rwb")

    def __call__(self, *words):
        bulks = (b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words))
        self.stream.write(b"*%d\r\n" % len(words) + b"".join(bulks))
        self.stream.flush()
        return self.answer()

    def answer(self):
        kind, rest = (line := self.stream.readline())[:1], line[1:-2]
        if kind in (b"-", b""):
            raise ConnectionError(rest.decode() or "Redis is gone")
        if kind in b"$*" and rest == b"-1":
            return None
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return self.stream.read(int(rest) + 2)[:-2].decode() if kind == b"$" else rest.decode()

def ask(method, path, body=None):
    headers = {"Authorization": "Bearer " + os.environ["BACKEND_KEY"], "Content-Type": "application/json"}
    request = urllib.request.Request(args.door + path, json.dumps(body).encode() if body else None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)
    except OSError as gone:
        return 503, {"code": str(gone)}

def pay(redis, event):
    """Until it is certain. A key is one answer of one room: only when that says no is another room asked."""
    name, player = hashlib.sha256(event["id"].encode()).hexdigest()[:32], event["player"]
    room, attempt = (redis("HGET", PLANS, name) or f"{event['room']} 0").split()
    while redis("HSET", PLANS, name, f"{room} {attempt}") is not None:
        change = {"credits": {"player": player, "delta": args.bounty}}
        status, said = ask("POST", f"/api/v1/rooms/{room}/changes", {"key": f"{name}-{attempt}", "changes": [change]})
        if status == 200:
            return {"paid": player, "room": room, "entry": said["entry"]}
        if said["code"] == "not_here":
            status, said = ask("GET", f"/api/v1/players/{player}")
            room, attempt = (f"sector:{said['sector']}", int(attempt) + 1) if status == 200 else (room, attempt)
        elif status not in (429, 503):
            raise SystemExit(f"{status}: {said}")
        time.sleep(0.2)

def main():
    redis, pending, seen = Redis(args.redis), "0", 0
    try:
        redis("XGROUP", "CREATE", EVENTS, GROUP, "0", "MKSTREAM")
    except ConnectionError as there:
        assert "BUSYGROUP" in str(there), there
    while args.count is None or seen < args.count:  # first what we took and did not finish, then what is new
        read = redis("XREADGROUP", "GROUP", GROUP, ME, "COUNT", 1, "BLOCK", 1000, "STREAMS", EVENTS, pending)
        pending, items = (pending, read[0][1]) if read and read[0][1] else (">", [])
        for item, fields in items:
            if fields:  # none: we took it, and the stream was trimmed before we finished it
                event, seen = dict(zip(fields[::2], fields[1::2])), seen + 1
                done = pay(redis, event) if event.get("kind") == "join" else {}
                print(json.dumps({**event, **done}), flush=True)
            redis("XACK", EVENTS, GROUP, item)

main()
