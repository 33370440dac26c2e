"""The contract for plugin authors.

A plugin watches sessions and may speak into them. All methods are called in the reactor thread, never re-entrantly.

They MUST NOT BLOCK: half a second of ``time.sleep``, of a query or of computing in one method is half a second in
which no call of the daemon is served. What takes time goes into a worker pool of :class:`IDaemon`. The daemon logs
each block of 100 ms or more with plugin, callback, file and line. A plugin that
keeps to this can lose only its own view: it cannot delay ``opened`` or ``pong``, stop another plugin, or grow memory
without bound.

Order of the calls that one observer gets: ``opened``, then any of the others in the order in which things happened,
``closing`` at most once, ``closed`` exactly once and last. Where a method returns a Deferred or is a coroutine,
nothing more is delivered to this observer until it is done: that is its backpressure. What waits meanwhile is
bounded; audio beyond the bound is replaced by one explicit gap.

No-op implementations to derive from are in :mod:`audiohookd.observer`.
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
    """For an observer to raise: it lost a part of what it was given, and goes on. Its text is for the log.

    Counted and logged like any failure, and it ends the session if the plugin is ``required``; but the observer is
    not cut off.
    """


class Unavailable(Exception):
    """For a carrier or a notifier: it is not this recording, but the other side that cannot be reached, or is busy.

    Everything waits, and one recording at a time is tried until one succeeds. Its text is for the log.

    :param retry_after: seconds until which there is no use in trying, when the other side said so.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Undeliverable(Exception):
    """For a carrier or a notifier: this recording can never be delivered, however often it is tried.

    It becomes a dead letter, once nobody else is due, and the text is the reason that the sysadmin reads. When in
    doubt, raise anything else.
    """


class WrongThread(RuntimeError):
    """A method that is only for the reactor thread was called in another one. Nothing was done.

    In a thread: ``daemon.reactor.callFromThread(session.send_event, entities)``.
    """


class IPluginFactory(Interface):
    """What an entry point of the group ``audiohookd.plugins`` names: usually a class that provides this."""

    config_type = Attribute(
        "A frozen msgspec.Struct: the plugin's own keys in its [plugins.NAME] table, checked before it is built."
        " Fields of type pathlib.Path arrive absolute: relative ones are relative to the configuration file."
    )

    def __call__(config: Any, daemon: "IDaemon") -> "IPlugin":
        """Builds the plugin, once per process, before any port is open.

        Must not touch the network. Whatever it raises stops the start-up, with one line that names the plugin: a
        ValueError for the user's mistake, whose text is the line.
        """


class IPlugin(Interface):
    """One plugin, shared by all sessions of the routes that name it.

    It may also provide :class:`twisted.application.service.IService`: then it is started before the first session
    and stopped after the last one.
    """

    def observe(session: "ISession") -> "ISessionObserver | None":
        """A session was opened: who watches it for this plugin? None for nobody.

        Called after ``opened`` was sent, and never for a connection probe. An exception costs this plugin its
        view of this session (or ends the session, if the plugin is ``required``).
        """


class IAdmission(Interface):
    """A plugin that also provides this has a say in how a session is opened.

    All admissions of a route are asked, in the order of the configuration file, each seeing what the one before
    decided. Together they have the time that ``[session] admission_timeout`` grants; when they are late,
    ``opened`` goes out without them, or the session ends if one of them is ``required``.
    """

    def admit(opening: "IOpening") -> Any:
        """Look at ``opening`` and change it, or refuse. May return a Deferred or be a coroutine.

        What is late, or belongs to a call that is over, is cancelled.
        """


class IRecorder(Interface):
    """Marks a plugin that records the sessions it observes, so that a call without a recording does not go unnoticed.

    A route needs such a plugin unless it has ``record = false``: otherwise the daemon warns at start, in ``/ready``
    and at the end of each call.
    """


class IOpening(Interface):
    """A session that is about to be opened."""

    session = Attribute("The ISession. Nothing may be sent yet.")
    media = Attribute("Assignable: the offers to choose from, a tuple of Media: the first in PCMU, else the first.")
    start_paused = Attribute("Assignable: ask the client not to send audio until ``session.resume()``.")
    discard_to = Attribute("Assignable: position in samples up to which the client may skip audio, or None.")
    supported_languages = Attribute("Assignable: tuple of language codes; only sent when the client asked for them.")
    supported_languages_wanted = Attribute("True when the client asked for the list.")

    def refuse(info: str, reason: DisconnectReason = "error") -> None:
        """Do not open: ``disconnect`` instead. ``info`` is logged by Genesys Cloud: nothing internal in it."""


class ISessionObserver(Interface):
    """Watches one session. Every method may return a Deferred or be a coroutine."""

    def opened() -> Any:
        """The session is open. The first call."""

    def paused() -> Any:
        """The client stopped to send audio, at its own wish or at ours."""

    def resumed() -> Any:
        """The client sends audio again."""

    def language_changed(language: str) -> Any:
        """The client changed the language (BCP 47, spelled as it came)."""

    def message(outgoing: bool, data: bytes, at: float) -> Any:
        """A protocol message crossed the wire, as JSON text, at ``at`` (seconds since the epoch).

        In one session ``at`` never goes back, even if the clock of the machine does.
        The messages before ``opened`` are delivered right after it.
        """

    def round_trip(nanoseconds: int) -> Any:
        """The client measured this round trip of the protocol's ping."""

    def dtmf(digit: str) -> Any:
        """The caller pressed a key (Audio Connector)."""

    def playback(started: bool) -> Any:
        """The client began, or ended, to play our audio to the caller (Audio Connector)."""

    def closing(reason: str) -> Any:
        """The client closes. Last chance to send events.

        ``closed`` waits for it, for at most ``[session] plugin_closing_timeout`` seconds.
        """

    def closed(reason: str) -> Any:
        """It is over. Always called, exactly once, as the last one; also after a failure of this observer.

        ``reason`` is ``end``, ``error``, ``disconnect``, ``reconnect`` (the client's own word), or
        ``connection-lost``.
        """


class IAudioSink(ISessionObserver):
    """An observer that also takes the audio.

    The calls of ``audio`` and ``gap`` tile the call's time without overlap: each begins where the last one ended,
    and the first at the position which the session had when it was opened.
    """

    def audio(frame: bytes) -> Any:
        """Audio of the selected media: whole samples of all channels, interleaved, of any length.

        ``frame`` is shared by all sinks and immutable. May be kept.
        """

    def gap(gap: Gap) -> Any:
        """No audio for ``gap.samples`` samples (per channel)."""


class ISession(Interface):
    """One session, as one plugin sees it. What a plugin assigns to it is not seen by others.

    Its methods are for the reactor thread: in another one they raise :class:`WrongThread`, which is logged and
    counted as a failure of the plugin. Once ``closed`` is done, they return False; the first use of each is logged
    and counted.
    """

    id = Attribute("UUID of the session.")
    organization_id = Attribute("UUID of the organization, authenticated where requests are signed.")
    correlation_id = Attribute("UUID that Genesys Cloud uses in its own logs.")
    conversation_id = Attribute("UUID of the conversation; several sessions may share one.")
    participant = Attribute("The followed party, a protocol.messages.Participant. Personal data: not for logs.")
    media = Attribute("The selected Media, or None. Channel roles come from its ``channels`` alone.")
    language = Attribute("Language code as it came last, or None.")
    custom_config = Attribute("The administrator's configuration of the integration, a read-only mapping.")
    input_variables = Attribute("Variables of the Architect flow, a read-only mapping (Audio Connector).")
    position = Attribute("Samples (per channel) since the start of the call, pauses included.")
    start_position = Attribute("The position at which the session was opened.")
    started_at = Attribute("Seconds since the epoch when ``open`` came.")
    request = Attribute("A read-only mapping with ``uri``, ``peer`` and ``headers`` of the upgrade, without secrets.")
    connection_end = Attribute(
        "None while the connection is there. Else how it ended, an object with ``cause`` (close-frame, eof, reset,"
        " timeout, tls, aborted, error), ``by`` (client, server), ``code`` of the WebSocket close frame or None, and"
        " ``reason``, a text that may come from the peer. In ``closed`` it is there when the connection ended first."
    )
    missed_messages = Attribute("Messages to the client that the plugin's observer did not get: its queue was full.")
    log = Attribute("A twisted.logger.Logger that names this session in every line.")

    def send_event(entities: Sequence[Entity]) -> bool:
        """Sends results to Genesys Cloud. False when it is too late for that, or the client asked us to hold back.

        False, too, beyond 20 events or 64 KiB per second of one plugin (100 and 256 KiB at once).

        :raises audiohookd.protocol.errors.LocalProtocolError: empty, malformed, or larger than 64,000 bytes.
        """

    def pause() -> bool:
        """Asks the client to send no audio. False when the session is not open.

        False, too, beyond one per second of one plugin (20 at once).
        """

    def resume() -> bool:
        """Asks the client to send audio again. False as for :meth:`pause`; after a ``pause`` it is not limited."""

    def disconnect(
        reason: DisconnectReason = "completed",
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
    ) -> bool:
        """Asks the client to end the session. False when it is ending already.

        :raises audiohookd.protocol.errors.LocalProtocolError: a reason that the protocol does not know, an ``info``
            that is no text, or variables that are no texts by name; or larger than 64,000 bytes.
        """


class ILine(Interface):
    """A line of a journal that is made when it is written: what comes often is made in one go, and the reactor need
    not wait for it.
    """

    def __len__() -> int:
        """About how many bytes it will have."""

    def __call__() -> bytes:
        """The line. Called once, in the thread that writes all calls: it must be quick, wait for nothing, and look at
        nothing that may change meanwhile. What it raises stands in the journal instead, and in the log.
        """


class IDraft(Interface):
    """A recording that is being written. See :mod:`audiohookd.spool`.

    What the disk refuses, now or later, costs the audio that could not be written: silence of the same length takes
    its place as soon as the disk takes something again, and the sidecar names it as a gap of the cause ``disk``.
    Everything goes on meanwhile; the caller is told once, when it begins, and the same when the disk stalls.

    After ``finish`` every call raises ValueError.
    """

    id = Attribute("UUID of the recording; the name of its files.")

    def audio(data: bytes) -> Any:
        """Appends audio, kept by reference until it is written.

        Returns None, or a Deferred when so much waits for the disk that the caller should hold back.

        :raises OSError: the disk refuses, or stalls, since this or ``note`` was called last. ``data`` was taken all
            the same, and so will be the next.
        """

    def note(line: "bytes | ILine") -> Any:
        """Appends one line of JSON to the journal: an object with ``timestamp``, ``type`` and ``data``.

        Returns what ``audio`` does.

        The lines become the body of the sidecar, but for two types: the ``data`` of ``recording`` are merged into
        the sidecar's ``recording``, those of ``gap`` go into its list of gaps.

        :raises OSError: as ``audio``; ``line`` was taken.
        :raises TypeError: it is no line. ValueError: it is more than one.
        """

    def finish(recording: Mapping[str, Any]) -> Any:
        """No more is coming: make it a ready recording.

        ``recording`` goes into the sidecar. Returns a Deferred that fires with the path of the audio file (of the
        sidecar when there was no audio), or fails with OSError; then what is on disk stays a draft, and is finished
        as after a crash when the disk allows it.
        """


class ISpool(Interface):
    """Recordings on disk."""

    def begin(recording_id: str, started_at: float, media: Media | None) -> IDraft:
        """Begins a recording; ``started_at`` in seconds since the epoch. Without media only a sidecar is made."""


class IRecording(Interface):
    """A ready recording. Its files are not to be changed; the methods read the disk, for worker threads alone."""

    id = Attribute("UUID of the recording; the name of its files.")
    day = Attribute("The day on which it started, in UTC: ``2026-01-31``.")
    audio = Attribute(
        "Path of the audio file. Nothing is there when the recording has no audio, or when it was carried away"
        " already and only the notices of that are still due."
    )
    sidecar = Attribute("Path of the sidecar.")

    def read() -> Mapping[str, Any]:
        """The ``recording`` object of the sidecar, read in bounded memory however large the sidecar is.

        Of its ``gaps`` the first 10,000; ``omittedGaps`` counts those that are left out.

        :raises OSError: it cannot be read. ValueError: it is no sidecar.
        """

    def receipts() -> Mapping[str, Mapping[str, Any]]:
        """What the carriers that stored it said, by the name of their tables in the configuration."""


class ICarrier(Interface):
    """A plugin that also provides this carries ready recordings away, from all routes.

    Local files are deleted only after :meth:`carry` succeeded. The daemon calls again after failures, for ever, with
    exponential backoff and full jitter; begins with what was ready before a restart; and puts aside what is
    :class:`Undeliverable`, once the other carriers have it.
    """

    concurrency = Attribute("How many recordings at a time, at least 1. Fewer while they keep calls waiting.")

    def carry(recording: IRecording) -> Any:
        """Stores the recording elsewhere. Called in the reactor thread; returns a Deferred or is a coroutine.

        Its result is the receipt: a mapping, to be kept as JSON, of what others need to find the recording. It
        promises that audio and sidecar are stored and that this was confirmed. The same recording may come again,
        after a crash even after a success; that must neither store it twice nor fail. It may even come without its
        audio: where all carriers have stored it, that goes before the last receipt if the disk has no room for both.
        Then the answer has to come from the store.

        It has to bound its own time: the daemon cannot know how long an upload may take, and ends none before it
        stops. What never ends holds one of the ``concurrency`` places, and all that is seen of it is a line in the
        log after ten minutes, then every hour. Cancelled, as when the daemon stops, it should end soon.

        Whatever it fails with is tried again. :class:`Unavailable` lets everything else wait, too;
        :class:`Undeliverable` is final. An OSError with the name of one of the recording's files, or EIO, should come
        through as it is: it is put down to this recording alone.
        """


class INotifier(Interface):
    """A plugin that also provides this tells others of recordings, from all routes.

    Each recording, once all carriers have stored it; where there is no carrier, once it is ready.
    """

    concurrency = Attribute("How many recordings at a time, at least 1. Fewer while they keep calls waiting.")

    def notify(recording: IRecording) -> Any:
        """Tells of the recording. As :meth:`ICarrier.carry`, but for the result, which is not looked at.

        At least once: after a crash the same one may come again. It has to bound its own time, too.
        """


class IWorkers(Interface):
    """A bounded pool of threads."""

    def do(work: Callable[[], Any]) -> Any:
        """Runs ``work`` in a thread of the pool; a Deferred with its result.

        Raises nothing. ``work`` must be safe to run outside the reactor thread. Pieces of work start in the order in
        which they came. Fails with :class:`audiohookd.runtime.workers.PoolFull` when too many wait, or the pool has
        stopped, or has not started yet: not before the plugin is built. Fails with :class:`WrongThread` outside the
        reactor thread.
        """


class IDaemon(Interface):
    """What a plugin may ask of the daemon."""

    reactor = Attribute(
        "The reactor (IReactorTime and more). Its seconds are for durations: they go on whatever is done to the clock"
        " of the machine, and tell no date."
    )
    spool = Attribute("The ISpool.")

    def now() -> float:
        """Seconds since the epoch, for dates. May be put forward or back at any moment."""

    def workers(name: str, threads: int, waiting: int) -> IWorkers:
        """A pool of the plugin's own, of at most ``threads`` threads and ``waiting`` waiting pieces of work.

        To be asked for while the plugin is built. The daemon starts and stops it. Names are per table: two tables can
        use one class.

        :raises ValueError: the plugin has a pool of this name, or no pool can be like this.
        :raises RuntimeError: the plugin was built before.
        """

    def claim(resource: str) -> None:
        """Reserves what only one table may use, such as a bucket or a file. The name is for all plugins.

        To be called while the plugin is built.

        :raises ValueError: another table has claimed it; the text names that table.
        """
