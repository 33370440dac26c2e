"""The replay store in the service tree: it is available while the daemon accepts calls."""

from pathlib import Path

from audiohookd.auth.replay.failover import OUTAGE_LOG_INTERVAL, FailoverReplayStore
from audiohookd.auth.replay.store import IReplayStore, MemoryReplayStore
from audiohookd.websocket.protocol import AudioHookServerFactory
from tests.tap_rig import PLAIN, Reactor, ask, build, names, writer

SQLITE = f'{PLAIN}\n[auth.replay]\nstore = "sqlite"\npath = "replay.sqlite"\n'


def started(directory: Path, text: str) -> tuple[list[str], IReplayStore | None]:
    """The services from the bottom, and the replay store of the listener."""
    reactor = Reactor()
    root = build(writer(directory)(text), reactor)
    root.startService()
    factory = reactor.ports[-1].factory
    assert isinstance(factory, AudioHookServerFactory)
    return names(root), factory.policy.authenticator.replay


def test_a_store_in_memory_needs_no_service(tmp_path: Path) -> None:
    services, store = started(tmp_path, PLAIN)
    assert isinstance(store, MemoryReplayStore)
    assert "replay" not in services


def test_replay_protection_may_be_off(tmp_path: Path) -> None:
    assert started(tmp_path, PLAIN + '\n[auth.replay]\nstore = "off"\n')[1] is None


def test_a_shared_store_has_a_pool_that_outlives_the_listener(tmp_path: Path) -> None:
    services, store = started(tmp_path, SQLITE)
    assert isinstance(store, FailoverReplayStore)
    assert services.index("replay") < services.index("listener")


def test_the_daemon_is_not_ready_while_the_store_is_down(tmp_path: Path) -> None:
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


def test_no_store_is_opened_before_daemonizing(tmp_path: Path) -> None:
    """After twistd forks, two processes would share a file that was opened before."""
    build(writer(tmp_path)(SQLITE))
    assert list(tmp_path.glob("replay*")) == []
