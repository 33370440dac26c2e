"""The stand-ins of audiohookd.testing reject what the real objects reject, and with the same exceptions."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from types import MappingProxyType
from typing import Any, cast, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from audiohookd.interfaces import IDaemon, IPlugin, ISession, IWorkers, PoolFull, WrongThread
from audiohookd.plugin_host import Daemon
from audiohookd.protocol.entities import BargeIn, Transcript, TranscriptData
from audiohookd.protocol.errors import LocalProtocolError
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.session.fanout import Watcher
from audiohookd.session.session_view import EVENTS, PAUSES
from audiohookd.testing import CapturingSink, FakeDaemon, FakeSession, MemoryWorkers
from audiohookd.testing.client import ScriptedClient

NOTE: Any = {"type": "note", "data": {"text": "hello"}}


@implementer(IPlugin)
class Plugin:
    def observe(self, session: Any) -> Any:
        self.session = session
        return CapturingSink()


def real_session() -> tuple[Any, Callable[[], None]]:
    """A session of the daemon as a plugin sees it, and a function that ends it."""
    plugin = Plugin()
    client = ScriptedClient(Watcher("plugin", plugin))
    client.open()
    return plugin.session, client.leave


def fake_session() -> tuple[Any, Callable[[], None]]:
    session = FakeSession()
    return session, lambda: setattr(session, "answer", False)


def in_thread(call: Callable[[], Any]) -> Any:
    outcome: list[Any] = []

    def run() -> None:
        outcome.append(outcome_of(call))

    thread = Thread(target=run, name="worker")
    thread.start()
    thread.join()
    return outcome[0]


def outcome_of(call: Callable[[], Any]) -> Any:
    """The value or the exception of a call, for comparison."""
    try:
        return call()
    except Exception as fault:
        return type(fault), str(fault)


def both(call: Callable[[Any], Any]) -> Any:
    """The outcome of a call on an open session and on an ended one, which real and fake session must share."""
    outcomes = []
    for make in (real_session, fake_session):
        session, end = make()
        open_ = outcome_of(lambda: call(session))  # noqa: B023
        end()
        outcomes.append((open_, outcome_of(lambda: call(session))))  # noqa: B023
    real, fake = outcomes
    assert fake == real
    return real


def transcript(**changes: Any) -> Transcript:
    data: dict[str, Any] = {"id": "1", "channel_id": 0, "is_final": True, "alternatives": ()}
    return Transcript(TranscriptData(**(data | changes)))


SENDABLE: dict[str, Callable[[], Any]] = {
    "one of ours": lambda: [BargeIn()],
    "ours as JSON": lambda: [{"type": "barge_in", "data": {}}],
    "an unknown type": lambda: [NOTE],
    "a tuple": lambda: (NOTE, NOTE),
    "a generator": lambda: (entity for entity in [NOTE, NOTE]),
}
UNSENDABLE: dict[str, Callable[[], Any]] = {
    "nothing": list,
    "a generator of nothing": lambda: iter([]),
    "None": lambda: None,
    "a number": lambda: 5,
    "a text": lambda: "note",
    "bytes": lambda: b"note",
    "an entity and no list": lambda: NOTE,
    "a struct and no list": BargeIn,
    "no entity": lambda: [5],
    "no type": lambda: [{"data": {}}],
    "no data": lambda: [{"type": "note"}],
    "an object": lambda: [{"type": "note", "data": object()}],
    "NaN": lambda: [{"type": "note", "data": float("nan")}],
    "a surrogate": lambda: [{"type": "note", "data": "\ud800"}],
    "a cycle": lambda: (data := [], data.append(data), [{"type": "note", "data": data}])[2],  # type: ignore[var-annotated]
    "a known type with other data": lambda: [{"type": "transcript", "data": {"id": 5}}],
    "a struct that is not valid": lambda: [transcript(channel_id=7)],
    "too large": lambda: [{"type": "note", "data": "x" * 64_001}],
}


@pytest.mark.parametrize("entities", SENDABLE.values(), ids=SENDABLE)
def test_both_send_an_event(entities: Callable[[], Any]) -> None:
    assert both(lambda session: session.send_event(entities())) == (True, False)


@pytest.mark.parametrize("entities", UNSENDABLE.values(), ids=UNSENDABLE)
def test_both_reject_an_event_that_cannot_be_sent(entities: Callable[[], Any]) -> None:
    (fault, _), _ = both(lambda session: session.send_event(entities()))
    assert fault is LocalProtocolError


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.binary(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
types = st.sampled_from(["transcript", "agentassist", "bot_turn_response", "barge_in", "note", ""])
entities = st.fixed_dictionaries({}, optional={"type": types, "data": json_values})


@given(st.lists(entities | json_values, max_size=3) | json_values)
def test_both_treat_any_event_alike(value: Any) -> None:
    both(lambda session: session.send_event(value))


def test_both_limit_how_many_events_a_plugin_sends() -> None:
    burst = [True] * int(EVENTS.burst) + [False]
    assert both(lambda session: [session.send_event([NOTE]) for _ in burst])[0] == burst


def test_both_limit_pauses_and_resumes() -> None:
    burst = [True] * int(PAUSES.burst) + [False]
    assert both(lambda session: [session.pause() for _ in burst])[0] == burst
    assert both(lambda session: [session.resume() for _ in burst])[0] == burst


@pytest.mark.parametrize("reason", get_args(DisconnectReason))
def test_both_disconnect_for_each_reason(reason: Any) -> None:
    assert both(lambda session: session.disconnect(reason)) == (True, False)


DISCONNECTS: dict[str, tuple[Any, ...]] = {
    "an unknown reason": ("because",),
    "no reason": (None,),
    "a list": ([],),
    "info in bytes": ("completed", b"done"),
    "an info with a surrogate": ("completed", "\ud800"),
    "an info that is too long": ("completed", "x" * 64_001),
    "a number of variables": ("completed", None, 5),
    "variables in pairs": ("completed", None, [("name", "value")]),
    "a number in variables": ("completed", None, {"name": 5}),
    "a variable without a name": ("completed", None, {None: "value"}),
}


@pytest.mark.parametrize("arguments", DISCONNECTS.values(), ids=DISCONNECTS)
def test_both_reject_a_disconnect_that_cannot_be_sent(arguments: tuple[Any, ...]) -> None:
    (fault, _), _ = both(lambda session: session.disconnect(*arguments))
    assert fault is LocalProtocolError


def test_both_send_what_a_rejected_disconnect_did_not() -> None:
    def call(session: Any) -> Any:
        rejected = outcome_of(lambda: session.disconnect("completed", b"done"))
        return rejected[0], session.disconnect("completed", "done", MappingProxyType({"intent": "pay"}))

    assert both(call)[0] == (LocalProtocolError, True)


def test_both_send_nothing_more_after_disconnect() -> None:
    def call(session: Any) -> list[bool]:
        session.disconnect()
        return [session.send_event([NOTE]), session.pause(), session.resume(), session.disconnect()]

    assert both(call)[0] == [False] * 4


METHODS: dict[str, Callable[[Any], Any]] = {
    "send_event": lambda session: session.send_event([NOTE]),
    "pause": lambda session: session.pause(),
    "resume": lambda session: session.resume(),
    "disconnect": lambda session: session.disconnect(),
}


@pytest.mark.parametrize("method", METHODS)
def test_both_reject_another_thread(method: str) -> None:
    (fault, text), _ = both(lambda session: in_thread(lambda: METHODS[method](session)))
    assert fault is WrongThread
    assert f"use daemon.reactor.callFromThread(session.{method}, ...)" in text


MUTATIONS: dict[str, Callable[[Any], Any]] = {
    "custom_config": lambda session: session.custom_config.update(x=1),
    "custom_config's item": lambda session: session.custom_config.__setitem__("x", 1),
    "input_variables": lambda session: session.input_variables.__setitem__("x", 1),
    "request": lambda session: session.request.__setitem__("uri", "/"),
    "headers": lambda session: session.request["headers"].__setitem__("host", "x"),
    "participant": lambda session: setattr(session.participant, "ani", "x"),
    "media": lambda session: setattr(session.media, "rate", 16_000),
}


@pytest.mark.parametrize("mutate", MUTATIONS.values(), ids=MUTATIONS)
def test_both_reject_changes_of_what_they_say(mutate: Callable[[Any], Any]) -> None:
    (fault, _), _ = both(mutate)
    assert fault is AttributeError


def test_a_fake_session_copies_what_a_test_assigns() -> None:
    session = FakeSession()
    config = {"nested": {"key": 1}}
    session.custom_config = config
    config["nested"]["key"] = 2
    assert session.custom_config == {"nested": {"key": 1}}


def test_both_have_all_of_the_interface_and_the_same_types() -> None:
    real, fake = real_session()[0], FakeSession()
    assert verifyObject(ISession, real)
    assert verifyObject(ISession, fake)
    kinds = {name: (type(getattr(real, name)), type(getattr(fake, name))) for name in ISession}
    assert {name: kind for name, kind in kinds.items() if kind[0] is not kind[1]}.keys() == {"log"}


def test_a_fake_session_shows_what_was_sent() -> None:
    session = FakeSession()
    session.send_event([NOTE])
    session.disconnect("completed", "done")
    assert session.calls == [("send_event", (NOTE,)), ("disconnect", "completed", "done", None)]
    assert [message["type"] for message in session.sent] == ["event", "disconnect"]


def test_a_fake_session_that_is_over_is_not_opened_again() -> None:
    session = FakeSession()
    session.answer = False
    with pytest.raises(ValueError, match="create another FakeSession"):
        session.answer = True


class Pools:
    """A pool of the daemon and a pool of the stand-in, each with capacity for two jobs."""

    def __init__(self) -> None:
        self.clock = Reactor()
        daemon = Daemon(self.clock, lambda: 0.0, cast("Any", None))
        self.real = daemon.of_plugin("copy").workers("upload", 1, 1)
        self.fake = FakeDaemon().workers("upload", 1, 1)
        self.all: list[Any] = [self.real, self.fake]


class Reactor(Clock):
    """Never runs calls from threads, so that the pool's work never ends."""

    def callFromThread(self, *_: Any) -> None:
        pass


@pytest.fixture
def pools() -> Iterator[Pools]:
    pools = Pools()
    pools.real.startService()
    yield pools
    pools.real.patience = 0.0
    pools.real.stopService()
    pools.clock.advance(1)


def failure_of(done: "Deferred[Any]") -> Any:
    found: list[Any] = []
    done.addBoth(found.append)
    return found[0].type if found and isinstance(found[0], Failure) else None


def test_both_pools_are_pools(pools: Pools) -> None:
    assert all(verifyObject(IWorkers, pool) for pool in [*pools.all, MemoryWorkers()])


def test_both_pools_reject_what_they_have_no_room_for(pools: Pools) -> None:
    found = [[failure_of(pool.do(lambda: None)) for _ in range(3)] for pool in pools.all]
    assert found == [[None, None, PoolFull]] * 2


def test_both_pools_reject_another_thread(pools: Pools) -> None:
    found = [in_thread(lambda pool=pool: failure_of(pool.do(lambda: None))) for pool in pools.all]  # type: ignore[misc]
    assert found == [WrongThread] * 2


def test_both_pools_reject_work_while_they_do_not_run() -> None:
    pools = Pools()
    cast("Any", pools.fake).running = False
    assert [failure_of(pool.do(lambda: None)) for pool in pools.all] == [PoolFull] * 2


def test_the_pool_of_a_fake_daemon_has_room_again_when_work_is_done() -> None:
    daemon = FakeDaemon()
    pool = daemon.workers("upload", 1, 0)
    for _ in range(3):
        done = pool.do(lambda: 5)
        daemon.pool.run()
        assert done.result == 5


@pytest.mark.parametrize("pool", [("", 1, 1), ("upload", 0, 1), ("upload", 1, -1)])
def test_both_daemons_reject_a_pool_that_cannot_work(pool: tuple[str, int, int]) -> None:
    outcomes = [outcome_of(lambda daemon=daemon: daemon.workers(*pool)) for daemon in daemons()]  # type: ignore[misc]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] is ValueError


def test_both_daemons_reject_a_second_pool_of_one_name() -> None:
    for daemon in daemons():
        daemon.workers("upload", 1, 1)
        with pytest.raises(ValueError, match="has a worker pool of this name already"):
            daemon.workers("upload", 1, 1)


def test_both_daemons_reject_a_claim_of_what_another_table_has() -> None:
    real, fake = daemons()
    real._daemon.of_plugin("other").claim("bucket")
    fake.taken.add("bucket")
    for daemon in (real, fake):
        daemon.claim("another")
        daemon.claim("another")
        with pytest.raises(ValueError, match=r"^\[plugins.other\] has claimed it"):
            daemon.claim("bucket")


def test_the_fake_daemon_does_what_threads_ask_for() -> None:
    daemon, done = FakeDaemon(), list[str]()
    in_thread(lambda: daemon.reactor.callFromThread(done.append, "called"))
    assert done == []
    daemon.reactor.advance(0)
    assert done == ["called"]


def daemons() -> list[Any]:
    found: list[Any] = [Daemon(Clock(), lambda: 0.0, cast("Any", None)).of_plugin("copy"), FakeDaemon()]
    assert all(verifyObject(IDaemon, daemon) for daemon in found)
    return found


def test_events_are_sent_as_json() -> None:
    session = FakeSession()
    session.send_event([BargeIn()])
    assert json.loads(msgspec.json.encode(session.sent[0]["parameters"])) == {
        "entities": [{"type": "barge_in", "data": {}}]
    }


def test_a_test_of_a_plugin_does_not_import_the_server() -> None:
    program = "import audiohookd.testing, sys; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "audiohookd.testing.session" in imported
    server = {"autobahn", "audiohookd.websocket.protocol", "audiohookd.session.driver", "audiohookd.session.registry"}
    assert server.intersection(imported) == set()
