"""A plugin that takes the audio and does next to nothing with it: what a further sink costs by itself."""

from typing import Any

from msgspec import Struct
from zope.interface import implementer, provider

from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import AudioSink


class SinkConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to set."""


@provider(IPluginFactory)
@implementer(IPlugin)
class SinkPlugin:
    """One sink for each session."""

    config_type = SinkConfig

    def __init__(self, config: SinkConfig, daemon: IDaemon) -> None:
        pass

    def observe(self, session: ISession) -> "Sink":
        """See :class:`IPlugin`."""
        return Sink()


class Sink(AudioSink):
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard = 0

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        self.heard += len(frame)
