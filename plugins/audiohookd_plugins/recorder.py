"""Records every session: a WAV file that follows the call's clock, and a sidecar that tells what happened in it."""

from array import array
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta, Raw, Struct
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer, provider

from audiohookd.escaping import loggable
from audiohookd.interfaces import IDaemon, ILine, IPlugin, IPluginFactory, IRecorder, ISession, PartialLoss
from audiohookd.observer import AudioSink
from audiohookd.protocol import json_text
from audiohookd.protocol.duration import NANOSECONDS, format_duration
from audiohookd.protocol.events import Gap
from audiohookd.protocol.media import Format
from audiohookd.units import Size

#: Silence is written as references to one block of so many bytes, whole samples of any media.
SILENCE_BYTES = 65_536

#: Seconds that a call, or the daemon's stop, waits for its recording, which can then still be delivered. A disk that
#: refuses the end of it may take hours, and shall not keep a call's place for that.
PATIENCE = 5.0

#: Gaps that a sidecar lists. A client may report fifty a second.
MAX_GAPS = 10_000
MIB = 1 << 20

#: The headers of the upgrade that stand in the sidecar. Not the rest: keys, signatures and cookies are among it.
_SHOWN_HEADERS = frozenset({"host", "user-agent"})
_SHOWN_PREFIX = "audiohook-"


class RecorderConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.recorder]``."""

    #: What stands in the file for pauses and losses: silence, or nothing. The sidecar lists them either way.
    gaps: Literal["silence", "omit"] = "silence"
    #: Of L16 as it comes over the wire. In the file it is little-endian always.
    l16_byte_order: Literal["little", "big"] = "little"
    #: Of the messages and round trips in one sidecar. Those after that are counted, and not kept.
    max_messages_size: Annotated[Size, Meta(ge=MIB, le=4096 * MIB)] = 16 * MIB

    renamed_keys: ClassVar[Mapping[str, str]] = {"timeline": "gaps", "max_messages": "max_messages_size"}


@provider(IPluginFactory)
@implementer(IPlugin, IRecorder)
class RecorderPlugin:
    """One recording for each session."""

    config_type = RecorderConfig

    def __init__(self, config: RecorderConfig, daemon: IDaemon) -> None:
        self.config = config
        self.daemon = daemon
        self._silence = {encoding: encoding.silence * (SILENCE_BYTES // encoding.sample_bytes) for encoding in Format}

    def observe(self, session: ISession) -> "Recorder":
        """See :class:`IPlugin`."""
        silence = self._silence[session.media.format] if session.media else b""
        if session.media and session.media.format is Format.L16 and self.config.l16_byte_order == "big":
            return SwappingRecorder(self.daemon, session, self.config, silence)
        return Recorder(self.daemon, session, self.config, silence)


class Recorder(AudioSink):
    """Makes the recording of one session; without media, its sidecar.

    What the disk refuses costs the audio that could not be written. The spool puts silence in its place and names it
    in the sidecar; here it is a :class:`Lapse`, each time that it begins: a call that must be recorded ends by it.

    :param silence: a block of it, in the format of the session.
    """

    def __init__(self, daemon: IDaemon, session: ISession, config: RecorderConfig, silence: bytes) -> None:
        self._session = session
        self._reactor = daemon.reactor
        self._seconds: Callable[[], float] = daemon.reactor.seconds
        # As the session's own dates, these go on as time does: they stand in the sidecar as durations.
        self._epoch: float = daemon.now() - self._seconds()
        self._fills = session.media is not None and config.gaps == "silence"
        self._silence = silence
        self._bytes = 0
        self._left_out = 0  # samples of gaps that are in the sidecar alone
        self._room = config.max_messages_size  # bytes of entries that may still come into the body
        self._gaps = 0  # listed ones
        self._omitted_entries: OmittedEntries | None = None
        self._omitted_gaps: OmittedGaps | None = None
        self._is_closed = False
        self._fault: OSError | None = None  # that is not told yet
        self._draft = daemon.spool.begin(str(uuid4()), session.started_at, session.media)

    # ---- what happens, into the journal ----------------------------------------------------------

    def opened(self) -> Any:
        """Who it is goes first: after a crash, the journal is all there is."""
        self._note("recording", _identity(self._session), self._session.started_at)
        held = self._note("httpInfo", _http_info(self._session.request), self._session.started_at)
        return self._unless_lapsed(held)

    def message(self, outgoing: bool, data: bytes, at: float) -> Any:
        """See :class:`ISessionObserver`."""
        return self._note_later(MessageEntry(at - self._session.started_at, outgoing, data))

    def round_trip(self, nanoseconds: int) -> Any:
        """See :class:`ISessionObserver`."""
        return self._note_later(RttEntry(self._now() - self._session.started_at, nanoseconds))

    # ---- what is heard ---------------------------------------------------------------------------

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        self._bytes += len(frame)
        try:
            return self._draft.audio(frame)
        except OSError as fault:
            raise PartialLoss(str(fault)) from fault

    async def gap(self, gap: Gap) -> None:
        """See :class:`IAudioSink`. A long silence waits for the disk like a long frame would."""
        media = self._session.media
        is_listed = self._gaps < MAX_GAPS
        # Left out of the file as well as of the list, a gap would move all that follows to another time.
        fills = self._fills or (media is not None and not is_listed)
        if is_listed:
            self._gaps += 1
            about = {
                "start": gap.start,
                "samples": gap.samples,
                "cause": gap.cause,
                "filled": fills,
                "offset": self._bytes // media.frame_bytes if media else 0,
            }
            await _ready(self._note("gap", about, self._now()))
        else:
            self._omit_gap(gap.samples)
        if fills:
            await self._fill(gap.samples * media.frame_bytes)
        else:
            self._left_out += gap.samples
        self._unless_lapsed(None)

    async def _fill(self, size: int) -> None:
        while size > 0 and not self._is_closed:  # too late for the rest: it counts as missing
            block = self._silence if size >= len(self._silence) else self._silence[:size]
            size -= len(block)
            self._bytes += len(block)
            await _ready(self._give(self._draft.audio, block))

    # ---- the end ---------------------------------------------------------------------------------

    def closed(self, reason: str) -> "Deferred[None]":
        """See :class:`ISessionObserver`. Fires when the recording is ready, or has failed, but soon in any case.

        The spool goes on for as long as the disk refuses the end of it; whenever that is over, it is logged.
        """
        self._is_closed = True
        self._note("end", {}, self._now())
        about: dict[str, Any] = {"closeReason": reason, "language": self._session.language}
        if self._session.connection_end is not None:
            about["connectionEnd"] = self._session.connection_end
        missing = self._missing()
        if missing > 0:
            about["missingSamples"] = missing
            self._warn_of_missing(missing)
        if self._session.missed_messages:
            about["omittedMessages"] = self._session.missed_messages
        finished: Deferred[Any] = self._draft.finish(about | self._omitted())
        done: Deferred[None] = Deferred()
        finished.addCallbacks(self._finished, self._failed).addCallback(done.callback)
        return done.addTimeout(PATIENCE, self._reactor, lambda *_: None)

    def _warn_of_missing(self, samples: int) -> None:
        seconds = samples / self._session.media.rate if self._session.media else 0.0
        self._session.log.warn(
            "recording {recording} ends {seconds:.1f} s before the call: the sidecar has it as missingSamples",
            recording=self._draft.id,
            seconds=seconds,
        )

    def _missing(self) -> int:
        """Samples of the call that never came here, or came too late to be written: no gap tells of them."""
        media = self._session.media
        recorded = self._bytes // media.frame_bytes if media else 0
        passed: int = self._session.position - self._session.start_position
        return passed - recorded - self._left_out

    def _finished(self, path: object) -> None:
        self._session.log.info("recording ready: {path}", path=str(path), recording=self._draft.id)

    def _failed(self, failure: Failure) -> None:
        self._session.log.error(
            "recording {recording} could not be finished and stays a draft: {reason}",
            recording=self._draft.id,
            reason=loggable(failure.getErrorMessage()),
        )

    # ---- entries ---------------------------------------------------------------------------------

    def _note_later(self, line: ILine) -> Any:
        """As :meth:`_note`, for what comes often: the body has room for so much of it.

        :raises Lapse: the draft tells of a fault; it has taken ``line``.
        """
        size = len(line)
        if size > self._room:
            self._omit_entry(size)
            return None
        self._room -= size
        try:
            return self._draft.note(line)
        except OSError as fault:
            raise PartialLoss(str(fault)) from fault

    def _note(self, kind: str, data: Mapping[str, Any], at: float) -> Any:
        """None, or a Deferred when so much waits for the disk that no more should come."""
        return self._give(self._draft.note, _entry(at - self._session.started_at, kind, data))

    def _omit_entry(self, size: int) -> None:
        """Counts an entry that is not kept. After the first none is kept: the body is whole up to there."""
        if self._omitted_entries is None:
            now = self._now()
            self._room = -1
            self._omitted_entries = OmittedEntries(_since(now - self._session.started_at))
            self._note_omissions(now)
            self._session.log.warn(
                "recording {recording}: messages exceed max_messages_size: further ones are counted, and not kept",
                recording=self._draft.id,
            )
        self._omitted_entries.count += 1
        self._omitted_entries.bytes += size

    def _omit_gap(self, samples: int) -> None:
        """Counts a gap that is not listed."""
        if self._omitted_gaps is None:
            now = self._now()
            self._omitted_gaps = OmittedGaps(_since(now - self._session.started_at))
            self._note_omissions(now)
        self._omitted_gaps.count += 1
        self._omitted_gaps.samples += samples

    def _note_omissions(self, at: float) -> None:
        """In the journal as soon as it begins: after a crash nothing else tells of it. The end says how many."""
        self._note("recording", self._omitted(), at)

    def _omitted(self) -> dict[str, Any]:
        """Members of ``recording``."""
        members = {"omittedEntries": self._omitted_entries, "omittedGaps": self._omitted_gaps}
        return {name: member for name, member in members.items() if member is not None}

    def _give(self, take: Callable[[bytes], Any], data: bytes) -> Any:
        """The draft takes ``data`` even when it tells of a fault: that can wait until all is given."""
        try:
            return take(data)
        except OSError as fault:
            self._fault = fault
            return None

    def _unless_lapsed(self, held: Any) -> Any:
        """``held``.

        :raises Lapse: of a fault that was told meanwhile.
        """
        fault, self._fault = self._fault, None
        if fault is not None:
            raise PartialLoss(str(fault)) from fault
        return held

    def _now(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + self._seconds()


class SwappingRecorder(Recorder):
    """Records L16 that comes big-endian."""

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        samples = array("H", frame)
        samples.byteswap()
        return super().audio(samples.tobytes())


class OmittedEntries(Struct):
    """Messages and round trips that are not in the body: ``since`` when after the start, and how much that was."""

    since: str
    count: int = 0
    bytes: int = 0


class OmittedGaps(Struct):
    """Gaps that are not in the list of gaps, all of them filled."""

    since: str
    count: int = 0
    samples: int = 0


@implementer(ILine)
class MessageEntry(Struct, frozen=True, gc=False):
    """A message of the protocol, so many seconds after the start."""

    seconds: float
    outgoing: bool
    data: bytes

    def __len__(self) -> int:
        return len(self.data) + 64

    def __call__(self) -> bytes:
        # Ours, too: what it repeats of the client's is as the client wrote it, line breaks included.
        direction = "out" if self.outgoing else "in"
        return _entry(self.seconds, "audiohook", {"dir": direction, "message": _as_json(self.data)})


@implementer(ILine)
class RttEntry(Struct, frozen=True, gc=False):
    """How long a ping took."""

    seconds: float
    nanoseconds: int

    def __len__(self) -> int:
        return 64

    def __call__(self) -> bytes:
        return _entry(self.seconds, "statistics", {"rtt": format_duration(self.nanoseconds)})


async def _ready(backpressure: Any) -> None:
    if backpressure is not None:
        await backpressure


def _entry(seconds: float, kind: str, data: Mapping[str, Any]) -> bytes:
    """A line of the journal, so many ``seconds`` after the start of the recording."""
    return msgspec.json.encode({"timestamp": _since(seconds), "type": kind, "data": data})


def _since(seconds: float) -> str:
    """The time since the start of the recording, as the protocol writes it."""
    milliseconds = max(0, round(seconds * 1000))
    return format_duration(milliseconds * (NANOSECONDS // 1000))


def _as_json(data: bytes) -> Raw | str:
    """A message to stand in JSON, on one line; as text when it is no JSON itself, or nested too deep for one."""
    try:
        return Raw(json_text.one_line(data))
    except ValueError:
        return data.decode("utf-8", "backslashreplace")


def _identity(session: ISession) -> dict[str, Any]:
    return {
        "session": session.id,
        "conversation": session.conversation_id,
        "organization": session.organization_id,
        "correlation": session.correlation_id,
        "route": session.request["uri"].partition("?")[0],
        "participant": session.participant,
        "language": session.language,
        "startPosition": session.start_position,
    }


def _http_info(request: Mapping[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in request["headers"].items() if _is_shown(name.lower())}
    return {"uri": request["uri"], "peer": request["peer"], "headers": headers}


def _is_shown(name: str) -> bool:
    return name in _SHOWN_HEADERS or name.startswith(_SHOWN_PREFIX)
