"""Public test doubles for plugin authors and for the daemon's own tests. No threads, no sockets, no real time.

:class:`audiohookd.testing.client.ScriptedClient` makes whole calls, and imports the server for that.
"""

from audiohookd.testing.constants import (
    CONVERSATION_ID,
    CORRELATION_ID,
    ORGANIZATION_ID,
    PARTICIPANT,
    PATH,
    SESSION_ID,
    START,
    STEREO,
)
from audiohookd.testing.daemon import FakeDaemon, FakeReactor
from audiohookd.testing.recording import WAV, FakeRecording
from audiohookd.testing.session import FakeSession
from audiohookd.testing.sinks import CapturingSink, RaisingSink
from audiohookd.testing.workers import MemoryWorkers

__all__ = [
    "CONVERSATION_ID",
    "CORRELATION_ID",
    "ORGANIZATION_ID",
    "PARTICIPANT",
    "PATH",
    "SESSION_ID",
    "START",
    "STEREO",
    "WAV",
    "CapturingSink",
    "FakeDaemon",
    "FakeReactor",
    "FakeRecording",
    "FakeSession",
    "MemoryWorkers",
    "RaisingSink",
]
