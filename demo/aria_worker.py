#!/usr/bin/env python3
"""A worker for `aria` without a line of Rust: aria_worker.py redis://[user:password@]host:port region [name] [claim_ms]
Answers from the player's own sector, with the standard library only. Run as many as you like."""
import json, os, socket, sys, urllib.parse


class Redis:
    def __init__(self, url):
        at = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((at.hostname, at.port or 6379))
        self.lines = self.socket.makefile("rb")
        if at.password:
            self("AUTH", at.username or "default", urllib.parse.unquote(at.password))

    def __call__(self, *words):
        words = [b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words)]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(words))
        return self.answer()

    def answer(self):
        line = self.lines.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind in (b"", b"-"):
            raise RuntimeError(rest or "Redis is gone")
        if kind in (b"+", b":") or rest == "-1":
            return None if rest == "-1" else rest
        if kind == b"$":
            return self.lines.read(int(rest) + 2)[:-2].decode()
        return [self.answer() for _ in range(int(rest))]


def text_for(redis, region, call):
    body = json.loads(call["body"])
    ask = str(body.get("ask") if isinstance(body, dict) else body).lower()
    if "where" in ask:
        return f"You are in sector {call['sector']}."
    if "owner" in ask:
        owner = redis("HGET", f"sb:{region}:{{sector:{call['sector']}}}:head", "owner")
        return f"Node {owner.split('#')[0]} looks after this sector." if owner else "Nobody looks after this sector."
    return "I do not know about that. Ask me: where am I? who is this sector's owner?"


def work(redis, region, name=f"python-{os.getpid()}", claim_ms=5000):
    calls = f"sb:{region}:{{service:aria}}:calls"
    try:
        redis("XGROUP", "CREATE", calls, "workers", "0", "MKSTREAM")
    except RuntimeError as error:
        assert "BUSYGROUP" in str(error), error
    while True:  # What a worker that died has left, else what is new.
        items = redis("XAUTOCLAIM", calls, "workers", name, claim_ms, "0-0", "COUNT", 10)[1]
        if not items:
            found = redis("XREADGROUP", "GROUP", "workers", name, "COUNT", 10, "BLOCK", claim_ms, "STREAMS", calls, ">")
            items = found[0][1] if found else []
        for at, words in items:
            call = dict(zip(words[::2], words[1::2]))
            body = json.dumps({"text": text_for(redis, region, call)})
            redis("XADD", call["reply_to"], "MAXLEN", "~", 10000, "*", "id", call["id"], "body", body)
            redis("XACK", calls, "workers", at), redis("XDEL", calls, at)

work(Redis(sys.argv[1]), *sys.argv[2:])
