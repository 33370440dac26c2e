"""Public test doubles for plugin authors and for the daemon's own tests. No threads, no sockets, no real time."""

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

from audiohookd.interfaces import IDaemon, ISpool, IWorkers, WrongThread
from audiohookd.observe.counters import Counters
from audiohookd.observer import AudioSink
from audiohookd.plugin_host import check_pool
from audiohookd.protocol.entities import Entity
from audiohookd.protocol.events import Gap
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.messages import DisconnectReason, Open, Participant
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import State
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.runtime.workers import PoolFull
from audiohookd.session.driver import Connection, ServerContext
from audiohookd.session.fanout import RoutePlugins, Watcher
from audiohookd.session.plugin_session import PluginSession
from audiohookd.session.registry import Registry
from audiohookd.session.session_view import SessionView
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import finished_line, journal_header
from audiohookd.spool.format.sidecar import AudioFile, compose
from audiohookd.websocket.upgrade import read_upgrade

T = TypeVar("T")

SESSION_ID = "e160e428-53e2-487c-977d-96989bf5c99d"
ORGANIZATION_ID = "d7934305-0972-4844-938e-9060eef73d05"
CORRELATION_ID = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
CONVERSATION_ID = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = Participant("883efee8-3d6c-4537-b500-6d7ca4b92fa0", "+1-555-555-1234", "John Doe", "+1-800-555-6789")
STEREO = Media(Format.PCMU, ("external", "internal"))
#: The path that :class:`ScriptedClient` requests.
PATH = "/audiohook"
#: The date when the clock of a test is at 0, in seconds since the epoch.
START = 1_767_225_600.0
#: A WAV file of one second of silence, as the recorder writes it.
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
    """A pool without threads: work runs when the test calls ``run`` or ``run_one``.

    :param waiting: how many pieces of work may be queued; one more fails with PoolFull.
    """

    def __init__(self, waiting: int = 1000) -> None:
        self._waiting = waiting
        self._thread = get_ident()
        #: Assign False to simulate a pool that has not started, or has stopped.
        self.running = True
        self._queue: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if get_ident() != self._thread:
            return fail(WrongThread("do() was called outside the reactor thread"))
        if not self.running or len(self._queue) >= self._waiting:
            return fail(PoolFull("memory workers"))
        result: Deferred[T] = Deferred()
        self._queue.append((work, result))
        return result

    def run_one(self) -> None:
        """Runs the oldest piece of work."""
        work, result = self._queue.popleft()
        execute(_no_deferred, work).chainDeferred(result)

    def run(self) -> None:
        """Runs all queued work, and the work that it queues."""
        while self._queue:
            self.run_one()


def _no_deferred(work: Callable[[], T]) -> T:
    done = work()
    if isinstance(done, Deferred):
        raise TypeError("work for a thread must not return a Deferred: a thread cannot wait for it")
    return done


@implementer(IWorkers)
class _PluginWorkers:
    """A pool with its own limit that runs its work in a shared MemoryWorkers."""

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
        return self._pool.do(partial(self._run, work))

    def _run(self, work: Callable[[], T]) -> T:
        self._unfinished -= 1
        return work()


class FakeReactor(Clock):
    """A Clock that moves only by ``advance``, which also runs the calls of ``callFromThread``."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """See :class:`twisted.internet.interfaces.IReactorFromThreads`."""
        self.callLater(0, function, *arguments, **options)


@implementer(IDaemon)
class FakeDaemon:
    """An IDaemon for one plugin, with a clock (``reactor``) and a pool (``pool``) that the test drives.

    Each plugin of a test needs its own FakeDaemon.

    The date is :data:`START` when the clock is at 0, and advances with it. ``clock_change`` is the number of seconds
    by which the system clock was set forward.

    ``asked`` lists the pools that the plugin created, as ``(name, threads, waiting)``. Each pool has its own limit;
    ``pool`` runs the work of all of them.

    ``claims`` lists the resources that the plugin claimed. The table ``other`` holds the resources in ``taken``.
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
    """An attribute that keeps a read-only copy of the assigned mapping, as in a real session."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return instance.__dict__.get(self._name) if instance is not None else self

    def __set__(self, instance: Any, value: Mapping[str, Any]) -> None:
        copied = deepcopy(dict(value))
        frozen = {key: MappingProxyType(item) if key == "headers" else item for key, item in copied.items()}
        instance.__dict__[self._name] = MappingProxyType(frozen)


class FakeSession(SessionView):
    """An open session without a connection. A test can assign all attributes of :class:`ISession`.

    The methods have the checks and limits of a real session. They raise :class:`LocalProtocolError` for an invalid
    message and :class:`WrongThread` in another thread. They return False after the session has ended and beyond the
    rate limits of :class:`ISession`, which ``clock`` measures.

    * ``calls``: the calls that passed the checks, as ``(method, *arguments)`` in order
    * ``sent``: the messages that a client would receive, decoded
    * ``logged``: the log events of the session
    * ``misuses``: the texts that a daemon would log as a mistake of the plugin
    * ``answer``: False after the session has ended; assign False to end it
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
        live = PluginSession(self._protocol, read_upgrade(PATH, _HEADERS, "192.0.2.7"), about, START, self._send)
        super().__init__(live, self.clock.seconds, lambda _: None, self.misuses.append)
        self.custom_config, self.input_variables = {}, {}
        self.request = {"uri": PATH, "peer": "192.0.2.7", "headers": {}}
        self.logged: list[LogEvent] = []
        self.log = Logger(namespace="audiohookd.session", observer=self.logged.append)  # type: ignore[arg-type]
        self.calls: list[tuple[Any, ...]] = []

    @property
    def answer(self) -> bool:
        """False after the session has ended."""
        return self._protocol.state is State.OPEN

    @answer.setter
    def answer(self, is_open: bool) -> None:
        if is_open != self.answer:
            if is_open:
                raise ValueError("a session that has ended cannot be opened again: create another FakeSession")
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
    """A session after the client's ``open`` and the daemon's ``opened``."""
    session = Session(SESSION_ID, ORGANIZATION_ID, Timeouts(), clock.seconds)
    participant = msgspec.to_builtins(PARTICIPANT)
    parameters = {"organizationId": ORGANIZATION_ID, "conversationId": CONVERSATION_ID, "participant": participant}
    parameters["media"] = []
    message = {"version": "2", "id": SESSION_ID, "type": "open", "seq": 1, "serverseq": 0, "position": "PT0S"}
    session.receive_text(json.dumps(message | {"parameters": parameters}).encode())
    session.accept(media)
    session.take_outgoing()
    return session


class FakeRecording(Recording):
    """A ready recording for tests of carriers and notifiers. Its files are written below ``spool / "ready"``.

    :param spool: the directory of the spool.
    :param audio: the content of the audio file, any bytes. The sidecar has their size and digest, and otherwise
        describes :data:`WAV`. None for a recording without audio.
    :param about: overrides members of the sidecar's ``recording``.
    :param receipts: receipts of the carriers that have stored it, by the names of their tables.
    :param recording_id: UUID; a random one by default.
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
        files = {paths.SIDECAR: json.dumps(sidecar).encode()}
        files |= {} if audio is None else {paths.AUDIO: audio}
        files |= {paths.stored_suffix(name): json.dumps(receipt).encode() for name, receipt in receipts.items()}
        day = paths.SpoolPaths(spool).ready / sidecar["recording"]["startedAt"][:10]
        super().__init__(day, recording_id, frozenset(files))
        day.mkdir(parents=True, exist_ok=True)
        for suffix, content in files.items():
            self.path(suffix).write_bytes(content)


def _described(name: str, content: bytes) -> AudioFile:
    return AudioFile(name, len(content), hashlib.sha256(content).hexdigest())


def _sidecar(recording_id: str, audio: AudioFile | None) -> Any:
    """The sidecar that the recorder writes for one second of silence, or for a call without audio."""
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
    facts = journal_header(recording_id, START, STEREO if audio else None)
    samples = STEREO.rate if audio else 0
    return json.loads(b"".join(compose(facts, samples, audio, False, lambda: [finished_line(about)])))


class CapturingSink(AudioSink):
    """Records its calls in ``calls``, as ``(method, *arguments)`` in order.

    :param act: called with the items of each recorded call. Its result is the result of the call, so a Deferred
        delays the next call; an exception passes to the daemon.
    """

    def __init__(self, act: Callable[..., Any] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.act = act

    @property
    def names(self) -> list[str]:
        """Names of the methods that were called, in order."""
        return [call[0] for call in self.calls]

    def arguments(self, method: str) -> list[Any]:
        """The first argument of each call of ``method``, in order."""
        return [call[1] for call in self.calls if call[0] == method]

    def opened(self) -> Any:
        return self._record("opened")

    def paused(self) -> Any:
        return self._record("paused")

    def resumed(self) -> Any:
        return self._record("resumed")

    def language_changed(self, language: str | None) -> Any:
        return self._record("language_changed", language)

    def message(self, outgoing: bool, data: bytes, at: float) -> Any:
        return self._record("message", outgoing, data, at)

    def round_trip(self, nanoseconds: int) -> Any:
        return self._record("round_trip", nanoseconds)

    def dtmf(self, digit: str) -> Any:
        return self._record("dtmf", digit)

    def playback(self, started: bool) -> Any:
        return self._record("playback", started)

    def closing(self, reason: str) -> Any:
        return self._record("closing", reason)

    def closed(self, reason: str) -> Any:
        return self._record("closed", reason)

    def audio(self, frame: bytes) -> Any:
        return self._record("audio", frame)

    def gap(self, gap: Gap) -> Any:
        return self._record("gap", gap)

    def _record(self, *call: Any) -> Any:
        self.calls.append(call)
        return None if self.act is None else self.act(*call)


class RaisingSink(CapturingSink):
    """Raises RuntimeError when one of ``methods`` is called."""

    def __init__(self, *methods: str) -> None:
        super().__init__(self._raise)
        self._methods = methods

    def _raise(self, method: str, *_: Any) -> None:
        if method in self._methods:
            raise RuntimeError(f"RaisingSink fails in {method}")


class RecordingWire:
    """Stands for the WebSocket of a Connection and records what the Connection sends."""

    def __init__(self) -> None:
        #: The sent messages, decoded.
        self.heard: list[dict[str, Any]] = []
        #: The calls of ``close`` and ``abort``, in order.
        self.ends: list[str] = []

    def send(self, message: bytes) -> None:
        """See :class:`audiohookd.session.wire.ITextTransport`."""
        self.heard.append(json.loads(message))

    def close(self, why: str) -> None:
        """See :class:`audiohookd.session.wire.ITextTransport`."""
        self.ends.append("close")

    def abort(self) -> None:
        """See :class:`audiohookd.session.wire.ITextTransport`."""
        self.ends.append("abort")


class ScriptedClient:
    """A client and the daemon's connection to it, without a socket: a call in one test.

    It sends only what the test asks for, so it can also break the protocol.

    :param watchers: the plugins that observe the session, in the order of delivery.
    :param registry: the session registry. Clients that share a registry need one ``clock``, too.
    :param authentic: False for a request that authentication rejected.
    :param now: returns the date in seconds since the epoch; by default :data:`START` plus the time of ``clock``.
    """

    def __init__(
        self,
        *watchers: Watcher,
        clock: Clock | None = None,
        timers: Timeouts | None = None,
        registry: Registry | None = None,
        authentic: bool = True,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.counters = Counters()
        # Not `registry or ...`: an empty registry is false.
        self.registry = Registry(self.clock, max_sessions=10, drain_timeout=60.0) if registry is None else registry
        self.wire = RecordingWire()
        self._said = 0
        now = now or (lambda: START + self.clock.seconds())
        routes = {PATH: RoutePlugins(watchers)}
        shared = ServerContext(self.clock, now, timers or Timeouts(), self.registry, self.counters, routes)
        upgrade = read_upgrade(PATH, _HEADERS, "192.0.2.7")
        self.connection = Connection(shared, upgrade, self.wire, None if authentic else "unauthorized")

    def say(self, type_: str, parameters: Mapping[str, Any] | None = None, **envelope: Any) -> None:
        """Sends a protocol message. ``envelope`` overrides its valid members."""
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
        """Sends ``open`` with one offer, both channels in PCMU. ``parameters`` override its valid parameters."""
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
        """Sends one binary message of audio."""
        self.connection.audio(audio)

    def close(self, reason: str = "end") -> None:
        """Sends ``close``."""
        self.say("close", {"reason": reason})

    def leave(self) -> None:
        """Ends or loses the connection, without ``close``."""
        self.connection.lost()

    @property
    def types(self) -> list[str]:
        """The types of all messages that the daemon sent, in order."""
        return [message["type"] for message in self.wire.heard]
