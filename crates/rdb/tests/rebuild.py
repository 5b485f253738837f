#!/usr/bin/env python3
"""Rebuilds values from every server on every other with `examples/rebuild`: rebuild.py SERVERS_DIR EXAMPLE [source [target]]

EXAMPLE is the built example. Each source loads its golden dump and is given more; what the example makes of its dump is sent
to each target, and every value is then read from both with the commands of its type. Prints a line for each pair and the
values that differ. Exits with 1 where one does that should not. Ports 7500 to 7540. Python's standard library only.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden"))
from make import FAR, HERE, Refused, start
from values import parts

MANY = 5000


def version(server):
    family, number = server.split("-")
    major, minor = map(int, number.split("."))
    return {"redict": ("redict", (7, 2)), "valkey": ("valkey", (major, minor))}.get(family, ("redis", (major, minor)))


def at_least(server, redis, valkey=(0, 0)):
    family, number = version(server)
    return number >= (valkey if family == "valkey" else redis)


def more(c, server):
    """Fills in what the golden dumps do not have: much of each type, and the odd ends of streams."""
    rng = random.Random(7)
    c("SELECT", 0)
    c("SET", "big:noise", bytes(rng.randrange(256) for _ in range(300_000)))
    c("SET", "big:lzf", b"".join(b"line %d of a text\n" % (i % 500) for i in range(60_000)))
    many = [b"element %d" % rng.randrange(10**9) if i % 3 else b"%d" % rng.randrange(-(10**6), 10**6) for i in range(MANY)]
    c("RPUSH", "many:list", *many, "x" * 100_000)
    c("SADD", "many:set", *many)
    c("SADD", "many:intset", *[rng.randrange(2**33) for _ in range(400)])
    scores = [repr(rng.choice([rng.random(), rng.uniform(-1e300, 1e300), rng.randrange(10**6)])) for _ in many]
    c("ZADD", "many:zset", *[word for pair in zip(scores, many) for word in pair])
    c("ZADD", "few:zset", "0.1", "a", "1e-300", "b", "-inf", "c", "12345678901234567", "d", "5e-324", "e")
    c("HMSET", "many:hash", *[word for i, m in enumerate(many) for word in (m, i)])
    c("PEXPIREAT", "many:hash", FAR + 1)
    for i in range(400):
        if not c.maybe("HPEXPIREAT", "many:hash", FAR + i // 7, "FIELDS", 1, many[i]):
            break
    if not at_least(server, (5, 0)):
        return
    for i in range(MANY):
        c("XADD", "s:many", f"{i + 10}-{i % 5}", "f", i, "g", many[i], *(["h", "x"] if i % 50 == 0 else []))
    for group, at in (("a", "0"), ("b", "4000"), ("b2", "10-0"), ("c", "$"), ("d", "999999999-0")):
        c("XGROUP", "CREATE", "s:many", group, at)
    for consumer, count in (("one", 700), ("two", 1), ("two", 900), ("three", 30)):
        c("XREADGROUP", "GROUP", "a", consumer, "COUNT", count, "STREAMS", "s:many", ">")
    c("XCLAIM", "s:many", "a", "three", 0, *[f"{i + 10}-{i % 5}" for i in range(0, 300, 3)], "RETRYCOUNT", 9, "JUSTID")
    for i in range(3, 40, 7):
        c("XADD", "s:holes", f"{i}-1", "f", i)
    for at in ("10-1", "38-1"):
        c("XDEL", "s:holes", at)
    for name, at in (("low", "3-1"), ("mid", "17-1"), ("top", "38-1")):
        c("XGROUP", "CREATE", "s:holes", name, at)
    c("XGROUP", "CREATE", "s:unused", "g", "$", "MKSTREAM")
    c("XADD", "s:emptied", "7-7", "f", "v")
    c("XGROUP", "CREATE", "s:emptied", "g", "0")
    c("XDEL", "s:emptied", "7-7")
    c("XADD", "s:setid", "7-7", "f", "v")
    c("XSETID", "s:setid", "99-0")
    # Pending entries that are no more: before, between and behind the others, and of an empty stream.
    for key, gone in (("deleted:some", ("1-0", "3-0", "5-0")), ("deleted:all", ("1-0", "2-0", "3-0", "4-0", "5-0"))):
        for i in range(1, 6):
            c("XADD", key, f"{i}-0", "f", i)
        c("XGROUP", "CREATE", key, "g", "0")
        c("XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "STREAMS", key, ">")
        c("XDEL", key, *gone)
    c("XADD", "deleted:trimmed", "8-0", "f", "v")
    c("XADD", "deleted:trimmed", "9-0", "f", "v")
    c("XGROUP", "CREATE", "deleted:trimmed", "g", "0")
    c("XREADGROUP", "GROUP", "g", "c", "STREAMS", "deleted:trimmed", ">")
    c("XADD", "deleted:trimmed", "MAXLEN", 2, "10-0", "f", "v")


def send(c, commands):
    """Sends commands as they are; gives the errors among the replies."""
    errors, count = [], 0
    commands += b"*2\r\n$4\r\nECHO\r\n$8\r\nPING-END\r\n"
    writer = os.fork()
    if writer == 0:
        c.socket.sendall(commands)
        os._exit(0)
    while True:
        reply = c.read()
        if reply == b"PING-END":
            break
        count += 1
        if isinstance(reply, Refused):
            errors.append(str(reply))
    os.waitpid(writer, 0)
    return errors, count


def differ(source, target, from_, to):
    """Keys whose values differ, where both servers can tell."""
    both = lambda redis, valkey=(0, 0): at_least(from_, redis, valkey) and at_least(to, redis, valkey)
    # A source without history leaves it to the target to make it out.
    told = {
        "times": both((6, 0)),
        "history": both((7, 0)),
        "field_ttl": both((7, 4), (9, 0)),
    }
    out = []
    for db in (0, 3, 9):
        source("SELECT", db)
        target("SELECT", db)
        keys = set(source("KEYS", "*"))
        for key in sorted(keys | set(target("KEYS", "*"))):
            kind = source("TYPE", key)
            if kind not in (b"string", b"list", b"set", b"zset", b"hash", b"stream"):
                continue
            if kind == b"stream" and not at_least(to, (5, 0)):
                continue
            ours, theirs = parts(source, key, **told), target("TYPE", key) != b"none" and parts(target, key, **told)
            ttl = source("PTTL", key), target("PTTL", key)
            if ours != theirs or (ttl[0] < 0) != (ttl[1] < 0) or abs(ttl[0] - ttl[1]) > 5000:
                out.append((key.decode(errors="replace"), ours, theirs))
    return out


def run(servers, example, from_, source, dump, targets):
    wrong = 0
    for to, target in targets.items():
        drop = [] if at_least(to, (7, 4), (9, 0)) else ["drop"]
        # The release candidate of 4.0 calls itself 3.9, and rightly.
        name = {"redis-4.0": "redis-3.9"}.get(to, to)
        made = subprocess.run([example, dump, name, *drop, "700"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        target("FLUSHALL")
        # Something must be in the way of one key.
        target("SELECT", 0)
        target("SET", "many:list", "in the way")
        errors, count = send(target, made.stdout)
        bad = differ(source, target, from_, to)
        refused = {line.split(": ", 1)[1] for line in made.stderr.decode().splitlines()}
        print(f"{from_} -> {to}: {count} commands, {len(errors)} errors, {len(bad)} differ", *sorted(refused))
        for error in errors[:3]:
            print("   ", error)
        for key, ours, theirs in bad[:5]:
            print("   ", key, str(ours)[-300:], "|", str(theirs)[-300:])
        wrong += len(errors) + len(bad) + made.returncode
        sys.stdout.flush()
    return wrong


def main():
    servers, example, *only = sys.argv[1:]
    servers = os.path.abspath(servers)
    names = sorted(n for n in os.listdir(servers) if os.path.islink(os.path.join(servers, n)))
    started, targets, wrong = [], {}, 0
    folder = tempfile.mkdtemp(prefix="rebuild-")
    try:
        for i, name in enumerate(names):
            if len(only) < 2 or name == only[1]:
                process, targets[name] = start(servers, name, "plain", tempfile.mkdtemp(dir=folder), 7500 + i)
                started.append(process)
        for i, name in enumerate(names):
            if only and name != only[0]:
                continue
            home = tempfile.mkdtemp(dir=folder)
            shutil.copyfile(os.path.join(HERE, name + ".rdb"), os.path.join(home, "dump.rdb"))
            process, source = start(servers, name, "plain", home, 7520 + i)
            started.append(process)
            more(source, name)
            source("SAVE")
            wrong += run(servers, example, name, source, os.path.join(home, "dump.rdb"), targets)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
