"""Public: what plugin authors, and our own tests, test with. No threads, no sockets, no waiting."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from threading import get_ident
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger
from zope.interface import implementer

from audiohookd.daemon import check_pool
from audiohookd.interfaces import IDaemon, ISpool, IWorkers, WrongThread
from audiohookd.observe.counters import Counters
from audiohookd.observer import AudioSink
from audiohookd.protocol.entities import Entity
from audiohookd.protocol.events import Gap
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.messages import DisconnectReason, Open, Participant
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import State
from audiohookd.protocol.timers import Timers
from audiohookd.runtime.workers import PoolFull
from audiohookd.server.connection import Connection, Shared
from audiohookd.server.dispatch import RoutePlugins, Watcher
from audiohookd.server.live import LiveSession
from audiohookd.server.registry import Registry
from audiohookd.server.session_view import SessionView
from audiohookd.server.upgrade import read_upgrade
from audiohookd.spool import layout, wav
from audiohookd.spool.journal import facts_of, finished_line
from audiohookd.spool.shelf import Recording
from audiohookd.spool.sidecar import AudioFile, compose

T = TypeVar("T")

SESSION_ID = "e160e428-53e2-487c-977d-96989bf5c99d"
ORGANIZATION_ID = "d7934305-0972-4844-938e-9060eef73d05"
CORRELATION_ID = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
CONVERSATION_ID = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = Participant("883efee8-3d6c-4537-b500-6d7ca4b92fa0", "+1-555-555-1234", "John Doe", "+1-800-555-6789")
STEREO = Media(Format.PCMU, ("external", "internal"))
#: The path of :class:`ScriptedClient`.
PATH = "/audiohook"
#: The date here when a clock is at 0, in seconds since the epoch.
START = 1_767_225_600.0
#: A WAV file of one second of silence, as the recorder makes it.
WAV = wav.header(STEREO, STEREO.rate * STEREO.frame_bytes) + STEREO.silence(STEREO.rate)
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_HEADERS = {
    "audiohook-session-id": SESSION_ID,
    "audiohook-organization-id": ORGANIZATION_ID,
    "audiohook-correlation-id": CORRELATION_ID,
    "x-api-key": "an-api-key",
}


@implementer(IWorkers)
class MemoryWorkers:
    """A pool without threads: work is done when the test says so.

    :param waiting: how much may wait; one more fails like the real one.
    """

    def __init__(self, waiting: int = 1000) -> None:
        self._waiting = waiting
        self._thread = get_ident()
        #: Assign False for a pool that has not started yet, or has stopped.
        self.running = True
        self._queue: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if get_ident() != self._thread:
            return fail(WrongThread("work was given to the pool in another thread than the reactor's"))
        if not self.running or len(self._queue) >= self._waiting:
            return fail(PoolFull("memory workers"))
        result: Deferred[T] = Deferred()
        self._queue.append((work, result))
        return result

    def run_one(self) -> None:
        """Does the oldest piece of work."""
        work, result = self._queue.popleft()
        execute(_no_deferred, work).chainDeferred(result)

    def run(self) -> None:
        """Does all work, and what it leads to."""
        while self._queue:
            self.run_one()


def _no_deferred(work: Callable[[], T]) -> T:
    done = work()
    if isinstance(done, Deferred):
        raise TypeError("work for a thread returned a Deferred, which no thread can wait for")
    return done


@implementer(IWorkers)
class _PluginWorkers:
    """A pool of a plugin: its work is done by another one, and it has limits of its own."""

    def __init__(self, pool: MemoryWorkers, limit: int) -> None:
        self._pool = pool
        self._limit = limit
        self._unfinished = 0
        self.running = True

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if not self.running or self._unfinished >= self._limit:
            return fail(PoolFull(f"{self._unfinished} pieces of work"))
        self._unfinished += 1
        return self._pool.do(partial(self._work, work))

    def _work(self, work: Callable[[], T]) -> T:
        self._unfinished -= 1
        return work()


class FakeReactor(Clock):
    """A clock that stands, and does in ``advance`` what threads ask for."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """See :class:`twisted.internet.interfaces.IReactorFromThreads`."""
        self.callLater(0, function, *arguments, **options)


@implementer(IDaemon)
class FakeDaemon:
    """Gives a plugin a clock that stands (``reactor``), and a pool that works when the test says so (``pool``).

    The date is :data:`START` when the clock is at 0, and goes on with it; ``clock_change`` are the seconds by which
    somebody has put the clock of the machine forward.

    ``asked`` holds the pools that they asked for, as ``(name, threads, waiting)``. Each has its own limits, and the
    work of all of them is done by ``pool``.
    ``claims`` holds what the plugin claimed; what is in ``taken`` is claimed by the table ``other``.

    It stands for the daemon of one plugin: each plugin of a test needs its own.
    """

    def __init__(self, spool: ISpool | None = None) -> None:
        self.reactor = FakeReactor()
        self.clock_change = 0.0
        self.spool = spool
        self.pool = MemoryWorkers()
        self.asked: list[tuple[str, int, int]] = []
        self.claims: list[str] = []
        self.taken: set[str] = set()

    def now(self) -> float:
        """See :class:`IDaemon`."""
        return START + self.reactor.seconds() + self.clock_change

    def workers(self, name: str, threads: int, waiting: int) -> IWorkers:
        """See :class:`IDaemon`."""
        check_pool(name, threads, waiting)
        if name in [asked for asked, _, _ in self.asked]:
            raise ValueError(f"{name}: the plugin has a worker pool of this name already")
        self.asked.append((name, threads, waiting))
        return _PluginWorkers(self.pool, threads + waiting)

    def claim(self, resource: str) -> None:
        """See :class:`IDaemon`."""
        if resource in self.taken:
            raise ValueError("[plugins.other] has claimed it")
        self.claims.append(resource)


class _ReadOnly:
    """An attribute that keeps a read-only copy of the mapping that is assigned to it, as a real session has it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return instance.__dict__.get(self._name) if instance is not None else self

    def __set__(self, instance: Any, value: Mapping[str, Any]) -> None:
        copied = deepcopy(dict(value))
        shown = {key: MappingProxyType(one) if key == "headers" else one for key, one in copied.items()}
        instance.__dict__[self._name] = MappingProxyType(shown)


class FakeSession(SessionView):
    """An open session without a connection. Everything is an attribute: assign what a test is about.

    Its methods are those of a real session, with the same checks and limits: :class:`LocalProtocolError` for what
    cannot be sent, :class:`WrongThread` in another thread, False when it is over or beyond a limit of
    :class:`ISession`. ``clock`` is what those limits are measured by.

    ``calls`` holds what the plugin asked for and no check rejected, as ``(method, *arguments)`` in order; ``sent``
    the messages that a client would get, decoded; ``logged`` the log events of the session; ``misuses`` what a daemon
    would log as a mistake of the plugin. ``answer`` is False once the session is over: assign that to end it.
    """

    custom_config = _ReadOnly()
    input_variables = _ReadOnly()
    request = _ReadOnly()

    def __init__(self, media: Media | None = STEREO) -> None:
        self.clock = Clock()
        self.sent: list[dict[str, Any]] = []
        self.misuses: list[str] = []
        self._protocol = _open_session(media, self.clock)
        about = Open(ORGANIZATION_ID, CONVERSATION_ID, PARTICIPANT, (), language="en-US")
        live = LiveSession(self._protocol, read_upgrade(PATH, _HEADERS, "192.0.2.7"), about, START, self._send)
        super().__init__(live, self.clock.seconds, lambda _: None, self.misuses.append)
        self.custom_config, self.input_variables = {}, {}
        self.request = {"uri": PATH, "peer": "192.0.2.7", "headers": {}}
        self.logged: list[LogEvent] = []
        self.log = Logger(namespace="audiohookd.session", observer=self.logged.append)  # type: ignore[arg-type]
        self.calls: list[tuple[Any, ...]] = []

    @property
    def answer(self) -> bool:
        """False when the session is over."""
        return self._protocol.state is State.OPEN

    @answer.setter
    def answer(self, is_open: bool) -> None:
        if is_open != self.answer:
            if is_open:
                raise ValueError("a session that is over is not opened again: make another FakeSession")
            self._protocol.connection_lost()

    def send_event(self, entities: Sequence[Entity]) -> bool:
        """See :class:`ISession`."""
        sent = tuple(entities) if isinstance(entities, Iterable) else entities
        answer = super().send_event(sent if isinstance(entities, Iterator) else entities)
        return self._called(answer, "send_event", sent)

    def pause(self) -> bool:
        """See :class:`ISession`."""
        return self._called(super().pause(), "pause")

    def resume(self) -> bool:
        """See :class:`ISession`."""
        return self._called(super().resume(), "resume")

    def disconnect(
        self,
        reason: DisconnectReason = "completed",
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
    ) -> bool:
        """See :class:`ISession`."""
        answer = super().disconnect(reason, info, output_variables)
        return self._called(answer, "disconnect", reason, info, output_variables)

    def _send(self) -> None:
        self.sent += map(json.loads, self._protocol.take_outgoing())

    def _called(self, answer: bool, *call: Any) -> bool:
        self.calls.append(call)
        return answer


def _open_session(media: Media | None, clock: Clock) -> Session:
    """As after ``open`` of the client and ``opened``."""
    session = Session(SESSION_ID, ORGANIZATION_ID, Timers(), clock.seconds)
    participant = msgspec.to_builtins(PARTICIPANT)
    parameters = {"organizationId": ORGANIZATION_ID, "conversationId": CONVERSATION_ID, "participant": participant}
    parameters["media"] = []
    message = {"version": "2", "id": SESSION_ID, "type": "open", "seq": 1, "serverseq": 0, "position": "PT0S"}
    session.receive_text(json.dumps(message | {"parameters": parameters}).encode())
    session.accept(media)
    session.take_outgoing()
    return session


class FakeRecording(Recording):
    """A ready recording, to be carried or told of: its files are written below ``spool / "ready"``.

    :param audio: all of the audio file, which may be anything: the sidecar has its size and digest, and otherwise
        goes on to speak of :data:`WAV`. None for a recording without audio.
    :param about: members of the sidecar's ``recording`` that shall be something else.
    :param receipts: of the carriers that have stored it, by the names of their tables.
    """

    def __init__(
        self,
        spool: Path,
        audio: bytes | None = WAV,
        about: Mapping[str, Any] = _NOTHING,
        receipts: Mapping[str, Mapping[str, Any]] = _NOTHING,
        recording_id: str | None = None,
    ) -> None:
        recording_id = recording_id or str(uuid4())
        file = None if audio is None else _described(f"{recording_id}.wav", audio)
        sidecar = _sidecar(recording_id, file)
        sidecar["recording"] |= about
        files = {layout.SIDECAR: json.dumps(sidecar).encode()}
        files |= {} if audio is None else {layout.AUDIO: audio}
        files |= {layout.stored(name): json.dumps(receipt).encode() for name, receipt in receipts.items()}
        day = layout.Layout(spool).ready / sidecar["recording"]["startedAt"][:10]
        super().__init__(day, recording_id, frozenset(files))
        day.mkdir(parents=True, exist_ok=True)
        for suffix, content in files.items():
            self.path(suffix).write_bytes(content)


def _described(name: str, content: bytes) -> AudioFile:
    return AudioFile(name, len(content), hashlib.sha256(content).hexdigest())


def _sidecar(recording_id: str, audio: AudioFile | None) -> Any:
    """As the recorder writes it."""
    about = {
        "session": SESSION_ID,
        "conversation": CONVERSATION_ID,
        "organization": ORGANIZATION_ID,
        "correlation": CORRELATION_ID,
        "route": PATH,
        "participant": PARTICIPANT,
        "language": "en-US",
        "startPosition": 0,
        "closeReason": "end",
    }
    facts = facts_of(recording_id, START, STEREO if audio else None)
    samples = STEREO.rate if audio else 0
    return json.loads(b"".join(compose(facts, samples, audio, False, lambda: [finished_line(about)])))


class CapturingSink(AudioSink):
    """Keeps what it was told, as ``(method, *arguments)`` in order.

    ``act``, when it is set, is called with each of these after it was kept; what it returns goes to the daemon
    (a Deferred holds the next call back), and so does what it raises.
    """

    def __init__(self, act: Callable[..., Any] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.act = act

    @property
    def names(self) -> list[str]:
        """The methods that were called."""
        return [call[0] for call in self.calls]

    def arguments(self, method: str) -> list[Any]:
        """The first argument of each call of ``method``."""
        return [call[1] for call in self.calls if call[0] == method]

    def opened(self) -> Any:
        return self._told("opened")

    def paused(self) -> Any:
        return self._told("paused")

    def resumed(self) -> Any:
        return self._told("resumed")

    def language_changed(self, language: str | None) -> Any:
        return self._told("language_changed", language)

    def message(self, outgoing: bool, data: bytes, at: float) -> Any:
        return self._told("message", outgoing, data, at)

    def round_trip(self, nanoseconds: int) -> Any:
        return self._told("round_trip", nanoseconds)

    def dtmf(self, digit: str) -> Any:
        return self._told("dtmf", digit)

    def playback(self, started: bool) -> Any:
        return self._told("playback", started)

    def closing(self, reason: str) -> Any:
        return self._told("closing", reason)

    def closed(self, reason: str) -> Any:
        return self._told("closed", reason)

    def audio(self, frame: bytes) -> Any:
        return self._told("audio", frame)

    def gap(self, gap: Gap) -> Any:
        return self._told("gap", gap)

    def _told(self, *call: Any) -> Any:
        self.calls.append(call)
        return None if self.act is None else self.act(*call)


class RaisingSink(CapturingSink):
    """Raises RuntimeError when one of ``methods`` is called."""

    def __init__(self, *methods: str) -> None:
        super().__init__(self._raise)
        self._methods = methods

    def _raise(self, method: str, *_: Any) -> None:
        if method in self._methods:
            raise RuntimeError(f"this observer cannot stand {method}")


class RecordingWire:
    """The WebSocket below a Connection: nothing is sent, everything is kept."""

    def __init__(self) -> None:
        #: The messages that were sent, decoded.
        self.heard: list[dict[str, Any]] = []
        #: ``close`` and ``abort``, as they came.
        self.ends: list[str] = []

    def send(self, message: bytes) -> None:
        """See :class:`audiohookd.server.wire.Wire`."""
        self.heard.append(json.loads(message))

    def close(self, why: str) -> None:
        """See :class:`audiohookd.server.wire.Wire`."""
        self.ends.append("close")

    def abort(self) -> None:
        """See :class:`audiohookd.server.wire.Wire`."""
        self.ends.append("abort")


class ScriptedClient:
    """A client, and the connection of the daemon that it talks to: a call without a socket.

    It does as it is told and nothing by itself, so it can also break the protocol.

    :param watchers: whose plugins watch the session, in the order of delivery.
    :param registry: to be shared by several clients, which then need one ``clock``, too.
    :param now: the date, in seconds since the epoch, when it is not :data:`START` and goes on with that clock.
    """

    def __init__(
        self,
        *watchers: Watcher,
        clock: Clock | None = None,
        timers: Timers | None = None,
        registry: Registry | None = None,
        authentic: bool = True,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.counters = Counters()
        # `or` would not do: an empty registry is false.
        self.registry = Registry(self.clock, max_sessions=10, drain_timeout=60.0) if registry is None else registry
        self.wire = RecordingWire()
        self._said = 0
        now = now or (lambda: START + self.clock.seconds())
        routes = {PATH: RoutePlugins(watchers)}
        shared = Shared(self.clock, now, timers or Timers(), self.registry, self.counters, routes)
        upgrade = read_upgrade(PATH, _HEADERS, "192.0.2.7")
        self.connection = Connection(shared, upgrade, self.wire, None if authentic else "unauthorized")

    def say(self, type_: str, parameters: Mapping[str, Any] | None = None, **envelope: Any) -> None:
        """Sends a message, right in everything that ``envelope`` does not overrule."""
        self._said += 1
        message = {
            "version": "2",
            "id": SESSION_ID,
            "type": type_,
            "seq": self._said,
            "serverseq": self.wire.heard[-1]["seq"] if self.wire.heard else 0,
            "position": "PT0S",
            "parameters": dict(parameters or {}),
        }
        self.connection.text(json.dumps(message | envelope).encode())

    def open(self, position: str = "PT0S", **parameters: Any) -> None:
        """Asks for a session: with one offer, of both channels in PCMU, unless ``parameters`` say otherwise."""
        offer = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
        request = {
            "organizationId": ORGANIZATION_ID,
            "conversationId": CONVERSATION_ID,
            "participant": msgspec.to_builtins(PARTICIPANT),
            "media": [offer],
            "language": "en-US",
        }
        self.say("open", request | parameters, position=position)

    def speak(self, audio: bytes) -> None:
        """Sends audio."""
        self.connection.audio(audio)

    def close(self, reason: str = "end") -> None:
        """Asks for the end of the session."""
        self.say("close", {"reason": reason})

    def leave(self) -> None:
        """Ends the connection, or loses it."""
        self.connection.lost()

    @property
    def types(self) -> list[str]:
        """The types of all messages of the daemon."""
        return [message["type"] for message in self.wire.heard]
