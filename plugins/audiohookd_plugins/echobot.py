"""A bot that repeats what the caller says, to test an Audio Connector end to end."""

from typing import Any

from msgspec import Struct
from zope.interface import implementer, provider

from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import AudioSink
from audiohookd.protocol.product import Product

#: Seconds of silence before the echo: a message of the daemon, and 0.2 s for the network.
LEAD = 0.6


class EchoBotConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.echobot]``."""

    #: The key that ends the session.
    end: str = "#"


@provider(IPluginFactory)
@implementer(IPlugin)
class EchoBotPlugin:
    """Repeats the callers of routes with ``product = "audio-connector"``; other sessions are left alone."""

    config_type = EchoBotConfig

    def __init__(self, config: EchoBotConfig, daemon: IDaemon) -> None:
        self._config = config

    def observe(self, session: ISession) -> "EchoBot | None":
        """See :class:`IPlugin`."""
        return EchoBot(session, self._config.end) if session.product is Product.AUDIO else None


class EchoBot(AudioSink):
    """Repeats one caller. The output variable ``digits`` has the keys that were pressed.

    :param end: the key that ends the session.
    """

    def __init__(self, session: ISession, end: str) -> None:
        self._session = session
        self._end = end
        self._digits = ""

    def opened(self) -> Any:
        """Plays silence first: the echo of 0.4 s is ready when the previous one ends, which would be too late."""
        if self._session.media is not None:
            silence = self._session.media.silence(round(LEAD * self._session.media.rate))
            self._session.send_audio(silence, is_last=True)

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        self._session.send_audio(frame)

    def dtmf(self, digit: str) -> Any:
        """See :class:`ISessionObserver`."""
        if digit == self._end:
            self._session.disconnect("completed", None, {"digits": self._digits}, after_playback=True)
        else:
            self._digits += digit
