"""Writes the output of ``audiohookctl verify``: a line for each recording, and a summary."""

import json
from collections.abc import Callable
from typing import Any

from audiohookd.cli.formatting import counted, size
from audiohookd.cli.verify.checking import Verdict
from audiohookd.escaping import printable


class Report:
    """Counts recordings, and writes a line for each.

    :param write_line: writes a line to stdout.
    """

    def __init__(self, write_line: Callable[[str], None], is_json: bool, is_quiet: bool) -> None:
        self.checked = 0
        self.wrong = 0
        self._stored = self._moving = 0
        self._write_line = write_line
        self._is_json = is_json
        self._is_quiet = is_quiet

    def add(self, verdict: Verdict | None) -> None:
        """Counts a recording, and writes its line. None: the recording is being moved and was not checked."""
        if verdict is None:
            self._moving += 1
            return
        self.checked += 1
        self.wrong += bool(verdict.faults)
        self._stored += bool(verdict.note)
        if verdict.faults or not self._is_quiet:
            self._write_line(_object(verdict) if self._is_json else _line(verdict))

    def sum_up(self, read: int) -> None:
        """Writes the summary. ``read``: bytes of audio that were read."""
        ok = self.checked - self.wrong
        if self._is_json:
            figures = {"checked": self.checked, "ok": ok, "wrong": self.wrong, "elsewhere": self._stored}
            figures |= {"moving": self._moving, "bytes": read}
            self._write_line(json.dumps({"summary": figures}))
            return
        elsewhere = f", {self._stored:,} with the audio stored elsewhere" if self._stored else ""
        elsewhere += f", {self._moving:,} being moved and not checked" if self._moving else ""
        amount = f"; {size(read)} of audio read" if read else ""
        self._write_line(f"{counted(self.checked, 'recording')}: {ok:,} ok, {self.wrong:,} wrong{elsewhere}{amount}")


def _line(verdict: Verdict) -> str:
    result = "; ".join(verdict.faults) or "ok"
    return printable(f"{verdict.where}: {result}{f' ({verdict.note})' if verdict.note else ''}")


def _object(verdict: Verdict) -> str:
    line: dict[str, Any] = {"recording": verdict.where, "id": verdict.id, "ok": not verdict.faults}
    line["faults"] = verdict.faults
    return json.dumps(line | ({"note": verdict.note} if verdict.note else {}))
