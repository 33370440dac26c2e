"""Builds the replay store from the configuration."""

import os
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from audiohookd.auth.replay.failover import FailoverReplayStore
from audiohookd.auth.replay.shared import NonceBackend, SharedReplayStore
from audiohookd.auth.replay.sqlite import SqliteNonces
from audiohookd.auth.replay.store import IReplayStore, MemoryReplayStore
from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Replay
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.runtime.workers import Workers

#: Lookups that may wait for a thread, in addition to one for each possible call. All may come at once.
MAX_WAITING = 1_024
#: Seconds that a shutdown waits for running lookups.
TIMEOUT = 1.0


class ReplayProtection(Struct, frozen=True):
    """The store of used nonces, and the services that it needs."""

    #: None: replay protection is turned off.
    store: IReplayStore | None
    pools: list[Workers] = []
    #: Of a store that may be down; else None.
    failover: FailoverReplayStore | None = None

    @property
    def loops(self) -> list[SupervisedLoop]:
        """The periodic work of the store."""
        return [] if self.failover is None else [self.failover.loop]


def replay_protection(
    config: Replay,
    where: str,
    window: float,
    calls: int,
    reactor: Any,
    count: Callable[[str, str], object],
    tell: Callable[[str | None], None] = lambda reason: None,
) -> ReplayProtection:
    """Builds the store, without connecting to it.

    :param where: file and table of ``config``, for error texts.
    :param window: seconds for which a nonce is stored.
    :param calls: how many calls may come at once.
    :param tell: see :class:`.FailoverReplayStore`.
    :raises ConfigError: a setting of the store is invalid.
    """
    match config.store:
        case "off":
            return ReplayProtection(None)
        case "memory":
            return ReplayProtection(MemoryReplayStore(window, reactor.seconds))
        case "sqlite":
            name, threads, nonces = f"SQLite, {config.path}", 1, _sqlite(config, where, window, reactor.seconds)
        case "redis":
            # Several threads, so that a DNS lookup that hangs in one of them does not block the others.
            name, threads, nonces = "Redis", 4, _redis(config, where, window)
    workers = Workers(reactor, "replay", threads, MAX_WAITING + calls, TIMEOUT, count=count)
    shared = SharedReplayStore(nonces, window, workers, reactor, config.timeout)
    failover = FailoverReplayStore(shared, name, config.fail, reactor, count, tell)
    return ReplayProtection(failover, [workers], failover)


def _sqlite(config: Replay, where: str, window: float, clock: Callable[[], float]) -> NonceBackend:
    directory = config.path.parent
    if not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK, effective_ids=True)):
        hint = f"; under systemd it needs ReadWritePaths={directory} below [Service]: systemctl edit audiohookd"
        text = f"{directory} must be a directory that the daemon may write to"
        raise ConfigError(f"{where}.path: {text}{hint if directory.is_dir() else ''}")
    return SqliteNonces(config.path, window, clock, config.timeout)


def _redis(config: Replay, where: str, window: float) -> NonceBackend:
    try:
        from audiohookd.auth.replay.redis import RedisNonces, read_url  # noqa: PLC0415 - redis-py is an extra
    except ImportError:
        raise ConfigError(f"{where}.store: 'redis' needs redis-py: pip install 'audiohookd[redis]'") from None
    key = "url_file" if config.url_file else "url"
    try:
        url = read_url(config.url_file) if config.url_file else config.url
        return RedisNonces(url, window, config.timeout)
    except ValueError as error:
        raise ConfigError(f"{where}.{key}: {error}") from None
