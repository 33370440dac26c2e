"""How far a long piece of work is: on a terminal a bar on stderr, else a line there now and then."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from audiohookd.cli.formatting import counted, size

#: Seconds from line to line where there is no terminal.
LINE_EVERY = 10.0


class Progress:
    """Counts recordings, and bytes that were read. As a context manager it takes its bar away at the end.

    :param verb: what is done, as ``verified``.
    :param total: of recordings, when that is known.
    :param stream: for bar or lines, stderr unless told otherwise.
    :param now: monotonic, in seconds.
    :param bar_after: seconds until there is a bar: short work needs none.
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
        self._bar = _bar(verb, total, self._stream, bar_after) if self._stream.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def done(self) -> None:
        """One more recording."""
        self.recordings += 1
        self._advance(1)

    def read(self, count: int) -> None:
        """So many more bytes."""
        self.bytes += count
        self._advance(0)

    def say(self, line: str, stream: TextIO | None = None) -> None:
        """A whole line, on stdout unless told otherwise, and not into the bar."""
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


def _bar(verb: str, total: int | None, stream: TextIO, after: float) -> Any:
    from tqdm import tqdm  # noqa: PLC0415 - where there is no terminal, it need not be loaded

    class Bar(tqdm):
        monitor_interval = 0  # no thread of its own

    return Bar(
        total=total,
        desc=verb,
        unit=" recordings",
        file=stream,
        delay=after,
        miniters=0,
        dynamic_ncols=True,
        leave=False,
    )
