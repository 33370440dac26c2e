"""Limits how much a client may send per second, before its connection handles it."""

from collections.abc import Callable
from typing import Final

from audiohookd.edge.policy import ReceiveLimits
from audiohookd.runtime.token_bucket import PrepaidTokens
from audiohookd.session.driver import Connection, ServerContext

#: The most fragments of one message. Each fragment, even an empty one, uses memory until the message is complete.
MAX_FRAGMENTS: Final = 256


class ReceiveLimiter:
    """Passes messages to a connection, within the rate limits of a client.

    The first time that a client exceeds a limit, the connection asks it to close. The client may send a little more
    until it has seen this; then it is dropped.

    :param paces: the rate limits.
    :param drop: called with the name of the limit to drop the client.
    """

    __slots__ = (
        "_audio_bytes",
        "_connection",
        "_control_frames",
        "_drop",
        "_fragments",
        "_fragments_of_message",
        "_frames",
        "_is_disconnecting",
        "_is_dropped",
        "_message_bytes",
        "_messages",
        "_shared",
    )

    def __init__(
        self, connection: Connection, paces: ReceiveLimits, shared: ServerContext, drop: Callable[[str], object]
    ) -> None:
        since = shared.clock.seconds()
        self._connection = connection
        self._shared = shared
        self._drop = drop
        self._frames = PrepaidTokens(paces.frames, since)
        self._messages = PrepaidTokens(paces.messages, since)
        self._audio_bytes = PrepaidTokens(paces.audio_bytes, since)
        self._message_bytes = PrepaidTokens(paces.message_bytes, since)
        self._control_frames = PrepaidTokens(paces.control_frames, since)
        self._fragments = PrepaidTokens(paces.fragments, since)
        self._fragments_of_message = 0
        self._is_disconnecting = False
        self._is_dropped = False

    def audio(self, data: bytes) -> None:
        """Counts a binary message and passes it on."""
        frames, audio_bytes = self._frames, self._audio_bytes
        frames.left -= 1
        audio_bytes.left -= len(data)
        if (frames.left >= 0 or self._has_more(frames, "frames")) and (
            audio_bytes.left >= 0 or self._has_more(audio_bytes, "audio-bytes")
        ):
            self._connection.audio(data)

    def text(self, data: bytes) -> None:
        """Counts a text message and its bytes, and passes it on. Parsing 64 KiB of hostile JSON takes 10 ms."""
        self._messages.left -= 1
        self._message_bytes.left -= len(data)
        if (self._messages.left >= 0 or self._has_more(self._messages, "messages")) and (
            self._message_bytes.left >= 0 or self._has_more(self._message_bytes, "message-bytes")
        ):
            self._connection.text(data)

    def control_frame(self) -> bool:
        """Counts a ping, pong or close frame. False if the client has been dropped."""
        self._control_frames.left -= 1
        has_more = self._control_frames.left >= 0 or self._has_more(self._control_frames, "control-frames")
        return has_more or not self._is_dropped

    def fragment(self, is_first: bool) -> bool:
        """Counts a fragment of a message. False if the client has been dropped."""
        self._fragments_of_message = 1 if is_first else self._fragments_of_message + 1
        if self._fragments_of_message > MAX_FRAGMENTS:
            self._exceed(self._fragments, "fragments")
            return not self._is_dropped
        self._fragments.left -= 1
        return self._fragments.left >= 0 or self._has_more(self._fragments, "fragments") or not self._is_dropped

    def _has_more(self, tokens: PrepaidTokens, limit: str) -> bool:
        if tokens.renew(self._shared.clock.seconds()):
            return True
        self._exceed(tokens, limit)
        return False

    def _exceed(self, tokens: PrepaidTokens, limit: str) -> None:
        if self._is_dropped:
            return
        if self._is_disconnecting:
            self._is_dropped = True
            self._drop(limit)
        else:
            self._is_disconnecting = True
            self._shared.counters.count("limit_hits", limit)
            tokens.grant_grace()
            self._connection.disconnect_for_rate(f"too many {limit.replace('-', ' ')}")
