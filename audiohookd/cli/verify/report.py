"""What ``audiohookctl verify`` says: a line for each recording, and the sum of it."""

import json
from collections.abc import Callable
from typing import Any

from audiohookd.cli.verify.verdict import Verdict
from audiohookd.cli.wording import counted, size
from audiohookd.escaping import printable


class Report:
    """Counts, and writes lines.

    :param say: takes a line for stdout.
    """

    def __init__(self, say: Callable[[str], None], is_json: bool, is_quiet: bool) -> None:
        self.checked = 0
        self.wrong = 0
        self._stored = self._moving = 0
        self._say = say
        self._is_json = is_json
        self._is_quiet = is_quiet

    def add(self, verdict: Verdict | None) -> None:
        """One more; None for what is on its way somewhere else."""
        if verdict is None:
            self._moving += 1
            return
        self.checked += 1
        self.wrong += bool(verdict.faults)
        self._stored += bool(verdict.note)
        if verdict.faults or not self._is_quiet:
            self._say(_object(verdict) if self._is_json else _line(verdict))

    def sum_up(self, read: int) -> None:
        """The last line. ``read``: bytes of audio."""
        ok = self.checked - self.wrong
        if self._is_json:
            figures = {"checked": self.checked, "ok": ok, "wrong": self.wrong, "elsewhere": self._stored}
            figures |= {"moving": self._moving, "bytes": read}
            self._say(json.dumps({"summary": figures}))
            return
        elsewhere = f", {self._stored:,} with the audio stored elsewhere" if self._stored else ""
        elsewhere += f", {self._moving:,} on the way and not looked at" if self._moving else ""
        heard = f"; {size(read)} of audio read" if read else ""
        self._say(f"{counted(self.checked, 'recording')}: {ok:,} ok, {self.wrong:,} wrong{elsewhere}{heard}")


def _line(verdict: Verdict) -> str:
    said = "; ".join(verdict.faults) or "ok"
    return printable(f"{verdict.where}: {said}{f' ({verdict.note})' if verdict.note else ''}")


def _object(verdict: Verdict) -> str:
    line: dict[str, Any] = {"recording": verdict.where, "id": verdict.id, "ok": not verdict.faults}
    line["faults"] = verdict.faults
    return json.dumps(line | ({"note": verdict.note} if verdict.note else {}))
