"""Configures the listener of a daemon, and reads its counters."""

import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.functional.place import Place

MakePlace = Callable[..., Place]


def wait(condition: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counted(there: Place, metric: str) -> int:
    """The value of a counter such as ``limits{limit="frames"}``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{there.admin_port}/metrics", timeout=10) as answer:
        found = re.search(rf"^audiohookd_{re.escape(metric)} (\d+)$", answer.read().decode(), re.MULTILINE)
    return int(found[1]) if found else 0


def configured(place: MakePlace, listen: dict[str, Any] | None = None, prefix: str = "", **tables: Any) -> Place:
    there = place()
    endpoint = f"{prefix}tcp:{there.port}:interface=127.0.0.1"
    there.write(listen={"endpoint": endpoint} | (listen or {}), **tables)
    return there
