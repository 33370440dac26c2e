"""What is decided about those who call, before they are a session."""

from typing import Literal

from msgspec import Struct

from audiohookd.auth.authenticator import Authenticator
from audiohookd.runtime.token_bucket import Rate


class HandshakePolicy(Struct, frozen=True):
    """Who is let in, and how the others are told."""

    authenticator: Authenticator
    #: ``http``: status 401 instead of the upgrade. ``disconnect``: upgrade, then ``disconnect unauthorized``.
    rejection: Literal["http", "disconnect"] = "http"
    #: What the client has called us, where the proxy does not pass on ``Host`` as it was.
    authority: str | None = None


class ReceiveLimits(Struct, frozen=True):
    """How much one client may send. None for no limit."""

    frames: Rate | None = None
    messages: Rate | None = None
    audio_bytes: Rate | None = None
    #: Octets of text messages.
    message_bytes: Rate | None = None
    control_frames: Rate | None = None
    fragments: Rate | None = None
