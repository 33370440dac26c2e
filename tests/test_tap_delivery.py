"""Delivery through the whole service tree, from the end of a recording to the carrier."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audiohookd.config.errors import ConfigError
from audiohookd.protocol.media import Format, Media
from audiohookd.runtime.services import OrderedServices
from audiohookd.spool.format.wav import header_bytes
from audiohookd.testing import START
from tests.tap_rig import PLAIN, STORE, UPLOADER, Reactor, build, names, writer

COUNT = 10_000
MONO = Media(Format.PCMU, ("external",))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return writer(tmp_path)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@contextmanager
def running(path: Path, reactor: Reactor) -> Iterator[OrderedServices]:
    root = build(path, reactor)
    root.startService()
    yield root
    stopped: list[object] = []
    root.stopService().addCallback(stopped.append)
    reactor.run_until(lambda: stopped)


def make_ready(spool: Path, number: int) -> str:
    id_ = f"{number:08x}-0000-4000-8000-000000000000"
    day = spool / "ready" / "2026-01-01"
    day.mkdir(parents=True, exist_ok=True)
    (day / f"{id_}.wav").write_bytes(b"audio")
    (day / f"{id_}.json").write_text('{"recording": {"audio": {}}}')
    return id_


def ready(directory: Path) -> list[Path]:
    return [path for path in (directory / "spool" / "ready").rglob("*") if path.is_file()]


class TestARecording:
    def test_a_finished_recording_is_uploaded_and_notified(
        self, write: Callable[..., Path], reactor: Reactor, tmp_path: Path
    ) -> None:
        id_ = "6a1e7c4e-7d54-4a4c-9f5c-0d8a3c7b2e11"
        with running(write(PLAIN + STORE), reactor) as root:
            draft = root.getServiceNamed("spool").begin(id_, START, MONO)
            draft.audio(bytes(8000))
            draft.finish({})
            reactor.advance(0.5)
            reactor.run_until(lambda: f"carry {id_}" in reactor.diary and not ready(tmp_path))
        size = header_bytes(MONO) + 8000
        assert [entry for entry in reactor.diary if id_ in entry] == [f"carry {id_}", f"notify {id_}: {size} bytes"]

    def test_a_remaining_recording_is_delivered_after_the_start(
        self, write: Callable[..., Path], reactor: Reactor, tmp_path: Path
    ) -> None:
        id_ = make_ready(tmp_path / "spool", 1)
        with running(write(PLAIN + STORE), reactor):
            assert f"carry {id_}" not in reactor.diary
            reactor.run_until(lambda: not ready(tmp_path))
        assert f"notify {id_}: 5 bytes" in reactor.diary

    def test_a_recording_is_kept_if_configured(
        self, write: Callable[..., Path], reactor: Reactor, tmp_path: Path
    ) -> None:
        id_ = make_ready(tmp_path / "spool", 1)
        with running(write(PLAIN + "local_retention = '1 h'" + STORE), reactor):
            reactor.run_until(lambda: not ready(tmp_path))
        kept = {path.name.removeprefix(f"{id_}.") for path in (tmp_path / "spool" / "done" / "2026-01-01").iterdir()}
        assert kept == {"wav", "json", "stored.store.json", "told.store.json"}


class TestTheTree:
    def test_deliveries_stand_between_plugins_and_the_ports(self, write: Callable[..., Path]) -> None:
        order = names(build(write(PLAIN + STORE + UPLOADER)))
        below = ["delivery", "spool", "plugins.uploader/upload", "plugins.uploader"]
        assert [order.index(name) for name in below] == sorted(order.index(name) for name in below)
        assert order.index("plugins.uploader") < order.index("deliveries") < order.index("admin")

    def test_a_name_that_cannot_be_in_a_file_name_is_rejected(self, write: Callable[..., Path]) -> None:
        path = write(PLAIN + STORE.replace("plugins.store", "plugins.'a/b'"))
        with pytest.raises(ConfigError) as caught:
            build(path)
        line = f"{path}: plugins.'a/b': gets recordings, and its name becomes part of their files' names: "
        assert str(caught.value) == line + "at most 100 letters, digits, _ and - alone"

    def test_a_plugin_without_recordings_may_have_any_name(self, write: Callable[..., Path]) -> None:
        assert "plugins.'a/b'" in names(build(write(PLAIN + UPLOADER.replace("plugins.uploader", "plugins.'a/b'"))))

    def test_the_concurrency_of_a_destination_is_at_least_one(self, write: Callable[..., Path]) -> None:
        with pytest.raises(ConfigError, match="its concurrency must be an integer of at least 1"):
            build(write(PLAIN + STORE + "concurrency = 0"))


def test_a_start_does_not_wait_for_what_is_ready(
    write: Callable[..., Path], reactor: Reactor, tmp_path: Path
) -> None:
    first = make_ready(tmp_path / "spool", 0)
    day = tmp_path / "spool" / "ready" / "2026-01-01"
    for number in range(1, COUNT):
        for suffix in ("wav", "json"):
            os.link(day / f"{first}.{suffix}", day / f"{number:08x}{first[8:]}.{suffix}")
    path = write(PLAIN + STORE)
    began = time.perf_counter()
    root = build(path, reactor)
    root.startService()
    seconds = time.perf_counter() - began
    print(f"\n{COUNT} ready recordings: started in {seconds:.3f} s")
    assert reactor.listening
    assert len(ready(tmp_path)) == 2 * COUNT
    assert seconds < 2
    stopped: list[object] = []
    root.stopService().addCallback(stopped.append)
    reactor.run_until(lambda: stopped)
