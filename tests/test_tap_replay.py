"""Where used signatures are remembered, as a part of the tree: it works for as long as anybody may call."""

from pathlib import Path

from audiohookd.auth.replay.failover import OUTAGE_LOG_INTERVAL, FailoverReplayStore
from audiohookd.auth.replay.store import IReplayStore, MemoryReplayStore
from audiohookd.websocket.protocol import AudioHookServerFactory
from tests.tap_rig import PLAIN, Reactor, ask, build, names, writer

SQLITE = f'{PLAIN}\n[auth.replay]\nstore = "sqlite"\npath = "replay.sqlite"\n'


def started(directory: Path, text: str) -> tuple[list[str], IReplayStore | None]:
    """The services, from below, and the store that the listener asks."""
    reactor = Reactor()
    root = build(writer(directory)(text), reactor)
    root.startService()
    factory = reactor.ports[-1].factory
    assert isinstance(factory, AudioHookServerFactory)
    return names(root), factory.policy.authenticator.replay


def test_in_memory_it_needs_nothing(tmp_path: Path) -> None:
    services, store = started(tmp_path, PLAIN)
    assert isinstance(store, MemoryReplayStore)
    assert "replay" not in services


def test_it_may_be_none(tmp_path: Path) -> None:
    assert started(tmp_path, PLAIN + '\n[auth.replay]\nstore = "off"\n')[1] is None


def test_shared_it_has_a_pool_that_outlives_the_listener(tmp_path: Path) -> None:
    services, store = started(tmp_path, SQLITE)
    assert isinstance(store, FailoverReplayStore)
    assert services.index("replay") < services.index("listener")


def test_while_it_is_down_the_daemon_is_not_ready(tmp_path: Path) -> None:
    reactor = Reactor()
    build(writer(tmp_path)(SQLITE + '[admin]\nendpoint = "tcp:9000"\n'), reactor).startService()
    factory = reactor.ports[-1].factory
    assert isinstance(factory, AudioHookServerFactory)
    store = factory.policy.authenticator.replay
    assert store is not None
    answers: list[object] = []
    (tmp_path / "replay.sqlite").mkdir()
    store.first_use("a-key", "a-nonce", 0.0).addBoth(answers.append)
    reactor.run_until(lambda: answers)
    assert ask(reactor.ports[0], "/ready") == 503
    (tmp_path / "replay.sqlite").rmdir()
    reactor.advance(OUTAGE_LOG_INTERVAL)
    reactor.run_until(lambda: ask(reactor.ports[0], "/ready") == 200)


def test_nothing_is_opened_before_the_daemon_is_a_daemon(tmp_path: Path) -> None:
    """What was opened before twistd forks is two processes' afterwards."""
    build(writer(tmp_path)(SQLITE))
    assert list(tmp_path.glob("replay*")) == []
