#!/usr/bin/env python3
"""Makes the corpus of the fuzz target `value` from the golden dumps: corpus.py SERVERS_DIR

For each type byte that a server writes, the shortest DUMP payload with it; the first four bytes say how the target cuts the
rest. Python's standard library only.
"""

import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden"))
from make import HERE, start

CORPUS = os.path.join(HERE, "../../../../fuzz/corpus/value")
SERVERS = ["redis-2.8", "redis-3.2", "redis-4.0", "redis-6.2", "redis-7.0", "redis-7.2", "redis-8.6", "valkey-9.1"]


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    os.makedirs(CORPUS)
    for at, server in enumerate(SERVERS):
        folder = tempfile.mkdtemp(prefix="corpus-")
        shutil.copyfile(os.path.join(HERE, server + ".rdb"), os.path.join(folder, "dump.rdb"))
        process, c = start(os.path.abspath(sys.argv[1]), server, "plain", folder)
        try:
            shortest = {}
            for key in sorted(c("KEYS", "*")):
                payload = c("DUMP", key)
                known = shortest.setdefault(payload[0], payload)
                # A stream with groups is worth its length.
                if len(payload) < len(known) and payload[0] not in (15, 19, 21) or key == b"stream:groups":
                    shortest[payload[0]] = payload
            for kind, payload in shortest.items():
                with open(os.path.join(CORPUS, f"{server}-{kind}"), "wb") as out:
                    out.write(bytes([6, 0, 40, 3 + 4 * (at % 4)]) + payload)
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
