"""Chooses the instants at which the daemon is killed: at random times, and right after certain events."""

import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.crash.inotify import CREATED, DELETED, MODIFIED, MOVED_TO, Inotify
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Fault, Seen

#: Seconds after which the daemon is killed even if the awaited event did not happen.
TIRED = 8.0


class Instant(NamedTuple):
    """An instant for a kill: ``wait`` returns when it has come; ``name`` is for the report."""

    name: str
    wait: Callable[[], None]


class Step(NamedTuple):
    """An event of a file in ``draft`` or ``ready``, by the end of the file's name."""

    place: str
    what: int
    suffix: str
    name: str


#: All changes of the spool while a recording is written and uploaded, in about this order.
STEPS = (
    Step("draft", CREATED, ".jsonl", "journal begun"),
    Step("draft", CREATED, ".wav", "audio begun"),
    Step("draft", MODIFIED, ".wav", "audio written"),
    Step("draft", MODIFIED, ".jsonl", "journal written"),
    Step("draft", CREATED, ".json.tmp", "sidecar begun"),
    Step("draft", MOVED_TO, ".json", "sidecar made"),
    Step("ready", MOVED_TO, ".wav", "audio moved"),
    Step("draft", DELETED, ".jsonl", "journal removed"),
    Step("ready", MOVED_TO, "[0-9a-f].json", "ready"),
    Step("ready", CREATED | MOVED_TO, ".stored.s3.json[^/]*", "receipt written"),
    Step("ready", DELETED, ".wav", "audio removed"),
    Step("ready", DELETED, "[0-9a-f].json", "sidecar removed"),
    Step("ready", DELETED, ".stored.s3.json", "receipt removed"),
)


class Tripwire(FaultProxy):
    """A proxy that wakes waiting threads when a request arrives, or when its answer is about to be sent."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__(upstream_port)
        self._awaited: tuple[str, str] | None = None
        self._tripped = threading.Event()

    def wait_for(self, method: str, when: str) -> None:
        """Waits until a ``method`` request has arrived ("asked"), or the store has answered it ("answered")."""
        self._tripped.clear()
        self._awaited = (method, when)
        self._tripped.wait(TIRED)
        self._awaited = None

    def choose(self, method: str, path: str) -> Fault | None:
        """See :class:`FaultProxy`."""
        self._trip(method, "asked")
        return super().choose(method, path)

    def ended(self, seen: Seen) -> None:
        """See :class:`FaultProxy`."""
        super().ended(seen)
        self._trip(seen.method, "answered")

    def _trip(self, method: str, when: str) -> None:
        if self._awaited == (method, when):
            self._tripped.set()


class Chance:
    """Chooses instants pseudo-randomly, from a seed.

    :param opened: set when the daemon has accepted a call since its start.
    """

    def __init__(self, seed: int, spool: Path, store: Tripwire, opened: threading.Event) -> None:
        self._random = random.Random(seed)
        self._spool = spool
        self._store = store
        self._opened = opened

    def next(self) -> Instant:
        """The instant at which to kill the daemon after its next start."""
        kind = self._random.choices(("start", "life", "spool", "store"), (10, 35, 40, 15))[0]
        age = self._random.uniform(0, 2)
        match kind:
            case "start":
                return Instant("while it starts", partial(time.sleep, self._random.uniform(0.3, 1.5)))
            case "life":
                return Instant("at any time", partial(self._live, 2 * age))
            case "store":
                method, when = self._random.choice(("PUT", "HEAD")), self._random.choice(("asked", "answered"))
                return Instant(f"{method} {when}", partial(self._at_request, method, when, age))
        step = self._random.choice(STEPS)
        later = self._random.choice((0.0, 0.0, self._random.uniform(0, 0.003), self._random.uniform(0, 0.05)))
        return Instant(step.name, partial(self._at_step, step, age, later))

    def _live(self, seconds: float) -> None:
        """Waits until the daemon accepts calls, and then for ``seconds``."""
        self._opened.wait(TIRED)
        time.sleep(seconds)

    def _at_request(self, method: str, when: str, age: float) -> None:
        self._live(age)
        self._store.wait_for(method, when)

    def _at_step(self, step: Step, age: float, later: float) -> None:
        """Waits until ``later`` seconds after the first ``step`` at the given ``age`` or later."""
        self._live(age)
        pattern = re.compile(rf".*{step.suffix}$")
        deadline = time.monotonic() + TIRED
        with Inotify(_places(self._spool)) as inotify:
            while time.monotonic() < deadline:
                for happened in inotify.wait(0.5):
                    place = "draft" if happened.directory.name == "draft" else "ready"
                    if place == step.place and happened.what & step.what and pattern.match(happened.name):
                        time.sleep(later)
                        return


def _places(spool: Path) -> list[Path]:
    """The directories of drafts and of the finished recordings of today and tomorrow."""
    today = datetime.now(UTC)
    days = [spool / "ready" / f"{today + timedelta(days=more):%Y-%m-%d}" for more in (0, 1)]
    for place in (spool / "draft", *days):
        place.mkdir(parents=True, exist_ok=True)
    return [spool / "draft", *days]
