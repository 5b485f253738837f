#!/usr/bin/env python3
"""Says what is in the golden dumps, as real servers read them: values.py SERVERS_DIR [name...]

Each dump is loaded by the server that made it, and every value is read with the commands of its type. NAME.values gets one
line for each key that is no module's:

    db  key in hex  number of elements  checksum in hex

The checksum is the CRC64 of servers over the parts of the value, each as `<length>:<bytes>,`; `parts` says which they are.
A first line `times yes` or `times no` says whether the server tells when pending entries were delivered.
Python's standard library only.
"""

import os
import shutil
import struct
import sys
import tempfile

from make import HERE, VARIANTS, Refused, start

# CRC-64/REDIS: reflected, no inversion.
POLY = 0x95AC9329AC4BC9B5
TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (POLY if n & 1 else 0)
    TABLE.append(n)


def crc64(data):
    crc = 0
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def ask(c, *args):
    try:
        return c(*args)
    except Refused:
        return None


def pairs(flat):
    return list(zip(flat[::2], flat[1::2]))


def hash_parts(c, key, field_ttl):
    fields = sorted(pairs(c("HGETALL", key)))
    out = []
    for field, value in fields:
        expiry = field_ttl and ask(c, "HPEXPIRETIME", key, "FIELDS", 1, field)
        out += [field, value, b"%d" % expiry[0] if expiry and expiry[0] > 0 else b"-"]
    return len(fields), out


def stream_parts(c, key, times, history):
    info = dict(pairs(c("XINFO", "STREAM", key)))
    entries = c("XRANGE", key, "-", "+")
    out = []
    for entry, fields in entries:
        out += [entry, *fields]
    out += [b"last", info[b"last-generated-id"]]
    if history and b"entries-added" in info:
        out += [b"%d" % info[b"entries-added"], info[b"max-deleted-entry-id"]]
    else:
        out += [b"-", b"-"]
    delivered = {}
    for group in pairs(c("XINFO", "STREAM", key, "FULL", "COUNT", 0)) if times else []:
        if group[0] == b"groups":
            for g in map(dict, map(pairs, group[1])):
                delivered.update({(g[b"name"], p[0]): p[2] for p in g[b"pending"]})
    groups = sorted(map(dict, map(pairs, c("XINFO", "GROUPS", key))), key=lambda g: g[b"name"])
    for group in groups:
        name = group[b"name"]
        read = group.get(b"entries-read") if history else None
        out += [b"group", name, group[b"last-delivered-id"], b"-" if read is None else b"%d" % read]
        consumers = map(dict, map(pairs, c("XINFO", "CONSUMERS", key, name)))
        out += [b"consumers", *sorted(consumer[b"name"] for consumer in consumers)]
        for entry, consumer, _, count in c("XPENDING", key, name, "-", "+", 1000000):
            out += [entry, consumer, b"%d" % count, b"%d" % delivered.get((name, entry), 0)]
    return len(entries), out


def parts(c, key, times=True, history=True, field_ttl=True):
    """The number of elements of the value under `key`, and what it is made of; None for a module's."""
    kind = c("TYPE", key)
    if kind == b"string":
        value = c("GET", key)
        return len(value), [value]
    if kind == b"list":
        value = c("LRANGE", key, 0, -1)
        return len(value), value
    if kind == b"set":
        value = sorted(c("SMEMBERS", key))
        return len(value), value
    if kind == b"zset":
        value = sorted((m, struct.pack("<d", float(s) + 0.0)) for m, s in pairs(c("ZRANGE", key, 0, -1, "WITHSCORES")))
        return len(value), [part for pair in value for part in pair]
    if kind == b"hash":
        return hash_parts(c, key, field_ttl)
    if kind == b"stream":
        return stream_parts(c, key, times, history)
    return None


def values(c, times):
    lines = [f"times {'yes' if times else 'no'}"]
    for db in (0, 3, 9):
        c("SELECT", db)
        for key in sorted(c("KEYS", "*")):
            found = parts(c, key, times)
            if found:
                count, all_parts = found
                crc = crc64(b"".join(b"%d:%s," % (len(part), part) for part in all_parts))
                lines.append(f"{db} {key.hex() or '-'} {count} {crc:016x}")
    return "\n".join(lines) + "\n"


def main():
    servers, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    variants = {name: (server, fill) for name, server, fill in VARIANTS}
    for file in sorted(os.listdir(HERE)):
        name, ext = os.path.splitext(file)
        if ext != ".rdb" or wanted and name not in wanted or name == "redis-4.0-hellotype":
            continue
        server, fill = variants.get(name, (name, "plain"))
        folder = tempfile.mkdtemp(prefix="values-")
        shutil.copyfile(os.path.join(HERE, file), os.path.join(folder, "dump.rdb"))
        # A dump of a cluster is read as well by a server that is in none.
        process, c = start(servers, server, "plain" if fill == "cluster" else fill, folder)
        try:
            text = values(c, server != "redis-5.0")
            with open(os.path.join(HERE, name + ".values"), "w") as out:
                out.write(text)
            print(name, text.count("\n") - 1, "values")
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
