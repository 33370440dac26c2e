"""Stores with endless or very slow responses do not exhaust memory or block a worker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from audiohookd.interfaces import Unavailable
from tests.plugins.s3.s3_rig import MIB, Carrier, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.rude_server import (
    DRIBBLED_ANSWERS,
    ENDLESS_ANSWERS,
    ON_THEIR_WAY,
    Answer,
    RudeServer,
    dribbled_error,
    endless_success,
    go_ahead_a_byte_at_a_time,
    go_ahead_and_leave,
    go_ahead_without_end,
    rude_server,
)

#: Bytes. A body of this size is sent only after "100 Continue".
LARGE = b"a" * MIB


@pytest.fixture
def server() -> Iterator[RudeServer]:
    with rude_server() as one:
        yield one


def refusal(server: RudeServer, loader: Loader, tmp_path: Path, audio: bytes = b"RIFF", timeout: float = 30.0) -> str:
    carrier = Carrier(loader, bucket="recordings", endpoint_url=server.url, path_style=True, timeout=timeout)
    try:
        with pytest.raises(Unavailable) as caught:
            carrier.carry(spooled(tmp_path, audio))
    finally:
        carrier.plugin.stopService()
    return str(caught.value)


@pytest.mark.parametrize("answer", [*ENDLESS_ANSWERS, endless_success], ids=lambda answer: answer.__name__)
def test_no_more_is_read_than_an_answer_can_have(
    answer: Answer, server: RudeServer, loader: Loader, tmp_path: Path
) -> None:
    server.answer = answer
    assert refusal(server, loader, tmp_path).startswith("bucket recordings: ")
    assert server.said < 2 * ON_THEIR_WAY, "of two attempts"


def test_the_reason_is_clear(server: RudeServer, loader: Loader, tmp_path: Path) -> None:
    server.answer = endless_success
    assert "the answer has more than 1048576 bytes" in refusal(server, loader, tmp_path)


@pytest.mark.parametrize("answer", [*DRIBBLED_ANSWERS, dribbled_error], ids=lambda answer: answer.__name__)
def test_an_answer_has_its_time_however_it_comes(
    answer: Answer, server: RudeServer, loader: Loader, tmp_path: Path
) -> None:
    server.answer = answer
    assert "Read timeout on endpoint URL" in refusal(server, loader, tmp_path, timeout=1.0)
    assert not server.was_heard


class TestExpectContinue:
    @pytest.fixture(autouse=True)
    def _is_all_that_it_hears(self, server: RudeServer) -> None:
        server.invites = False

    def test_it_is_gone(self, server: RudeServer, loader: Loader, tmp_path: Path) -> None:
        """Without the bounds, botocore would loop for ever reading the rest."""
        server.answer = go_ahead_and_leave
        assert "Connection was closed" in refusal(server, loader, tmp_path, LARGE)

    def test_it_says_without_end(self, server: RudeServer, loader: Loader, tmp_path: Path) -> None:
        server.answer = go_ahead_without_end
        assert "more than 16384 bytes" in refusal(server, loader, tmp_path, LARGE)
        assert server.said < 2 * ON_THEIR_WAY

    def test_it_says_a_byte_at_a_time(self, server: RudeServer, loader: Loader, tmp_path: Path) -> None:
        server.answer = go_ahead_a_byte_at_a_time
        assert "the answer took more than 1.0 s" in refusal(server, loader, tmp_path, LARGE, timeout=1.0)
        assert not server.was_heard


def test_sending_may_take_longer(carrier: Any, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    """While data flows."""
    proxy.rate = 16 * MIB
    receipt = carrier(endpoint_url=proxy.endpoint, timeout=1.5).carry(spooled(tmp_path, bytes(40 * MIB)))
    assert store.head_object(Bucket="recordings", Key=receipt["key"])["ContentLength"] == 40 * MIB
