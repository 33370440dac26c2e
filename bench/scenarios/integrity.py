"""Many calls at once on one processor: nothing of them is lost."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiohookd.cli.call.source import recording
from audiohookd.spool.format import wav
from bench.generator.audio import CHANNELS, Talk
from bench.result import Report, Result
from bench.scenarios.runner import Runner
from bench.servers import VOICE, daemon
from tests.stores.recordings import MEDIA

SESSIONS = {True: 2000, False: 300}
FRAME = 200
#: Calls that arrive each second.
RATE = 100


def lossless(site: Runner) -> Report:
    """Each recording is verified, and compared with what its call sent, byte for byte."""
    sessions = SESSIONS[site.extent.is_full]
    with tempfile.TemporaryDirectory(prefix="audiohookd-bench-") as name:
        with daemon(site.cores, Path(name)) as server:
            steady = site.extent.steady
            run = site.run_against(
                server, sessions=sessions, frame=FRAME, arrival=sessions / RATE, steady=steady, ledger=True
            )
        faults = [*_verify(server.spool), *differences(server.spool, run.result["ledger"])]
    for fault in faults[:10]:
        site.say(f"  {fault}")
    frames = run.result["frames"]
    note = f"{frames:,} frames, {run.share:.0%} of a processor"
    what = f"recordings of {sessions} calls that are not what was sent"
    return Report("lossless", [Result("lossless", what, len(faults), "", 0, None, note)], [run.row()])


def differences(spool: Path, ledger: list[list[Any]]) -> Iterator[str]:
    """What is wrong with the recordings in ``spool``: one line for each that is missing, double, or different."""
    talk = Talk(recording(VOICE).data, FRAME)
    sent = {session: (first, frames) for session, first, frames in ledger}
    for path in sorted(spool.glob("ready/*/*.json")):
        about = json.loads(path.read_text())["recording"]
        first, frames = sent.pop(about["session"], (0, -1))
        if frames < 0:
            yield f"{path.stem}: double, or of no call"
        elif about["samples"] != frames * talk.samples:
            yield f"{path.stem}: {about['samples']} samples and not {frames * talk.samples}"
        elif heard(path.with_suffix(".wav"), about["samples"]) != talk.said(first, frames):
            yield f"{path.stem}: not what was sent"
    yield from (f"{session}: no recording" for session in sent)


def heard(path: Path, samples: int) -> bytes:
    """The audio of a recording."""
    start = wav.header_bytes(MEDIA)
    return path.read_bytes()[start : start + samples * CHANNELS]


def _verify(spool: Path) -> list[str]:
    command = [sys.executable, "-m", "audiohookd.cli.main", "verify", "--quiet", str(spool)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return [] if done.returncode == 0 else [f"audiohookctl verify: {done.stdout[-2000:]}{done.stderr[-2000:]}"]
