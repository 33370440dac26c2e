"""What the process and its threads have used."""

import gc
import os
import threading
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from audiohookd.runtime.processor_time import UsageReader


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(clock: Clock) -> Iterator[UsageReader]:
    reader = UsageReader(clock.seconds)
    reader.start()
    yield reader
    reader.stop()


def test_a_thread_that_computes_uses_processor_time(reader: UsageReader) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def compute() -> None:
        sum(range(3_000_000))
        begun.set()
        go_on.wait(30)

    before = reader.read()
    thread = threading.Thread(target=compute)
    thread.start()
    assert begun.wait(30)
    after = reader.read()
    go_on.set()
    thread.join()
    assert thread.ident is not None
    assert 0.005 < after.threads[thread.ident] <= after.process - before.process
    assert threading.get_ident() in before.threads


def test_a_collection_takes_time(reader: UsageReader, clock: Clock) -> None:
    def collecting(phase: str, _: object) -> None:
        if phase == "stop":
            clock.advance(0.25)

    gc.callbacks.insert(0, collecting)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(collecting)
    assert reader.read().collecting == pytest.approx(0.25)


def test_delays_never_shrink(reader: UsageReader) -> None:
    first = reader.read()
    second = reader.read()
    assert 0 <= first.delay <= second.delay
    assert 0 <= first.own_delay <= second.own_delay


def test_nothing_is_left_of_it(clock: Clock) -> None:
    callbacks, files = list(gc.callbacks), os.listdir("/proc/self/fd")
    reader = UsageReader(clock.seconds)
    reader.start()
    reader.read()
    assert len(os.listdir("/proc/self/fd")) > len(files)
    reader.stop()
    assert gc.callbacks == callbacks
    assert os.listdir("/proc/self/fd") == files
