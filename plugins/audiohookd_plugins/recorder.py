"""Records every session: a WAV file on the call's timeline, and a sidecar with the events of the call."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta, Raw, Struct
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer, provider

from audiohookd.escaping import loggable
from audiohookd.interfaces import IDaemon, IJournalEntry, IPlugin, IPluginFactory, IRecorder, ISession, PartialLoss
from audiohookd.observer import AudioSink
from audiohookd.protocol import json_text
from audiohookd.protocol.duration import NANOSECONDS, format_duration
from audiohookd.protocol.events import Gap
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.product import Product
from audiohookd.units import Size
from audiohookd_plugins.bot_track import BotTrack, interleaved
from audiohookd_plugins.byte_order import L16Audio, swapped

#: Bytes of the block of silence that gaps are filled with; whole samples of any media.
SILENCE_BYTES = 65_536

#: Seconds that the end of a call, or the shutdown, waits for the recording to be finished. A disk error may delay
#: that for hours; the call must not keep its place for so long.
CLOSE_TIMEOUT = 5.0

#: Gaps that a sidecar lists. A client may report fifty per second.
MAX_GAPS = 10_000
MIB = 1 << 20

#: The headers of the upgrade request that the sidecar contains. The others include keys, signatures and cookies.
_SHOWN_HEADERS = frozenset({"host", "user-agent"})
_SHOWN_PREFIX = "audiohook-"


class RecorderConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.recorder]``."""

    #: Pauses and losses become silence in the file, or are left out. The sidecar lists them in both cases.
    gaps: Literal["silence", "omit"] = "silence"
    #: The byte order of L16 on the wire. The file is always little-endian.
    l16_byte_order: Literal["little", "big"] = "little"
    #: Of the messages and round trips in one sidecar. Further ones are counted, but not kept.
    max_messages_size: Annotated[Size, Meta(ge=MIB, le=4096 * MIB)] = 16 * MIB

    renamed_keys: ClassVar[Mapping[str, str]] = {"timeline": "gaps", "max_messages": "max_messages_size"}


@provider(IPluginFactory)
@implementer(IPlugin, IRecorder)
class RecorderPlugin:
    """Makes one recording per session."""

    config_type = RecorderConfig

    def __init__(self, config: RecorderConfig, daemon: IDaemon) -> None:
        self.config = config
        self.daemon = daemon
        self._silence = {encoding: encoding.silence * (SILENCE_BYTES // encoding.sample_bytes) for encoding in Format}

    def observe(self, session: ISession) -> "Recorder":
        """See :class:`IPlugin`."""
        silence = self._silence[session.media.format] if session.media else b""
        arguments = self.daemon, session, self.config, silence
        if session.product is Product.AUDIO and session.media and len(session.media.channels) == 1:
            return BotRecorder(*arguments)
        if session.media and session.media.format is Format.L16:
            return L16Recorder(*arguments)
        return Recorder(*arguments)


class Recorder(AudioSink):
    """Makes the recording of one session; without media, only its sidecar.

    A disk error costs the audio that could not be written. The spool replaces it with silence and notes it in the
    sidecar. The recorder raises :class:`PartialLoss` each time that such a loss begins; it ends calls that must be
    recorded.

    :param silence: a block of silence, in the format of the session.
    """

    def __init__(self, daemon: IDaemon, session: ISession, config: RecorderConfig, silence: bytes) -> None:
        self._session = session
        self._reactor = daemon.reactor
        self._seconds: Callable[[], float] = daemon.reactor.seconds
        # Monotonic, as the session's own dates: the sidecar contains differences of them.
        self._epoch: float = daemon.now() - self._seconds()
        #: What is recorded: the session's, or with a channel more.
        self._media = self._recorded_media(session.media)
        self._fills = session.media is not None and config.gaps == "silence"
        self._silence = silence
        self._audio_bytes = 0
        self._omitted_samples = 0  # samples of gaps that only the sidecar has
        self._entry_bytes_left = config.max_messages_size  # bytes of entries that the body may still take
        self._listed_gaps = 0  # gaps in the list
        self._omitted_entries: OmittedEntries | None = None
        self._omitted_gaps: OmittedGaps | None = None
        self._is_closed = False
        self._is_warned = False  # of audio in a pause
        self._error: OSError | None = None  # not raised yet
        self._draft = daemon.spool.begin(str(uuid4()), session.started_at, self._media)

    def _recorded_media(self, media: Media | None) -> Media | None:
        return media

    # ---- events, for the journal -----------------------------------------------------------------

    def opened(self) -> Any:
        """Notes the identity of the session first: after a crash the journal is all there is."""
        self._note("recording", _identity(self._session), self._session.started_at)
        backpressure = self._note("httpInfo", _http_info(self._session.request), self._session.started_at)
        return self._raise_pending_error(backpressure)

    def message(self, outgoing: bool, data: bytes, at: float) -> Any:
        """See :class:`ISessionObserver`."""
        return self._note_later(MessageEntry(at - self._session.started_at, outgoing, data))

    def round_trip(self, nanoseconds: int) -> Any:
        """See :class:`ISessionObserver`."""
        return self._note_later(RttEntry(self._now() - self._session.started_at, nanoseconds))

    # ---- audio -----------------------------------------------------------------------------------

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        self._audio_bytes += len(frame)
        try:
            return self._draft.audio(frame)
        except OSError as error:
            raise PartialLoss(str(error)) from error

    async def gap(self, gap: Gap) -> None:
        """See :class:`IAudioSink`. A long silence waits for the disk as a long frame would."""
        media = self._media
        is_listed = self._listed_gaps < MAX_GAPS
        # A gap that is neither in the file nor in the list would shift all later audio.
        fills = self._fills or (media is not None and not is_listed)
        if is_listed:
            self._listed_gaps += 1
            about = {
                "start": gap.start,
                "samples": gap.samples,
                "cause": gap.cause,
                "filled": fills,
                "offset": self._audio_bytes // media.frame_bytes if media else 0,
            }
            await _wait(self._note("gap", about, self._now()))
        else:
            self._omit_gap(gap.samples)
        if media is not None and fills:
            await self._fill(gap.samples * media.frame_bytes)
        else:
            self._omitted_samples += gap.samples
        self._raise_pending_error(None)

    async def _fill(self, size: int) -> None:
        while size > 0 and not self._is_closed:  # the rest counts as missing
            block = self._block(min(size, len(self._silence)))
            size -= len(block)
            self._audio_bytes += len(block)
            await _wait(self._write(self._draft.audio, block))

    def _block(self, size: int) -> bytes:
        """``size`` bytes for a gap."""
        return self._silence if size == len(self._silence) else self._silence[:size]

    def audio_while_paused(self, position: int, size: int) -> Any:
        """See :class:`IAudioSink`. The first is an entry of the sidecar."""
        if not self._is_warned:
            self._is_warned = True
            return self._note("audioWhilePaused", {"position": position, "bytes": size}, self._now())
        return None

    # ---- end of the session ----------------------------------------------------------------------

    def closed(self, reason: str) -> "Deferred[None]":
        """See :class:`ISessionObserver`. Fires when the recording is ready or has failed, or after
        :data:`CLOSE_TIMEOUT`.

        The spool retries for as long as the disk fails; the outcome is logged then.
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
        return done.addTimeout(CLOSE_TIMEOUT, self._reactor, lambda *_: None)

    def _warn_of_missing(self, samples: int) -> None:
        seconds = samples / self._session.media.rate if self._session.media else 0.0
        self._session.log.warn(
            "recording {recording} is {seconds:.1f} s shorter than the call: see missingSamples in its sidecar",
            recording=self._draft.id,
            seconds=seconds,
        )

    def _missing(self) -> int:
        """Samples of the call that were never received, or too late to be written, and that are in no gap."""
        media = self._media
        recorded = self._audio_bytes // media.frame_bytes if media else 0
        passed: int = self._session.position - self._session.start_position
        return passed - recorded - self._omitted_samples

    def _finished(self, path: object) -> None:
        self._session.log.info("recording ready: {path}", path=str(path), recording=self._draft.id)

    def _failed(self, failure: Failure) -> None:
        self._session.log.error(
            "cannot finish recording {recording}, it stays a draft: {reason}",
            recording=self._draft.id,
            reason=loggable(failure.getErrorMessage()),
        )

    # ---- entries ---------------------------------------------------------------------------------

    def _note_later(self, line: IJournalEntry) -> Any:
        """Adds an entry of a frequent kind, which the body limits in size.

        :raises PartialLoss: the draft reports a disk error; it has accepted ``line`` all the same.
        """
        size = len(line)
        if size > self._entry_bytes_left:
            self._omit_entry(size)
            return None
        self._entry_bytes_left -= size
        try:
            return self._draft.add_entry(line)
        except OSError as error:
            raise PartialLoss(str(error)) from error

    def _note(self, kind: str, data: Mapping[str, Any], at: float) -> Any:
        """Adds an entry; returns a Deferred when the disk falls behind, else None."""
        return self._write(self._draft.add_entry, _entry(at - self._session.started_at, kind, data))

    def _omit_entry(self, size: int) -> None:
        """Counts an entry that is not kept. No later one is kept either, so the body is complete up to there."""
        if self._omitted_entries is None:
            now = self._now()
            self._entry_bytes_left = -1
            self._omitted_entries = OmittedEntries(_since(now - self._session.started_at))
            self._note_omissions(now)
            self._session.log.warn(
                "recording {recording}: messages exceed max_messages_size; further ones are counted, but not kept",
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
        """Notes in the journal that omissions begin: after a crash nothing else shows it. The end has the counts."""
        self._note("recording", self._omitted(), at)

    def _omitted(self) -> dict[str, Any]:
        """The members of the sidecar's ``recording`` about omissions."""
        members = {"omittedEntries": self._omitted_entries, "omittedGaps": self._omitted_gaps}
        return {name: member for name, member in members.items() if member is not None}

    def _write(self, take: Callable[[bytes], Any], data: bytes) -> Any:
        """Gives ``data`` to the draft, which accepts it even when it raises; the error is kept until later."""
        try:
            return take(data)
        except OSError as error:
            self._error = error
            return None

    def _raise_pending_error(self, backpressure: Any) -> Any:
        """Returns ``backpressure``.

        :raises PartialLoss: of a disk error that was kept.
        """
        error, self._error = self._error, None
        if error is not None:
            raise PartialLoss(str(error)) from error
        return backpressure

    def _now(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + self._seconds()


class L16Recorder(Recorder):
    """Records L16, of either byte order."""

    def __init__(self, daemon: IDaemon, session: ISession, config: RecorderConfig, silence: bytes) -> None:
        super().__init__(daemon, session, config, silence)
        self._order = config.l16_byte_order
        self._l16 = L16Audio(self._order == "big", self._suspect_order)

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        return super().audio(self._l16.convert(frame))

    def _suspect_order(self) -> None:
        other = "little" if self._order == "big" else "big"
        text = "the audio is noise, as L16 in the wrong order is: try l16_byte_order = {other} in [plugins.recorder]"
        self._session.log.error(text, other=repr(other))


class BotRecorder(L16Recorder):
    """Records a call of an Audio Connector with the bot's speech as second channel."""

    def __init__(self, daemon: IDaemon, session: ISession, config: RecorderConfig, silence: bytes) -> None:
        super().__init__(daemon, session, config, silence)
        self._encoding: Format = session.media.format
        self._bot = BotTrack(self._encoding, session.start_position)

    def _recorded_media(self, media: Media | None) -> Media | None:
        return media and Media(media.format, (*media.channels, "bot"), media.rate)

    def audio(self, frame: bytes) -> Any:
        """See :class:`IAudioSink`."""
        frame = self._l16.convert(frame) if self._encoding is Format.L16 else frame
        return Recorder.audio(self, self._with_bot(frame))

    async def gap(self, gap: Gap) -> None:
        """See :class:`IAudioSink`. In a gap that is not filled, the bot is not recorded either."""
        filled = self._audio_bytes
        await super().gap(gap)
        if self._audio_bytes == filled:
            self._bot.take(gap.samples)

    def audio_sent(self, start: int, data: bytes) -> None:
        """See :class:`IAudioSink`."""
        is_big = self._encoding is Format.L16 and self._order == "big"
        self._bot.add(start, swapped(data) if is_big else data)

    def audio_dropped(self, start: int) -> None:
        """See :class:`IAudioSink`."""
        self._bot.cut(start)

    def _block(self, size: int) -> bytes:
        return self._with_bot(super()._block(size // 2))

    def _with_bot(self, external: bytes) -> bytes:
        bot = self._bot.take(len(external) // self._encoding.sample_bytes)
        return interleaved(self._encoding, external, bot)


class OmittedEntries(Struct):
    """Messages and round trips that are not in the body: how many, their bytes, and from when after the start."""

    since: str
    count: int = 0
    bytes: int = 0


class OmittedGaps(Struct):
    """Gaps that are not in the list of gaps; all of them are filled."""

    since: str
    count: int = 0
    samples: int = 0


@implementer(IJournalEntry)
class MessageEntry(Struct, frozen=True, gc=False):
    """A message of the protocol, ``seconds`` after the start."""

    seconds: float
    outgoing: bool
    data: bytes

    def __len__(self) -> int:
        return len(self.data) + 64

    def __call__(self) -> bytes:
        # Also outgoing messages: they repeat text of the client, which may contain line breaks.
        direction = "out" if self.outgoing else "in"
        return _entry(self.seconds, "audiohook", {"dir": direction, "message": _as_json(self.data)})


@implementer(IJournalEntry)
class RttEntry(Struct, frozen=True, gc=False):
    """A round-trip time of a ping."""

    seconds: float
    nanoseconds: int

    def __len__(self) -> int:
        return 64

    def __call__(self) -> bytes:
        return _entry(self.seconds, "statistics", {"rtt": format_duration(self.nanoseconds)})


async def _wait(backpressure: Any) -> None:
    if backpressure is not None:
        await backpressure


def _entry(seconds: float, kind: str, data: Mapping[str, Any]) -> bytes:
    """An entry of the journal, ``seconds`` after the start of the recording."""
    return msgspec.json.encode({"timestamp": _since(seconds), "type": kind, "data": data})


def _since(seconds: float) -> str:
    """The time since the start of the recording, as the protocol writes it."""
    milliseconds = max(0, round(seconds * 1000))
    return format_duration(milliseconds * (NANOSECONDS // 1000))


def _as_json(data: bytes) -> Raw | str:
    """A message as JSON on one line; as a string when it is no valid JSON, or nested too deeply."""
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
    } | ({"continues": list(session.continued_sessions)} if session.continued_sessions else {})


def _http_info(request: Mapping[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in request["headers"].items() if _is_shown(name.lower())}
    return {"uri": request["uri"], "peer": request["peer"], "headers": headers}


def _is_shown(name: str) -> bool:
    return name in _SHOWN_HEADERS or name.startswith(_SHOWN_PREFIX)
