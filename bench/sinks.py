"""A plugin that receives the audio and only counts it, to measure the cost of a further sink."""

from typing import Any

from msgspec import Struct
from zope.interface import implementer, provider

from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import AudioSink


class SinkConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The plugin has no settings."""


@provider(IPluginFactory)
@implementer(IPlugin)
class SinkPlugin:
    """Attaches one sink to each session."""

    config_type = SinkConfig

    def __init__(self, config: SinkConfig, daemon: IDaemon) -> None:
        pass

    def observe(self, session: ISession) -> "Sink":
        """See :class:`IPlugin`."""
        return Sink()


class Sink(AudioSink):
    """Counts the bytes of audio."""

    def __init__(self) -> None:
        self.received = 0

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        self.received += len(frame)
