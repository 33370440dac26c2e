"""The session as a plugin sees it, and the observers that a plugin has of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from audiohookd.protocol.entities import Entity
from audiohookd.protocol.events import Gap
from audiohookd.protocol.messages import DisconnectReason

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


class PartialLoss(Exception):
    """Raised by an observer that lost part of its input and continues. The text is logged.

    It is counted and logged like any failure, and ends the session if the plugin is ``required``. Unlike after other
    failures, the daemon keeps calling the observer.
    """


class ISession(Interface):
    """One plugin's view of one session. Attributes that a plugin assigns are not visible to other plugins.

    Call the methods in the reactor thread only. In another thread they raise :class:`WrongThread`, which is logged
    and counted as a failure of the plugin. After ``closed`` has finished they return False, and the first call of
    each is logged and counted.
    """

    id = Attribute("UUID of the session.")
    product = Attribute("The Product of Genesys Cloud that calls, as the route says; a protocol.product.Product.")
    waiting_audio = Attribute("Seconds of audio that wait to be sent (Audio Connector).")
    organization_id = Attribute("UUID of the organization. Authenticated if the request was signed.")
    correlation_id = Attribute("UUID that Genesys Cloud uses in its own logs.")
    conversation_id = Attribute("UUID of the conversation; several sessions may share one.")
    continued_sessions = Attribute(
        "UUIDs of the sessions that this one continues after a reconnect, the first one first; usually empty."
    )
    participant = Attribute("The followed party, a protocol.messages.Participant. Personal data: must not be logged.")
    media = Attribute("The selected Media, or None. Only its ``channels`` define the roles of the channels.")
    language = Attribute("Language code that the client sent last, or None.")
    custom_config = Attribute(
        "The administrator's configuration of the integration, a read-only mapping. Each access decodes it anew,"
        " which takes up to a millisecond for 60 KB: read it once."
    )
    input_variables = Attribute("Variables of the Architect flow, a read-only mapping like ``custom_config``.")
    position = Attribute("Samples (per channel) since the start of the call, including pauses.")
    start_position = Attribute("The position in samples (per channel) at which the session was opened.")
    started_at = Attribute("When ``open`` was received, in seconds since the epoch.")
    request = Attribute("A read-only mapping with ``uri``, ``peer`` and ``headers`` of the upgrade, without secrets.")
    connection_end = Attribute(
        "None while the connection exists. Then how it ended, an object with ``cause`` (close-frame, eof, reset,"
        " timeout, tls, aborted, error), ``by`` (client, server), ``code`` of the WebSocket close frame or None, and"
        " ``reason``, a text that may come from the peer. Set in ``closed`` if the connection ended first."
    )
    missed_messages = Attribute(
        "Number of messages to the client that the observer did not receive because its queue was full."
    )
    log = Attribute("A twisted.logger.Logger that names this session in every line.")

    def send_event(entities: Sequence[Entity]) -> bool:
        """Sends results to Genesys Cloud, which accepts 5 text messages per second and 25 at once (``[send]``).

        Results above this rate wait, and are merged into one message. What still waits when the session ends is
        reported to :meth:`ISessionObserver.events_dropped`. Each plugin may send 20 events and 64 KiB per second, in
        bursts of 100 events and 256 KiB.

        :returns: False if the session is ending, if 256 KiB of results wait already, or if the plugin exceeds its
            rate limit.
        :raises audiohookd.protocol.errors.LocalProtocolError: empty, malformed, or larger than 64,000 bytes.
        """

    def pause() -> bool:
        """Asks the client to send no audio. Each plugin may do so once per second, in bursts of 20.

        :returns: False if the session is not open, or the plugin exceeds its rate limit.
        """

    def resume() -> bool:
        """Asks the client to send audio again.

        :returns: False as for :meth:`pause`; the ``resume`` that follows a ``pause`` is not rate-limited.
        """

    def disconnect(
        reason: DisconnectReason = "completed",
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
        after_playback: bool = False,
    ) -> bool:
        """Asks the client to end the session.

        :param output_variables: for the Architect flow (Audio Connector).
        :param after_playback: waits until the client has played the audio of :meth:`send_audio` and has reported
            it, at most 2 s longer than the audio is. No more audio is accepted meanwhile.
        :returns: False if the session is ending already.
        :raises audiohookd.protocol.errors.LocalProtocolError: ``reason`` is not in the protocol, ``info`` is not a
            text, ``output_variables`` does not map texts to texts, or the message is larger than 64,000 bytes.
        """

    def send_audio(data: bytes, is_last: bool = False) -> bool:
        """Plays audio to the caller. Only for routes with ``product = "audio-connector"``.

        The daemon sends it in messages of 0.4 s or more, half a second before the client plays them.

        :param data: whole samples in the format of ``media``, of any length.
        :param is_last: the end of what the bot says now: a rest below 0.4 s is sent at once, and not 0.3 s later.
        :returns: False if the session is not open or has no audio, or if 1 MiB of audio waits already.
        :raises audiohookd.protocol.errors.LocalProtocolError: another product, or ``data`` ends within a sample.
        """

    def barge_in() -> int:
        """Stops the bot, because the caller speaks: drops audio that waits, and asks the client to drop what it has.

        :returns: samples (per channel) that were not sent.
        """


class ISessionObserver(Interface):
    """Observes one session. Every method may return a Deferred or be a coroutine."""

    def opened() -> Any:
        """The session is open. This is the first call."""

    def paused() -> Any:
        """The client stopped sending audio, on its own or because the daemon asked for it."""

    def resumed() -> Any:
        """The client sends audio again."""

    def language_changed(language: str) -> Any:
        """The client changed the language.

        :param language: BCP 47 code, spelled as the client sent it.
        """

    def message(outgoing: bool, data: bytes, at: float) -> Any:
        """A protocol message was sent or received. The messages before ``opened`` are delivered right after it.

        :param outgoing: True if the daemon sent it.
        :param data: the JSON text.
        :param at: seconds since the epoch. It never decreases in one session, even if the system clock is set back.
        """

    def round_trip(nanoseconds: int) -> Any:
        """The client reported the round-trip time of a protocol ``ping``, in nanoseconds."""

    def dtmf(digit: str) -> Any:
        """The caller pressed a key (Audio Connector)."""

    def playback(started: bool) -> Any:
        """The client started or finished playing the daemon's audio to the caller (Audio Connector)."""

    def time_limit_near(seconds: float) -> Any:
        """Genesys Cloud will end the session in about ``seconds``, by the ``time_limit`` of the route."""

    def events_dropped(entities: Sequence[Any]) -> Any:
        """The session ended before these results could be sent. Called once for each event, before ``closed``.

        :param entities: as they were given to :meth:`ISession.send_event`.
        """

    def closing(reason: str) -> Any:
        """The client asked to close the session. Events can be sent until this method has finished.

        ``closed`` waits for it, at most ``[session] plugin_closing_timeout`` seconds.
        """

    def closed(reason: str) -> Any:
        """The session has ended. Always called exactly once and last, also after a failure of this observer.

        :param reason: ``end``, ``error``, ``disconnect`` or ``reconnect`` as the client sent it, or
            ``connection-lost``.
        """


class IAudioSink(ISessionObserver):
    """An observer that also receives the audio.

    The calls of ``audio`` and ``gap`` cover the call without overlap: each begins at the position where the previous
    one ended. The first begins at the position of the session when it was opened.
    """

    def audio(frame: bytes) -> Any:
        """Receives audio of the selected media.

        :param frame: whole samples of all channels, interleaved, of any length. All sinks share it; it is immutable
            and may be kept.
        """

    def gap(gap: Gap) -> Any:
        """No audio exists for ``gap.samples`` samples (per channel)."""

    def audio_sent(start: int, data: bytes) -> Any:
        """Audio was sent to the client of an Audio Connector.

        :param start: the position, in samples, at which the caller hears it, as far as the daemon can tell.
        :param data: samples of one channel in the format of the media.
        """

    def audio_dropped(start: int) -> Any:
        """The client was asked to drop the sent audio from the position ``start`` on (``barge_in``)."""

    def audio_while_paused(position: int, size: int) -> Any:
        """The client sent audio although it had reported a pause. The audio is dropped.

        :param position: in samples.
        :param size: bytes of the message.
        """
