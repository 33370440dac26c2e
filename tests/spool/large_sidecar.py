"""Repairs, reads and verifies a recording with a large sidecar. Prints the memory, in MiB, that each step took.

Usage: large_sidecar.py DIRECTORY MIB
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiohookd.cli import main
from audiohookd.cli.spool.export import copy_recording
from audiohookd.protocol.media import Format, Media
from audiohookd.spool import catalog
from audiohookd.spool.catalog import Recording
from audiohookd.spool.format.journal import finished_line, first_line, journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd_plugins.notifications.payload import compose
from audiohookd_plugins.s3.bucket import _describe

ID = "00000000-0000-4000-8000-000000000001"


def main_of(directory: Path, mebibytes: int) -> dict[str, float]:
    spool = SpoolPaths(directory)
    (directory / "draft").mkdir(parents=True)
    (directory / "ready").mkdir()
    write_journal(directory / "draft" / f"{ID}.jsonl", mebibytes)
    took: dict[str, float] = {}

    def measure(step: str, work: Callable[[], Any]) -> Any:
        before = peak()
        result = work()
        took[step] = peak() - before
        return result

    (result,) = measure("repair", lambda: list(repair_drafts(spool)))
    assert result.outcome == "ready", result
    recording: Recording = next(catalog.iter_recordings(spool.ready))
    assert recording.sidecar.stat().st_size > mebibytes << 20
    assert measure("read", recording.read)["session"] == "s"
    assert measure("notice", lambda: compose(recording)).body
    measure("hash", lambda: _describe(recording.sidecar))
    measure("export", lambda: copy_recording(recording, recording.audio, directory / "copy", lambda _: None))
    assert measure("verify", lambda: verify(spool.ready)) == 0
    indent(recording.sidecar)
    assert measure("read indented", recording.read)["session"] == "s"
    return took


def write_journal(path: Path, mebibytes: int) -> None:
    facts = journal_header(ID, 1_767_225_599.25, Media(Format.PCMU, ("external",)))
    data = {"dir": "in", "message": {"type": "zzz", "parameters": {"x": 'y\\"[' * 16_000}}}
    line = json.dumps({"timestamp": "PT1S", "type": "audiohook", "data": data}).encode() + b"\n"
    with path.open("wb") as file:
        file.write(first_line(facts))
        about = {"session": "s", "startPosition": 0}
        file.write(json.dumps({"timestamp": "PT0S", "type": "recording", "data": about}).encode() + b"\n")
        for _ in range((mebibytes << 20) // len(line) + 1):
            file.write(line)
        file.write(finished_line({"closeReason": "end"}) + b"\n")


def indent(sidecar: Path) -> None:
    """Reformats the sidecar, as another program may: the reader must then parse it from the start."""
    partial = sidecar.with_suffix(".new")
    with sidecar.open("rb") as old, partial.open("wb") as new:
        for line in old:
            new.write(b"  " + line.replace(b'"recording":', b'"recording" : '))
    partial.rename(sidecar)


def verify(directory: Path) -> int:
    sys.argv = ["audiohookctl", "verify", "--quiet", "--json", str(directory)]
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        main.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout = stdout
    return 0


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(main_of(Path(sys.argv[1]), int(sys.argv[2]))))
