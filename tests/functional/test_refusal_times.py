"""A rejection takes the same time for every reason, so that a client cannot find out which API keys exist."""

import random
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any
from uuid import uuid4

import pytest

from audiohookd.websocket.protocol import REJECTION_TIME
from tests.functional.caller import API_KEY, signed_head
from tests.functional.place import Place

UNKNOWN = API_KEY[:-1] + "i"
KINDS: dict[str, Callable[[int, str], bytes]] = {
    "known key, wrong signature": lambda port, session: signed_head(port, session, b"a guess"),
    "unknown key": lambda port, session: signed_head(port, session, b"a guess", x_api_key=UNKNOWN),
    "known key, malformed": lambda port, session: signed_head(port, session, b"a guess", signature_input="sig1=("),
    "unknown key, malformed": lambda port, session: signed_head(
        port, session, b"a guess", signature_input="sig1=(", x_api_key=UNKNOWN
    ),
    "known key, unsigned": lambda port, session: signed_head(port, session, None),
    "unknown key, unsigned": lambda port, session: signed_head(port, session, None, x_api_key=UNKNOWN),
}
ROUNDS = 12
EACH = 3
#: Standard deviations of a rank sum: it is this far off by chance once in half a billion times.
BY_CHANCE = 6.0
#: Maximum seconds between two medians: the difference that the delay does not hide.
ALIKE = 0.02


def refusals(port: int) -> dict[str, list[float]]:
    """The times of rejections in seconds, by kind. Each round sends all kinds at once, in random order."""
    rng = random.Random(9421)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        kinds = list(KINDS) * EACH
        rng.shuffle(kinds)
        for kind, seconds in _at_once(port, kinds):
            times[kind].append(seconds)
    return times


def _at_once(port: int, kinds: list[str]) -> Iterator[tuple[str, float]]:
    with selectors.DefaultSelector() as selector:
        for kind in kinds:
            connection = socket.create_connection(("127.0.0.1", port))
            head = KINDS[kind](port, str(uuid4()))
            since = time.perf_counter()  # before the daemon can receive the request
            connection.sendall(head)
            selector.register(connection, selectors.EVENT_READ, (kind, since, connection))
        while selector.get_map():
            ready = selector.select(10)
            now = time.perf_counter()
            assert ready, "no answer in 10 s"
            for key, _ in ready:
                kind, since, connection = key.data
                assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
                selector.unregister(connection)
                connection.close()
                yield kind, now - since


def deviation(first: list[float], second: list[float]) -> float:
    """The deviation of the first rank sum in standard deviations (Mann and Whitney)."""
    both = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = sum(rank for rank, (_, which) in enumerate(both, 1) if which == 0)
    n, m = len(first), len(second)
    return (ranks - n * (n + m + 1) / 2) / sqrt(n * m * (n + m + 1) / 12)


@pytest.fixture
def strict(place: Any) -> Place:
    there: Place = place()
    there.write(limits={"handshakes_per_second": 0, "handshakes_per_second_total": 0})
    return there


def test_the_time_of_a_rejection_does_not_reveal_its_reason(strict: Place) -> None:
    with strict.daemon():
        times = refusals(strict.port)
    assert {len(found) for found in times.values()} == {ROUNDS * EACH}
    assert min(min(found) for found in times.values()) >= REJECTION_TIME
    medians = {kind: statistics.median(found) for kind, found in times.items()}
    assert max(medians.values()) - min(medians.values()) <= ALIKE, medians
    everybody = list(KINDS)
    for kind in everybody:
        others = [value for other in everybody if other != kind for value in times[other]]
        assert abs(deviation(times[kind], others)) < BY_CHANCE, (kind, medians)


def test_the_rank_sum_detects_a_difference() -> None:
    """It detects a difference of three times the noise, and none without a difference."""
    rng = random.Random(1)
    first = [rng.gauss(0.500, 0.001) for _ in range(36)]
    assert abs(deviation(first, [rng.gauss(0.500, 0.001) for _ in range(180)])) < BY_CHANCE
    assert abs(deviation(first, [rng.gauss(0.503, 0.001) for _ in range(180)])) > BY_CHANCE
