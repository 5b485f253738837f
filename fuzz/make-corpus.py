#!/usr/bin/env python3
"""Makes the committed corpus from real servers. usage: make-corpus.py SERVERS_DIR

resp: what each server sends on its replication link and replies to a pipeline, in RESP2 and, where it has it, RESP3.
rdb: the golden dumps of crates/rdb, and one DUMP payload of each type.
Each file starts with the four bytes that say how a target cuts the rest.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "crates/rdb/tests/golden"
SERVERS = ["redis-2.8", "redis-3.2", "redis-5.0", "redis-6.2", "redis-7.0", "redis-8.6", "valkey-9.1"]
STEPS = bytes([6, 0, 40, 255])
MAX_BYTES = 8192

WRITES = [
    ["SET", "s", "v"],
    ["SET", "binary", b"\x00\r\n$1\r\n\xff" * 3],
    ["SET", "long", "x" * 700],
    ["SETEX", "ttl", 1000, "v"],
    ["INCRBY", "n", 1234567890123],
    ["RPUSH", "l", *range(40)],
    ["SADD", "set", "1", "2", "3"],
    ["HMSET", "h", "f", "v", "g", ""],
    ["ZADD", "z", "1.5", "a", "-inf", "b"],
    ["XADD", "x", "*", "f", "v"],
    ["HSET", "hf", "f", "v"],
    ["HEXPIRE", "hf", 1000, "FIELDS", 1, "f"],
    ["MULTI"],
    ["INCR", "n2"],
    ["LPUSH", "s", "wrong type"],
    ["EXEC"],
    ["EVAL", "redis.call('set','a','1') redis.call('incr','a') return {1,{'x',false}}", 0],
    ["SELECT", 3],
    ["MSET", *[w for i in range(30) for w in (f"k{i}", i)]],
    ["MOVE", "k0", 4],
    ["DEL", "k1", "k2"],
    ["FLUSHDB"],
    ["SELECT", 0],
]
READS = [
    ["GET", "s"],
    ["GET", "none"],
    ["LPUSH", "s", "v"],
    ["NOSUCH"],
    ["LRANGE", "l", 0, -1],
    ["HGETALL", "h"],
    ["SMEMBERS", "set"],
    ["ZRANGE", "z", 0, -1, "WITHSCORES"],
    ["ZSCORE", "z", "b"],
    ["XRANGE", "x", "-", "+"],
    ["BLPOP", "none", "none2", "0.01"],
    ["EVAL", "return {1,{'x',false},redis.error_reply('ERR mine')}", 0],
    ["INFO", "replication"],
]
# Only in RESP3: a map, a boolean, a big number, a push, and so on.
DEBUGS = [["DEBUG", "PROTOCOL", p] for p in "string integer double null array set map attrib push verbatim true bignum".split()]


def command(args):
    words = [a if isinstance(a, bytes) else str(a).encode() for a in args]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Server:
    def __init__(self, path, help_text):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.dir = tempfile.mkdtemp()
        args = [path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir]
        if help_text:
            args += ["--enable-debug-command", "yes"]
        self.process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.connect().close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{path} does not start")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 5)

    def stop(self):
        with self.connect() as s:
            s.sendall(command(["SHUTDOWN", "NOSAVE"]))
        self.process.wait(10)
        shutil.rmtree(self.dir)


def read_until_quiet(s, quiet=0.4):
    s.settimeout(quiet)
    out = b""
    try:
        while data := s.recv(1 << 16):
            out += data
    except TimeoutError:
        pass
    return out


def keep(kind, name, data):
    assert len(data) + 4 <= MAX_BYTES, (name, len(data))
    (HERE / "corpus" / kind / name).write_bytes(STEPS + data)


def traffic(name, path):
    server = Server(path, name in ("redis-7.0", "redis-8.6", "valkey-9.1"))
    with server.connect() as link, server.connect() as client:
        link.sendall(command(["SYNC"]))
        header = read_until_quiet(link, 2.0)
        assert b"REDIS0" in header or b"VALKEY" in header
        client.sendall(b"".join(map(command, WRITES)))
        replies = read_until_quiet(client)
        keep("resp", f"{name}-stream", read_until_quiet(link))
        client.sendall(b"".join(map(command, READS)))
        keep("resp", f"{name}-replies", replies + read_until_quiet(client))
        if name not in ("redis-2.8", "redis-3.2", "redis-5.0"):
            client.sendall(b"".join(map(command, [["HELLO", 3], *READS, *DEBUGS])))
            keep("resp", f"{name}-resp3", read_until_quiet(client))
        for key in ("s", "n", "l", "set", "h", "z", "x", "hf"):
            client.sendall(command(["DUMP", key]))
            length, _, rest = read_until_quiet(client, 0.05).partition(b"\r\n")
            if length != b"$-1" and name in ("redis-7.0", "redis-8.6", "valkey-9.1"):
                keep("rdb", f"{name}-dump-{key}", rest[:-2])
    server.stop()


def main():
    for kind in ("resp", "rdb"):
        shutil.rmtree(HERE / "corpus" / kind, ignore_errors=True)
        (HERE / "corpus" / kind).mkdir(parents=True)
    for name in SERVERS:
        traffic(name, os.path.join(sys.argv[1], name, "redis-server"))
    keep("resp", "inline", b"\nPING\r\n\r\n*0\r\n set k\tv \n")
    keep("resp", "resp3-all", b"_\r\n#t\r\n,1.5\r\n(12345678901234567890\r\n!5\r\nERR x\r\n=5\r\ntxt:a\r\n%1\r\n+a\r\n:1\r\n~1\r\n:1\r\n"
         b"|1\r\n+ttl\r\n:9\r\n>2\r\n+a\r\n*-1\r\n*2\r\n$-1\r\n-ERR y\r\n")
    for golden in sorted(g for g in GOLDEN.glob("*.rdb") if g.stat().st_size + 4 <= MAX_BYTES):
        keep("rdb", golden.stem, golden.read_bytes())


main()
