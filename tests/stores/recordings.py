"""Ready recordings that were never calls, for tests of uploads only."""

import json
import os
import time
from pathlib import Path
from uuid import uuid4

from audiohookd.protocol.media import Format, Media
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import finished_line, first_line, journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.write.draft_files import DraftPaths

MEDIA = Media(Format.PCMU, ("external", "internal"), 8000)


def fill(spool: Path, count: int, seconds: float) -> int:
    """Puts ``count`` stereo recordings of noise into the spool, each of so many ``seconds``.

    :returns: the bytes of all their files.
    """
    layout = SpoolPaths(spool)
    for directory in (layout.draft, layout.ready):
        directory.mkdir(parents=True, exist_ok=True)
    return sum(_make(layout, int(seconds * MEDIA.rate) * MEDIA.frame_bytes) for _ in range(count))


def _make(layout: SpoolPaths, audio_bytes: int) -> int:
    draft = DraftPaths(layout.draft, str(uuid4()))
    draft.audio.write_bytes(wav.growing_header(MEDIA) + os.urandom(audio_bytes))
    lines = [first_line(journal_header(draft.audio.stem, time.time(), MEDIA)).rstrip()]
    about = {"session": str(uuid4()), "conversation": str(uuid4()), "organization": str(uuid4()), "startPosition": 0}
    lines.append(json.dumps({"timestamp": "PT0S", "type": "recording", "data": about}).encode())
    # About as many messages as in a call: a ping and a pong every 5 s, 250 bytes each.
    ping = {"dir": "in", "message": {"type": "ping", "position": "PT0S", "parameters": {"rtt": "x" * 150}}}
    entry = json.dumps({"timestamp": "PT0S", "type": "audiohook", "data": ping}).encode()
    lines += [entry] * (2 * audio_bytes // (5 * MEDIA.rate * MEDIA.frame_bytes))
    lines.append(finished_line({"closeReason": "end"}))
    draft.journal.write_bytes(b"".join(line + b"\n" for line in lines))
    audio = finalize_draft(draft, layout.ready)
    return audio.stat().st_size + audio.with_suffix(".json").stat().st_size
