"""A process that adds nonces to a file of SQLite, for tests: ``nonce_racer.py FILE COUNT``.

Says ``ready`` when it runs, waits for a line on stdin, and prints the numbers of its new nonces.
"""

import sys
import time
from pathlib import Path

from audiohookd.auth.replay.sqlite import SqliteNonces
from audiohookd.auth.replay.store import StoreUnavailable, nonce_digest


def main(path: Path, count: int) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    # A long timeout: the test is about the order, not about the time.
    nonces = SqliteNonces(path, 16.0, time.monotonic, timeout=30.0)
    new: list[int] = []
    for number in range(count):
        try:
            if nonces.add(nonce_digest("key", str(number)), 1_700_000_000.0):
                new.append(number)
        except StoreUnavailable as fault:
            print(fault, file=sys.stderr)
            raise SystemExit(1) from fault
    nonces.close()
    print(*new)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
