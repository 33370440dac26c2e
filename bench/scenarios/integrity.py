"""Checks that many calls at once on one processor lose no audio."""

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
#: Calls that arrive per second.
RATE = 100


def lossless(runner: Runner) -> Report:
    """Verifies each recording, and compares it with the audio that its call sent, byte for byte."""
    sessions = SESSIONS[runner.effort.is_full]
    with tempfile.TemporaryDirectory(prefix="audiohookd-bench-") as name:
        with daemon(runner.cores, Path(name)) as server:
            steady = runner.effort.steady
            run = runner.run_against(
                server, sessions=sessions, frame=FRAME, arrival=sessions / RATE, steady=steady, ledger=True
            )
        errors = [*_verify(server.spool), *differences(server.spool, run.result["ledger"])]
    for error in errors[:10]:
        runner.say(f"  {error}")
    frames = run.result["frames"]
    note = f"{frames:,} frames, {run.share:.0%} of a processor"
    description = f"recordings of {sessions} calls that differ from what was sent"
    return Report("lossless", [Result("lossless", description, len(errors), "", 0, None, note)], [run.row()])


def differences(spool: Path, ledger: list[list[Any]]) -> Iterator[str]:
    """Yields one line for each recording in ``spool`` that is missing, duplicate, or different from the ledger."""
    talk = Talk(recording(VOICE).data, FRAME)
    sent = {session: (first, frames) for session, first, frames in ledger}
    for path in sorted(spool.glob("ready/*/*.json")):
        about = json.loads(path.read_text())["recording"]
        first, frames = sent.pop(about["session"], (0, -1))
        if frames < 0:
            yield f"{path.stem}: duplicate, or of no call"
        elif about["samples"] != frames * talk.samples:
            yield f"{path.stem}: {about['samples']} samples instead of {frames * talk.samples}"
        elif read_audio(path.with_suffix(".wav"), about["samples"]) != talk.audio_of(first, frames):
            yield f"{path.stem}: differs from what was sent"
    yield from (f"{session}: no recording" for session in sent)


def read_audio(path: Path, samples: int) -> bytes:
    """Reads the audio of a recording.

    :param samples: per channel.
    """
    start = wav.header_bytes(MEDIA)
    return path.read_bytes()[start : start + samples * CHANNELS]


def _verify(spool: Path) -> list[str]:
    command = [sys.executable, "-m", "audiohookd.cli.main", "verify", "--quiet", str(spool)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return [] if done.returncode == 0 else [f"audiohookctl verify: {done.stdout[-2000:]}{done.stderr[-2000:]}"]
