"""Ready recordings on disk to send notifications about, and a fake daemon."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure

from audiohookd.interfaces import INotifier
from audiohookd.spool.catalog import Recording
from audiohookd.testing import START, FakeDaemon, FakeRecording

ID = "3b8a0f1e-6f0c-4d5c-9a55-0d6a2f3f7c11"
OTHER_ID = "77777777-6f0c-4d5c-9a55-0d6a2f3f7c11"
CONVERSATION = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
DAY = "2026-01-01"
#: When the sidecar was written: 1 January 2026, 12:05:00.250 UTC.
COMPLETED_AT = 1_767_269_100.25
#: Now, on the daemons' clocks.
NOW = 1_767_270_000.0
PARTICIPANT = {
    "id": "883efee8-3d6c-4537-b500-6d7ca4b92fa0",
    "ani": "+1-555-555-1234",
    "aniName": "John Doe",
    "dnis": "+1-800-555-6789",
}
ABOUT: Mapping[str, Any] = {
    "session": "e160e428-53e2-487c-977d-96989bf5c99d",
    "conversation": CONVERSATION,
    "organization": "d7934305-0972-4844-938e-9060eef73d05",
    "correlation": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "participant": PARTICIPANT,
    "language": "en-US",
    "startPosition": 0,
    "closeReason": "end",
    "missingSamples": 40,
    "startedAt": "2026-01-01T12:00:00.000Z",
    "media": {"format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
    "samples": 2_400_000,
    "duration": "PT300S",
    "audio": {"file": f"{ID}.wav", "bytes": 4_800_058, "sha256": "ab" * 32},
    "gaps": [
        {"start": 0, "samples": 100, "cause": "paused", "filled": True, "offset": 0},
        {"start": 900, "samples": 20, "cause": "lost", "filled": True, "offset": 900},
    ],
}
IN_S3 = {"s3": {"bucket": "calls", "key": f"{DAY}/{ID}.wav"}}


def a_recording(
    spool: Path,
    about: Mapping[str, Any] = ABOUT,
    receipts: Mapping[str, Any] = IN_S3,
    recording_id: str = ID,
    audio: bytes | None = b"RIFF",
) -> Recording:
    """A ready recording, as the spool finds it."""
    recording = FakeRecording(spool, audio, {}, receipts, recording_id)
    recording.sidecar.write_text(json.dumps({"header": {"id": recording_id}, "body": [], "recording": about}))
    os.utime(recording.sidecar, (NOW, COMPLETED_AT))
    return recording


class NotifyingDaemon(FakeDaemon):
    """Runs the plugins' work on request, in the test's own thread."""

    def __init__(self, now: float = NOW) -> None:
        super().__init__()
        self.reactor.advance(now - START)

    def tell(self, notifier: INotifier, recording: Recording) -> Exception | None:
        """Sends the notification of the recording, and returns the error, if any."""
        outcomes: list[Any] = []
        notifier.notify(recording).addBoth(outcomes.append)
        assert outcomes == [], "the reactor thread was blocked"
        self.pool.run()
        (outcome,) = outcomes
        if not isinstance(outcome, Failure):
            assert outcome is None
            return None
        assert isinstance(outcome.value, Exception)
        return outcome.value
