"""Shows the progress of a long command on stderr: a bar on a terminal, otherwise a line every 10 seconds."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from audiohookd.cli.formatting import counted, size

#: Seconds between two lines if stderr is not a terminal.
LINE_EVERY = 10.0


class Progress:
    """Counts recordings, and the bytes read. As a context manager it removes its bar at the end.

    :param verb: the work in the past tense, such as ``verified``.
    :param total: number of recordings, if known.
    :param stream: receives the bar or the lines. Default: stderr.
    :param now: monotonic clock, in seconds.
    :param bar_after: seconds until the bar appears. Short work needs none.
    """

    def __init__(
        self,
        verb: str,
        total: int | None = None,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
        bar_after: float = 0.5,
    ) -> None:
        self.recordings = 0
        self.bytes = 0
        self._verb = verb
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._now = now
        self._next_line = now() + LINE_EVERY
        self._bar = None
        if self._stream.isatty():
            options = {"total": total, "desc": verb, "unit": " recordings", "delay": bar_after, "dynamic_ncols": True}
            self._bar = bar(file=self._stream, miniters=0, **options)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def done(self) -> None:
        """Counts one recording."""
        self.recordings += 1
        self._advance(1)

    def read(self, count: int) -> None:
        """Counts ``count`` bytes."""
        self.bytes += count
        self._advance(0)

    def say(self, line: str, stream: TextIO | None = None) -> None:
        """Writes a whole line without breaking the bar. Default: to stdout."""
        stream = stream or sys.stdout
        if self._bar is None:
            stream.write(f"{line}\n")
        else:
            self._bar.write(line, file=stream)

    def _advance(self, recordings: int) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(size(self.bytes) if self.bytes else "", refresh=False)
            self._bar.update(recordings)
        elif self._now() >= self._next_line:
            self._next_line = self._now() + LINE_EVERY
            self._stream.write(f"{self}\n")
            self._stream.flush()

    def __str__(self) -> str:
        total = "" if self._total is None else f" of {self._total:,}"
        text = f"{self._verb} {counted(self.recordings, 'recording')}{total}"
        return f"{text}, {size(self.bytes)}" if self.bytes else text


def bar(**options: Any) -> Any:
    """A progress bar of tqdm that starts no monitor thread, and disappears at the end."""
    from tqdm import tqdm  # noqa: PLC0415 - needed on a terminal only

    class Bar(tqdm):
        monitor_interval = 0

    return Bar(leave=False, **options)
