"""Settings for a connection before it has a session: authentication and receive limits."""

from typing import Literal

from msgspec import Struct

from audiohookd.auth.authenticator import Authenticator
from audiohookd.runtime.token_bucket import Rate


class HandshakePolicy(Struct, frozen=True):
    """How requests are authenticated, and how they are rejected."""

    authenticator: Authenticator
    #: ``http``: status 401 instead of the upgrade. ``disconnect``: upgrade, then ``disconnect unauthorized``.
    rejection: Literal["http", "disconnect"] = "http"
    #: The host name that the client has signed, where a proxy rewrites ``Host``.
    authority: str | None = None


class ReceiveLimits(Struct, frozen=True):
    """Receive rate limits of one client. None for no limit."""

    frames: Rate | None = None
    messages: Rate | None = None
    audio_bytes: Rate | None = None
    #: Bytes of text messages.
    message_bytes: Rate | None = None
    control_frames: Rate | None = None
    fragments: Rate | None = None
