#!/usr/bin/env python3
"""Makes the golden dumps with real servers: make.py SERVERS_DIR [name...]

SERVERS_DIR holds one folder for each server (redis-2.8 ... valkey-9.1), with `redis-server` in it, and `modules/`. For each
server this writes NAME.rdb, what SAVE wrote, and NAME.txt, what the server itself says is in it, one key to a line:

    db  key in hex  group  expiry in Unix ms or -  checksum of DUMP's answer in hex

A first line `version N` gives the RDB version in DUMP's footers. Thresholds of encodings are set low, so that both sides
of each fit in a small file. Python's standard library only.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# 2100-01-01, in Unix ms.
FAR = 4102444800000

# Extra dumps: name, server, extra arguments, what to fill in.
VARIANTS = [
    ("redis-7.4-cluster", "redis-7.4", "cluster"),
    ("valkey-8.1-cluster", "valkey-8.1", "cluster"),
    ("valkey-9.0-cluster", "valkey-9.0", "cluster"),
    ("redis-4.0-hellotype", "redis-4.0", "hellotype"),
    ("redis-5.0-hellotype", "redis-5.0", "hellotype"),
    ("valkey-9.0-hellotype", "valkey-9.0", "hellotype"),
    ("redis-7.2-stack", "redis-7.2", "stack"),
    ("redis-7.4-stack", "redis-7.4", "stack"),
    ("redis-7.0-nochecksum", "redis-7.0", "nochecksum"),
]
POLICY = {"redis-5.0": "allkeys-lru", "redis-6.0": "allkeys-lfu", "valkey-8.0": "allkeys-lfu", "redis-8.6": "allkeys-lru"}
THRESHOLDS = {
    "hash-max-ziplist-entries": "4",
    "hash-max-ziplist-value": "16",
    "hash-max-listpack-entries": "4",
    "hash-max-listpack-value": "16",
    "list-max-ziplist-entries": "4",
    "list-max-ziplist-value": "16",
    "list-max-ziplist-size": "4",
    "list-max-listpack-size": "4",
    "set-max-intset-entries": "4",
    "set-max-listpack-entries": "4",
    "set-max-listpack-value": "16",
    "zset-max-ziplist-entries": "4",
    "zset-max-ziplist-value": "16",
    "zset-max-listpack-entries": "4",
    "zset-max-listpack-value": "16",
    "stream-node-max-entries": "3",
}
GROUPS = {"string", "list", "set", "zset", "hash", "stream"}


class Refused(Exception):
    """The server answered with an error."""


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def __call__(self, *args):
        args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.socket.sendall(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args))
        answer = self.read()
        if isinstance(answer, Refused):
            raise answer
        return answer

    def maybe(self, *args):
        """Does what an older server may not know; says whether it did."""
        try:
            self(*args)
            return True
        except Refused:
            return False

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            return Refused(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return rest


def noise(length, seed):
    return bytes(random.Random(seed).randrange(256) for _ in range(length))


def strings(c):
    for n in (0, 1, -1, 127, 128, -128, -129, 32767, 32768, -32768, -32769, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1,
              2**63 - 1, -(2**63)):
        c("SET", f"int:{n}", n)
    c("SET", "empty", "")
    c("SET", "short", "value")
    c("SET", "no-int", "007")
    for length in (20, 21, 63, 64, 65, 300):
        c("SET", f"noise:{length}", noise(length, length))
    c("SET", "lzf:abc", "abc" * 100)
    c("SET", "lzf:run", "a" * 1000)
    c("SET", "lzf:mixed", noise(100, 1) + b"-" * 50 + noise(100, 1) + noise(40, 2) * 3)
    # Keys are written as strings are: as integers, compressed, with any byte.
    for key in ("12", "-7", "1000", "70000", "99999999999", "k" * 60, noise(30, 9), ""):
        c("SET", key, "v")
    c("SET", "ttl:ms", "v")
    c("PEXPIREAT", "ttl:ms", FAR)
    c("SET", "ttl:s", "v")
    c("EXPIREAT", "ttl:s", FAR // 1000)


def collections(c):
    for n in (1, 4, 5, 13):
        values = [i * 1000 if i % 2 else f"e{i}" for i in range(n)]
        c("RPUSH", f"list:{n}", *values)
        c("SADD", f"set:{n}", *values)
        c("SADD", f"intset:{n}", *[i * 70000 for i in range(n)])
        for i, v in enumerate(values):
            c("ZADD", f"zset:{n}", i * 1.5 - 3, v)
            c("HSET", f"hash:{n}", v, i * 300)
    for length in (16, 17, 200):
        for text, name in ((noise(length, length), "noise"), (b"x" * length, "run")):
            c("RPUSH", f"list:{name}:{length}", text, "b")
            c("SADD", f"set:{name}:{length}", text, "b")
            c("ZADD", f"zset:{name}:{length}", 1, text)
            c("HSET", f"hash:{name}:{length}", "f", text)
    for score in ("inf", "-inf", "3.141592653589793", "1e300", "-0", "17"):
        c("ZADD", "zset:scores", score, f"score {score}")
    c("SADD", "intset:wide", 1, 2**40)
    c("HSET", "ttl:hash", "f", "v")
    c("PEXPIREAT", "ttl:hash", FAR)
    # From 7.0 on an element over a threshold is a list node of its own.
    if c.maybe("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b"):
        c("RPUSH", "list:plain", "a", noise(200, 3), "b", "y" * 300)


def streams(c):
    if not c.maybe("XADD", "stream:1", "1-1", "f", "v"):
        return
    for i in range(8):
        c("XADD", "stream:groups", f"{1000 + i}-{i}", "field", f"value{i}", "other", "x" * 30)
    c("XADD", "stream:empty", "5-0", "f", "v")
    c("XDEL", "stream:empty", "5-0")
    c("XDEL", "stream:groups", "1001-1")
    c("XGROUP", "CREATE", "stream:groups", "none", "$")
    c("XGROUP", "CREATE", "stream:groups", "some", "0")
    c("XREADGROUP", "GROUP", "some", "alice", "COUNT", "3", "STREAMS", "stream:groups", ">")
    c("XREADGROUP", "GROUP", "some", "bob", "COUNT", "2", "STREAMS", "stream:groups", ">")
    c("XACK", "stream:groups", "some", "1002-2")
    c.maybe("XGROUP", "CREATECONSUMER", "stream:groups", "some", "idle")
    # Idempotent producers, Redis 8.6.
    if c.maybe("XADD", "stream:idmp", "IDMP", "producer-1", "id-1", "*", "f", "v"):
        c("XADD", "stream:idmp", "IDMP", "producer-1", "id-2", "*", "f", "v")
        c("XADD", "stream:idmp", "IDMP", "producer-1", "id-2", "*", "f", "v")
        c("XADD", "stream:idmp", "IDMP", "producer-2", "12", "*", "f", "v")
        c("XGROUP", "CREATE", "stream:idmp", "g", "0")


def field_ttl(c):
    for n in (2, 8):
        for i in range(n):
            c("HSET", f"hash-ttl:{n}", f"f{i}", f"value{i}")
        if not c.maybe("HPEXPIREAT", f"hash-ttl:{n}", FAR, "FIELDS", 2, "f0", "f1"):
            return
        c("HPEXPIREAT", f"hash-ttl:{n}", FAR + 77777, "FIELDS", 1, "f1")


def plain(c):
    strings(c)
    collections(c)
    streams(c)
    field_ttl(c)
    c.maybe("VADD", "vector", "VALUES", 3, 0.1, 1.2, 0.5, "element")
    c.maybe("FUNCTION", "LOAD", "#!lua name=golden\nredis.register_function('golden', function() return 1 end)\n")
    c("SELECT", 3)
    c("SET", "other-db", "v")
    c("SELECT", 9)
    c("RPUSH", "last-db", "a")


def cluster(c):
    c("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    while b"cluster_state:ok" not in c("CLUSTER", "INFO"):
        time.sleep(0.05)
    for i in range(12):
        c("SET", f"key:{i}", i)
        c("SET", f"ttl:{i}", i)
        c("PEXPIREAT", f"ttl:{i}", FAR)
    c("RPUSH", "list", "a", "b")


def hellotype(c):
    c("SET", "before", "v")
    for i in (5, 1, 3):
        c("HELLOTYPE.INSERT", "module", i)
    c("SET", "zz-after", "v")


def stack(c):
    c("SET", "before", "v")
    c("JSON.SET", "json", "$", '{"a": [1, 2.5, "three", null, true], "b": {"c": "d"}}')
    c("BF.RESERVE", "bloom", "0.1", 10)
    c("BF.ADD", "bloom", "x")
    c("TS.CREATE", "series", "LABELS", "a", "b")
    c("TS.ADD", "series", 1000, 1.5)
    c.maybe("TOPK.RESERVE", "topk", 2, 4, 3, 0.9)
    c.maybe("FT.CREATE", "index", "ON", "HASH", "PREFIX", 1, "doc:", "SCHEMA", "title", "TEXT")
    c("HSET", "doc:1", "title", "hello")
    c("PEXPIREAT", "json", FAR)


def arguments(servers, server, fill, folder):
    arguments = ["--save", "", "--dir", folder, "--dbfilename", "dump.rdb", "--bind", "127.0.0.1", "--databases", "16"]
    family, number = server.split("-")
    if family != "redis" or float(number) >= 7.0:
        arguments += ["--enable-debug-command", "yes"]
    if fill == "cluster":
        arguments += ["--cluster-enabled", "yes"]
    if fill == "nochecksum":
        arguments += ["--rdbchecksum", "no"]
    if fill == "hellotype":
        arguments += ["--loadmodule", os.path.join(servers, "modules", "hellotype.so")]
    if fill == "stack":
        for module in ("redisearch", "rejson", "redisbloom", "redistimeseries"):
            arguments += ["--loadmodule", os.path.join(servers, server, "modules", module + ".so")]
    return arguments


def start(servers, server, fill, folder, port=0):
    """Starts a server in `folder`, which may hold a dump.rdb for it to load, at a port of its own or the one given."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    if fill == "cluster" and port > 55000:
        port -= 20000
    program = os.path.join(servers, server, "redis-server")
    process = subprocess.Popen([program, "--port", str(port), *arguments(servers, server, fill, folder)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    for _ in range(200):
        try:
            client = Client(port)
            if client("PING") == b"PONG":
                return process, client
        except (OSError, Refused):
            pass
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise SystemExit(f"{server} does not start")


def listing(c, databases):
    """What the server says it holds, in the form of the .txt files."""
    lines, version = [], None
    for db in databases:
        if len(databases) > 1:
            c("SELECT", db)
        for key in sorted(c("KEYS", "*")):
            kind = c("TYPE", key).decode()
            payload = c("DUMP", key)
            version = int.from_bytes(payload[-10:-8], "little")
            expiry = str(FAR) if c("PTTL", key) > 0 else "-"
            group = kind if kind in GROUPS else "module"
            crc = int.from_bytes(payload[-8:], "little")
            lines.append(f"{db} {key.hex() or '-'} {group} {expiry} {crc:016x}")
    return "\n".join([f"version {version}", *lines]) + "\n"


def make(servers, name, server, fill):
    folder = tempfile.mkdtemp(prefix="golden-")
    process, c = start(servers, server, fill, folder)
    try:
        for option, value in THRESHOLDS.items():
            c.maybe("CONFIG", "SET", option, value)
        if fill == "plain" and server in POLICY:
            c("CONFIG", "SET", "maxmemory-policy", POLICY[server])
        fills = {"plain": plain, "nochecksum": field_ttl, "cluster": cluster, "hellotype": hellotype, "stack": stack}
        fills[fill](c)
        text = listing(c, [0] if fill == "cluster" else [0, 3, 9])
        c("SAVE")
        shutil.copyfile(os.path.join(folder, "dump.rdb"), os.path.join(HERE, name + ".rdb"))
        with open(os.path.join(HERE, name + ".txt"), "w") as out:
            out.write(text)
        print(name, os.path.getsize(os.path.join(HERE, name + ".rdb")), "bytes,", text.count("\n") - 1, "keys")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    servers, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    names = sorted(n for n in os.listdir(servers) if os.path.islink(os.path.join(servers, n)))
    for name, server, fill in [(n, n, "plain") for n in names] + VARIANTS:
        if not wanted or name in wanted:
            make(servers, name, server, fill)


if __name__ == "__main__":
    main()
