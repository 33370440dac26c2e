"""Compares the audio that calls sent with the recordings in the bucket."""

import hashlib
import io
import json
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from audiohookd.cli.verify import check
from tests.crash.audio import FRAME_BYTES, RATE
from tests.crash.calls import Call
from tests.crash.recording_site import Site


class Stored(NamedTuple):
    """A recording in the bucket."""

    key: str
    about: dict[str, Any]
    audio: bytes  # without its header


@dataclass
class Verdict:
    """The figures of a run. ``wrong`` counts errors by kind, and ``why`` has a line for each."""

    wrong: Counter[str] = field(default_factory=Counter)
    why: list[str] = field(default_factory=list)
    calls: int = 0
    whole: int = 0
    cut: int = 0
    recovered: int = 0
    too_young: int = 0
    #: Drafts and recordings that were just created and have no data, not even a session.
    empty: int = 0
    #: For calls that were cut off, in seconds: the audio that was sent but not recorded, and how long before the kill
    #: the daemon had read the first of it, if it had.
    lost: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)

    def blame(self, kind: str, text: str) -> None:
        """Records an error."""
        self.wrong[kind] += 1
        self.why.append(f"{kind}: {text}")

    @property
    def is_good(self) -> bool:
        """Whether there was no error, and at least one complete call."""
        return not self.wrong and self.whole > 0


#: Kinds of errors. Each count must be 0.
KINDS = (
    "recordings missing",
    "audio missing beyond the bound",
    "duplicates",
    "bytes that differ",
    "recordings without a session",
    "wrong sidecars",
    "audio or sidecar objects missing",
    "dead letters",
    "broken drafts",
    "files left in the spool",
    "unexpected ends of the daemon",
)


def judge(site: Site, calls: Sequence[Call], kills: Mapping[int, float], bound: float) -> Verdict:
    """Checks the bucket and the spool after the last run of the daemon.

    :param kills: the instant of each kill, of ``time.monotonic``, by the number of the daemon's run.
    :param bound: seconds of audio that a kill may cost each call.
    """
    verdict = Verdict(calls=len(calls))
    _judge_spool(site, verdict)
    by_session: dict[str, list[Stored]] = {}
    for stored in _fetch(site, verdict):
        session = stored.about.get("session", "")
        if session:
            by_session.setdefault(session, []).append(stored)
        elif stored.audio:
            verdict.blame("recordings without a session", f"{stored.key}, {len(stored.audio) // FRAME_BYTES} samples")
        else:
            verdict.empty += 1
    for call in calls:
        _judge_call(call, by_session.pop(call.session, []), kills.get(call.life), bound, verdict)
    for strangers in by_session.values():
        for stranger in strangers:
            verdict.blame("bytes that differ", f"{stranger.key} has a session that no client opened")
    return verdict


def _judge_spool(site: Site, verdict: Verdict) -> None:
    for path in site.files():
        name = str(path.relative_to(site.spool))
        if not name.startswith(("dead/", "broken/")):
            verdict.blame("files left in the spool", name)
        elif name.endswith(".reason.txt"):
            stem = path.name.removesuffix("reason.txt")
            sizes = {other.suffix: other.stat().st_size for other in path.parent.glob(f"{stem}*") if other != path}
            if not any(sizes.values()):  # created, but never written to
                verdict.empty += 1
                continue
            kind = "dead letters" if name.startswith("dead/") else "broken drafts"
            verdict.blame(kind, f"{name} {sizes}: {path.read_text().strip()}")


def _fetch(site: Site, verdict: Verdict) -> list[Stored]:
    client = site.store.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=site.bucket)
    keys = {entry["Key"] for page in pages for entry in page.get("Contents", ())}
    stems = {key.rpartition(".")[0] for key in keys}
    found = []
    for stem in sorted(stems):
        if not {f"{stem}.wav", f"{stem}.json"} <= keys:
            verdict.blame("audio or sidecar objects missing", stem)
            continue
        wav, sidecar = (
            client.get_object(Bucket=site.bucket, Key=f"{stem}.{suffix}")["Body"].read() for suffix in ("wav", "json")
        )
        found.append(_read(stem, wav, sidecar, verdict))
    return found


def _read(stem: str, wav: bytes, sidecar: bytes, verdict: Verdict) -> Stored:
    about = json.loads(sidecar)["recording"]
    audio = _data(wav)
    claims = {"bytes": len(wav), "sha256": hashlib.sha256(wav).hexdigest(), "samples": len(audio) // FRAME_BYTES}
    says = {"samples": about["samples"], **{name: about["audio"][name] for name in ("bytes", "sha256")}}
    if claims != says:
        verdict.blame("wrong sidecars", f"{stem}: {says} and not {claims}")
    for error in check(json.loads(sidecar), io.BytesIO(wav)):
        verdict.blame("wrong sidecars", f"{stem}: {error}")
    return Stored(stem, about, audio)


def _data(wav: bytes) -> bytes:
    """The content of the chunk ``data``. Parses independently of the daemon's module, which is under test."""
    at = 12
    while at < len(wav):
        name, size = struct.unpack_from("<4sL", wav, at)
        at += 8
        if name == b"data":
            return wav[at : at + size]
        at += size + size % 2
    return b""


def _judge_call(call: Call, found: list[Stored], killed: float | None, bound: float, verdict: Verdict) -> None:
    due = call.read_by(killed - bound) if killed is not None else call.samples
    samples = len(found[0].audio) // FRAME_BYTES if found else 0
    if samples < due:
        _blame_loss(call, samples, killed, bool(found), verdict)
    if not found:
        verdict.too_young += not due
        return
    if len(found) > 1:
        verdict.blame("duplicates", f"{call.session}: {', '.join(stored.key for stored in found)}")
    stored = found[0]
    if stored.audio != call.voice.until(samples) or samples > call.samples:
        verdict.blame("bytes that differ", f"{stored.key}, {samples} samples of {call.samples}")
    verdict.recovered += "recovered" in stored.about
    if killed is not None and not call.is_closed:
        verdict.cut += 1
        verdict.lost.append((call.sent_by(killed) - samples) / RATE)
        since = call.lost_since(samples)
        verdict.ages += [] if since is None else [killed - since]
    else:
        verdict.whole += samples == call.samples


def _blame_loss(call: Call, samples: int, killed: float | None, is_there: bool, verdict: Verdict) -> None:
    kind = "audio missing beyond the bound" if is_there else "recordings missing"
    text = f"{call.session}, {samples} samples of {call.samples}"
    since = call.lost_since(samples)
    if killed is not None and since is not None:
        text += f"; the next samples had been read {killed - since:.3f} s before the kill"
    verdict.blame(kind, text)
