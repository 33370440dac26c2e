"""Deliveries over a real directory, with a test clock, simulated threads and scripted plugins."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from audiohookd.delivery.destination import destinations_of
from audiohookd.delivery.file_moves import FileOperations
from audiohookd.delivery.receipts import Receipts
from audiohookd.delivery.retry import Backoff
from audiohookd.delivery.service import Deliveries, WakeFile
from audiohookd.delivery.worker import DeliveryContext, DestinationWorker
from audiohookd.interfaces import ICarrier, INotifier, IPlugin, IRecording
from audiohookd.observe.counters import Counters
from audiohookd.spool.paths import SpoolPaths
from audiohookd.testing import START, MemoryWorkers

DAY = "2026-01-01"
YESTERDAY = "2025-12-31"
FIRST, LIMIT = 1.0, 300.0
AUDIO = b"RIFF and so on"


def recording_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def ids(*numbers: int) -> list[str]:
    return [recording_id(number) for number in numbers]


def make_ready(spool: Path, number: int, day: str = DAY, with_audio: bool = True) -> str:
    """Writes a ready recording as the recorder leaves it, and returns its id."""
    id_ = recording_id(number)
    directory = spool / "ready" / day
    directory.mkdir(parents=True, exist_ok=True)
    audio = {"file": f"{id_}.wav", "bytes": len(AUDIO)} if with_audio else None
    if with_audio:
        (directory / f"{id_}.wav").write_bytes(AUDIO)
    (directory / f"{id_}.json").write_text(json.dumps({"header": {}, "body": [], "recording": {"audio": audio}}))
    return id_


@implementer(IPlugin)
class Recipient:
    """Accepts recordings, and returns or raises for each what ``act`` returns or raises."""

    def __init__(self, concurrency: int = 1, act: Callable[[IRecording], Any] | None = None) -> None:
        self.concurrency = concurrency
        self.act = act or (lambda recording: {})
        #: The id of each recording received, in order, with repetitions.
        self.asked: list[str] = []
        #: The files it has stored, by id; they survive a crash of the daemon.
        self.store: dict[str, dict[str, bytes]] = {}
        #: The Deferreds of held deliveries, by id, while ``act`` is :meth:`hold`.
        self.held: dict[str, Deferred[Any]] = {}

    def observe(self, session: object) -> None:
        return None

    def take(self, recording: IRecording) -> Any:
        self.asked.append(recording.id)
        return self.act(recording)

    def hold(self, recording: IRecording) -> "Deferred[Any]":
        self.held[recording.id] = Deferred()
        return self.held[recording.id]

    def release(self, id_: str, result: Any = None) -> None:
        held = self.held.pop(id_)
        held.errback(result) if isinstance(result, Exception) else held.callback(result or {})


@implementer(ICarrier)
class Carrier(Recipient):
    """Without an ``act`` of its own, it reads the files, as a store would."""

    def __init__(self, concurrency: int = 1, act: Callable[[IRecording], Any] | None = None) -> None:
        super().__init__(concurrency, act or self.upload)

    def carry(self, recording: IRecording) -> Any:
        return self.take(recording)

    def upload(self, recording: IRecording) -> Mapping[str, Any]:
        files = {"json": recording.sidecar.read_bytes()}
        if recording.read()["audio"] is not None:
            files["wav"] = recording.audio.read_bytes()
        assert self.store.setdefault(recording.id, files) == files
        return {"bucket": "calls", "key": recording.id}


def failing(fault: Callable[[], BaseException], *numbers: int) -> Callable[[IRecording], Any]:
    """Fails for these recordings, or for all; it delivers the others."""

    def act(recording: IRecording) -> Any:
        if not numbers or recording.id in ids(*numbers):
            raise fault()
        return {}

    return act


@implementer(INotifier)
class Notifier(Recipient):
    def notify(self, recording: IRecording) -> Any:
        return self.take(recording)


@implementer(INotifier)
class Both(Carrier):
    """A plugin that is both a carrier and a notifier."""

    def notify(self, recording: IRecording) -> Any:
        self.asked.append(recording.id)


class Rig:
    """A daemon's deliveries. To simulate a crash, discard it."""

    def __init__(
        self,
        directory: Path,
        keeps_local: bool = False,
        disk: FileOperations | None = None,
        random: Callable[[], float] = lambda: 0.5,
        workers: MemoryWorkers | None = None,
        limit: int = 1000,
        **plugins: Any,
    ) -> None:
        self.layout = SpoolPaths(directory)
        self.layout.ready.mkdir(parents=True, exist_ok=True)
        #: A monotonic clock: its time is no date.
        self.clock = Clock()
        #: By how many seconds the machine's clock was set forward.
        self.set_by = 0.0
        self.counters = Counters()
        self.workers = MemoryWorkers() if workers is None else workers
        destinations = destinations_of(plugins)
        self.receipts = Receipts(self.layout, destinations, keeps_local, disk)
        backoff = Backoff(FIRST, LIMIT, random)
        context = DeliveryContext(self.clock, self.now, self.workers, self.receipts, self.counters, backoff, limit)
        self.deliveries = Deliveries(context, destinations, WakeFile(self.layout.wake))

    def start(self) -> "Rig":
        self.deliveries.startService()
        self.workers.run()
        return self

    def now(self) -> float:
        """The time of the machine's clock, in seconds since the epoch."""
        return START + self.clock.seconds() + self.set_by

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Advances the clock, and runs everything that becomes due."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.workers.run()

    def announce(self, *numbers: int) -> list[str]:
        """Makes recordings ready and announces them."""
        ids = [make_ready(self.layout.directory, number) for number in numbers]
        for id_ in ids:
            self.deliveries.announce(self.layout.ready / DAY / f"{id_}.wav")
        self.workers.run()
        return ids

    def worker(self, destination: str = "s3") -> DestinationWorker:
        return next(worker for worker in self.deliveries.destination_workers if worker.outlet.name == destination)

    def counted(self, name: str, destination: str = "s3") -> int:
        return self.counters.value(name, destination)

    def files(self, shelf: str = "ready") -> set[str]:
        """The files as ``DAY/NUMBER.suffix``."""
        return files(self.layout.directory, shelf)


def files(spool: Path, shelf: str) -> set[str]:
    found = (path.relative_to(spool / shelf) for path in (spool / shelf).rglob("*") if path.is_file())
    return {short(str(path)) for path in found}


def short(path: str) -> str:
    """``2026-01-01/1.wav`` for the path of recording number 1."""
    day, _, name = path.rpartition("/")
    id_, _, suffix = name.partition(".")
    return f"{day}/{int(id_.partition('-')[0], 16)}.{suffix}"


class NoSync(FileOperations):
    """Does not sync: for tests with many recordings."""

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        path.write_bytes(content)

    def sync(self, directory: Path) -> None:
        assert os.path.isdir(directory)


#: The beginning of the log line of a successful delivery.
DELIVERED = "info: recording "


@contextmanager
def logged() -> Iterator[list[str]]:
    """The log lines, except one per successful delivery; see :func:`deliveries_logged`."""
    with _logged(lambda line: not line.startswith(DELIVERED)) as lines:
        yield lines


@contextmanager
def deliveries_logged() -> Iterator[list[str]]:
    """The log lines about successful deliveries."""
    with _logged(lambda line: line.startswith(DELIVERED)) as lines:
        yield lines


@contextmanager
def _logged(is_wanted: Callable[[str], bool]) -> Iterator[list[str]]:
    lines: list[str] = []

    def keep(event: LogEvent) -> None:
        level = event.get("log_level")
        line = f"{level.name if level else 'none'}: {formatEvent(event)}"
        if is_wanted(line):
            lines.append(line)

    globalLogPublisher.addObserver(keep)  # type: ignore[arg-type]
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(keep)  # type: ignore[arg-type]
