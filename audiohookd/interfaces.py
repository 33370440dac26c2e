"""The contract for plugin authors.

A plugin observes sessions and may send events into them. The daemon calls all methods in the reactor thread, never
re-entrantly.

Methods MUST NOT BLOCK. While one method sleeps, queries or computes for half a second, the daemon serves no call for
half a second. Run slow work in a worker pool (:meth:`IDaemon.workers`). The daemon logs each block of 100 ms or more
with plugin, callback, file and line. A plugin that does not block can harm only its own observers: it cannot delay
``opened`` or ``pong``, stop another plugin, or grow memory without bound.

An observer is called in this order: ``opened`` first, then the other methods in the order of the events, ``closing``
at most once, ``closed`` exactly once and last. If a method returns a Deferred or is a coroutine, the daemon calls
this observer again only after it has finished; this is the observer's backpressure. The queue of waiting calls is
bounded. Audio that exceeds the bound is replaced by one explicit gap.

:mod:`audiohookd.observer` has no-op implementations to derive from.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from audiohookd.protocol.entities import Entity
from audiohookd.protocol.events import Gap
from audiohookd.protocol.media import Media
from audiohookd.protocol.messages import DisconnectReason

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


class PartialLoss(Exception):
    """Raised by an observer that lost part of its input and continues. The text is logged.

    It is counted and logged like any failure, and ends the session if the plugin is ``required``. Unlike after other
    failures, the daemon keeps calling the observer.
    """


class Unavailable(Exception):
    """Raised by a carrier or a notifier when its remote service is unreachable or busy.

    The recording is not at fault. All deliveries of this plugin pause; the daemon then retries one recording at a
    time until one succeeds. The text is logged.

    :param retry_after: seconds to wait before the next retry, if the remote service named them.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Undeliverable(Exception):
    """Raised by a carrier or a notifier for a recording that no retry can deliver.

    The recording becomes a dead letter after all other plugins have had it. The text is the reason that the operator
    reads. When in doubt, raise another exception: the daemon then retries.
    """


class WrongThread(RuntimeError):
    """Raised when a method of the reactor thread is called from another thread. The call has no effect.

    From a thread, use ``daemon.reactor.callFromThread(session.send_event, entities)``.
    """


class IPluginFactory(Interface):
    """Builds a plugin. An entry point of the group ``audiohookd.plugins`` names it; usually it is a class."""

    config_type = Attribute(
        "A frozen msgspec.Struct of the plugin's own keys in its [plugins.NAME] table. They are checked before the"
        " plugin is built. Fields of type pathlib.Path are made absolute, relative to the configuration file."
    )

    def __call__(config: Any, daemon: "IDaemon") -> "IPlugin":
        """Builds the plugin, once per process, before any port is open. Must not use the network.

        Any exception stops the start-up with one line that names the plugin.

        :param config: an instance of ``config_type``.
        :returns: the plugin of this table.
        :raises ValueError: the operator made a mistake in the configuration; the text becomes the line.
        """


class IPlugin(Interface):
    """A plugin, shared by all sessions of the routes that name it.

    A plugin that also provides :class:`twisted.application.service.IService` is started before the first session
    and stopped after the last one.
    """

    def observe(session: "ISession") -> "ISessionObserver | None":
        """Returns an observer for a session that was opened.

        Called after ``opened`` was sent, and never for a connection probe. If it raises, this session has no observer
        of this plugin; if the plugin is ``required``, the session ends.

        :returns: the observer, or None if the plugin does not observe this session.
        """


class IAdmission(Interface):
    """Provided by a plugin that decides how a session is opened, or rejects it.

    The daemon calls all admission plugins of a route in the order of the configuration file. Each sees the changes
    of the previous ones. Together they have ``[session] admission_timeout`` seconds. If they time out, ``opened`` is
    sent without them, or the session ends if one of the late plugins is ``required``.
    """

    def admit(opening: "IOpening") -> Any:
        """Changes ``opening``, or rejects the session by :meth:`IOpening.refuse`.

        The daemon cancels the result when it times out or when the call has ended.

        :returns: None, a Deferred or a coroutine.
        """


class IRecorder(Interface):
    """Marks a plugin that records the sessions it observes, so that the daemon can report calls without a recording.

    A route needs such a plugin unless it has ``record = false``. Otherwise the daemon warns at start, in ``/ready``
    and at the end of each call.
    """


class IOpening(Interface):
    """A session before ``opened`` is sent."""

    session = Attribute("The ISession. Its methods cannot send yet.")
    media = Attribute(
        "Assignable: tuple of the Media offers to choose from. The daemon selects the first in PCMU, else the first."
    )
    start_paused = Attribute("Assignable: True asks the client to send no audio until ``session.resume()``.")
    discard_to = Attribute("Assignable: position in samples up to which the client may skip audio, or None.")
    supported_languages = Attribute("Assignable: tuple of language codes. Sent only if the client asked for them.")
    supported_languages_wanted = Attribute("True if the client asked for the list of languages.")

    def refuse(info: str, reason: DisconnectReason = "error") -> None:
        """Rejects the session: the daemon sends ``disconnect`` instead of ``opened``.

        :param info: logged by Genesys Cloud, so it must not contain internal details.
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


class ISession(Interface):
    """One plugin's view of one session. Attributes that a plugin assigns are not visible to other plugins.

    Call the methods in the reactor thread only. In another thread they raise :class:`WrongThread`, which is logged
    and counted as a failure of the plugin. After ``closed`` has finished they return False, and the first call of
    each is logged and counted.
    """

    id = Attribute("UUID of the session.")
    organization_id = Attribute("UUID of the organization. Authenticated if the request was signed.")
    correlation_id = Attribute("UUID that Genesys Cloud uses in its own logs.")
    conversation_id = Attribute("UUID of the conversation; several sessions may share one.")
    participant = Attribute("The followed party, a protocol.messages.Participant. Personal data: must not be logged.")
    media = Attribute("The selected Media, or None. Only its ``channels`` define the roles of the channels.")
    language = Attribute("Language code that the client sent last, or None.")
    custom_config = Attribute("The administrator's configuration of the integration, a read-only mapping.")
    input_variables = Attribute("Variables of the Architect flow, a read-only mapping (Audio Connector).")
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
        """Sends results to Genesys Cloud.

        Each plugin may send 20 events and 64 KiB per second, in bursts of 100 events and 256 KiB.

        :returns: False if the session is ending, the client asked the daemon to back off, or the plugin exceeds its
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
    ) -> bool:
        """Asks the client to end the session.

        :returns: False if the session is ending already.
        :raises audiohookd.protocol.errors.LocalProtocolError: ``reason`` is not in the protocol, ``info`` is not a
            text, ``output_variables`` does not map texts to texts, or the message is larger than 64,000 bytes.
        """


class ILine(Interface):
    """A journal line that is rendered when it is written.

    Frequent lines are rendered in batches in the writer thread and cost the reactor no time.
    """

    def __len__() -> int:
        """About how many bytes the rendered line will have."""

    def __call__() -> bytes:
        """Renders the line. Called once, in the thread that writes all calls.

        It must be quick, must not wait, and must not read state that another thread may change. If it raises, the
        exception is logged, and written to the journal in place of the line.

        :returns: one line of JSON; see :meth:`IDraft.note`.
        """


class IDraft(Interface):
    """A recording that is being written. See :mod:`audiohookd.spool`.

    If a write fails, the audio of that write is lost. As soon as the disk can be written again, silence of the same
    length replaces it, and the sidecar lists it as a gap with the cause ``disk``. Until then the draft accepts data
    as usual. One call raises OSError when such a failure, or a stall of the disk, begins.

    After ``finish`` every call raises ValueError.
    """

    id = Attribute("UUID of the recording; the name of its files.")

    def audio(data: bytes) -> Any:
        """Appends audio. The draft keeps a reference to ``data`` until it is written.

        :param data: whole samples of all channels, interleaved.
        :returns: None; or a Deferred if too much data waits for the disk. The caller should send no more until the
            Deferred fires.
        :raises OSError: a disk error or a stall began since the last call of ``audio`` or ``note``. The draft has
            accepted ``data`` nevertheless, and accepts further data.
        """

    def note(line: "bytes | ILine") -> Any:
        """Appends one line of JSON to the journal: an object with ``timestamp``, ``type`` and ``data``.

        The lines become the body of the sidecar, with two exceptions: ``data`` of the type ``recording`` is merged
        into the sidecar's ``recording``, and ``data`` of the type ``gap`` is added to its list of gaps.

        :returns: as :meth:`audio`.
        :raises OSError: as :meth:`audio`; the draft has accepted ``line``.
        :raises TypeError: ``line`` is neither bytes nor an ILine.
        :raises ValueError: ``line`` is more than one line.
        """

    def finish(recording: Mapping[str, Any]) -> Any:
        """Ends the draft and makes it a ready recording.

        :param recording: added to the ``recording`` object of the sidecar.
        :returns: a Deferred with the path of the audio file, or of the sidecar if there was no audio. It fails with
            OSError if the disk does; the files then remain a draft, which the daemon recovers as after a crash.
        """


class ISpool(Interface):
    """Recordings on disk."""

    def begin(recording_id: str, started_at: float, media: Media | None) -> IDraft:
        """Begins a recording.

        :param recording_id: UUID; the name of its files.
        :param started_at: seconds since the epoch.
        :param media: format of the audio; None for a recording that has only a sidecar.
        """


class IRecording(Interface):
    """A ready recording. Plugins must not change its files.

    The methods read the disk: call them only in worker threads.
    """

    id = Attribute("UUID of the recording; the name of its files.")
    day = Attribute("The day on which it started, in UTC: ``2026-01-31``.")
    audio = Attribute(
        "Path of the audio file. The file is missing if the recording has no audio, or if it was uploaded and deleted"
        " and only its notifications are pending."
    )
    sidecar = Attribute("Path of the sidecar.")

    def read() -> Mapping[str, Any]:
        """Reads the ``recording`` object of the sidecar, in bounded memory for a sidecar of any size.

        :returns: the object with at most 10,000 ``gaps``; ``omittedGaps`` counts the others.
        :raises OSError: the sidecar cannot be read.
        :raises ValueError: the file is not a sidecar.
        """

    def receipts() -> Mapping[str, Mapping[str, Any]]:
        """Reads the receipts of the carriers that have stored the recording.

        :returns: each carrier's receipt (the result of :meth:`ICarrier.carry`), by the name of its table in the
            configuration.
        """


class ICarrier(Interface):
    """Provided by a plugin that uploads the ready recordings of all routes.

    Local files are deleted only after :meth:`carry` has succeeded. The daemon retries failures without limit, with
    exponential backoff and full jitter. After a restart it begins with the recordings that were ready before. An
    :class:`Undeliverable` recording becomes a dead letter once the other carriers have stored it.
    """

    concurrency = Attribute(
        "How many uploads run at a time, at least 1. The daemon runs fewer while they delay calls."
    )

    def carry(recording: IRecording) -> Any:
        """Uploads the audio and the sidecar of a recording. Called in the reactor thread.

        The upload must be idempotent. The same recording may be uploaded again, after a crash even if it succeeded
        before; this must neither store it twice nor fail. The audio file may then be missing: if all carriers have
        stored the recording and the disk is full, the daemon deletes the audio before it writes the last receipt. The
        carrier must then find the answer in its store.

        The upload must limit its own time. The daemon does not know how long an upload may take, and cancels none
        before it shuts down. An upload that hangs occupies one of the ``concurrency`` places; the daemon logs it
        after ten minutes, then every hour. A cancelled upload should end soon.

        Any failure is retried, except :class:`Undeliverable`, which is final. :class:`Unavailable` also pauses the
        other uploads of this carrier. An OSError with the name of one of the recording's files, or EIO, should be
        raised unchanged: it then counts against this recording only.

        :returns: a Deferred or a coroutine. Its result is the receipt: a mapping, kept as JSON, that says where the
            recording is stored. It confirms that the store has both audio and sidecar.
        :raises Unavailable: the store is unreachable or busy.
        :raises Undeliverable: no retry can upload this recording.
        """


class INotifier(Interface):
    """Provided by a plugin that notifies other systems of the ready recordings of all routes.

    It is called for each recording after all carriers have stored it. Without a carrier it is called when the
    recording is ready.
    """

    concurrency = Attribute(
        "How many notifications run at a time, at least 1. The daemon runs fewer while they delay calls."
    )

    def notify(recording: IRecording) -> Any:
        """Sends a notification of the recording, at least once: after a crash it may be sent again.

        The rules of :meth:`ICarrier.carry` apply, also that it must limit its own time.

        :returns: a Deferred or a coroutine; its result is ignored.
        :raises Unavailable: the receiver is unreachable or busy.
        :raises Undeliverable: the receiver rejects this notification for ever.
        """


class IWorkers(Interface):
    """A bounded pool of threads."""

    def do(work: Callable[[], Any]) -> Any:
        """Runs ``work`` in a thread of the pool. Never raises. Work starts in the order of the calls.

        :param work: must be safe to run outside the reactor thread.
        :returns: a Deferred with the result of ``work``. It fails with the exception of ``work``; with PoolFull if
            too much work is queued, or if the pool has stopped or has not started (it starts after the plugin is
            built); with :class:`WrongThread` if called outside the reactor thread.
        """


class IDaemon(Interface):
    """The services of the daemon that a plugin may use."""

    reactor = Attribute(
        "The reactor (IReactorTime and more). Its ``seconds()`` are monotonic: use them for durations, not for dates."
    )
    spool = Attribute("The ISpool.")

    def now() -> float:
        """Seconds since the epoch, for dates. The system clock may be set forward or back at any time."""

    def workers(name: str, threads: int, waiting: int) -> IWorkers:
        """Creates a thread pool for the plugin, which the daemon starts and stops. Call it while the plugin is built.
        :param name: unique in one table of the configuration; two tables can use one plugin class.
        :param threads: the most threads.
        :param waiting: the most pieces of work in the queue.
        :raises ValueError: the plugin has a pool of this name already, or a parameter is out of range.
        :raises RuntimeError: the plugin has been built.
        """

    def claim(resource: str) -> None:
        """Reserves a resource that only one table may use, such as a bucket or a file.

        Call it only while the plugin is built.

        :param resource: a name that all plugins share.
        :raises ValueError: another table has claimed it; the text names that table.
        """
