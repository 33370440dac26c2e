"""Builds what decides which clients may open sessions: keys, the replay store, quotas."""

import random
from collections.abc import Callable
from functools import partial

from audiohookd.application.environment import Environment
from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.keys.model import KeySourceError, SourceUnavailable
from audiohookd.auth.keys.sources import sources_of
from audiohookd.auth.replay.factory import ReplayProtection, replay_protection
from audiohookd.auth.replay.failover import OUTCOMES
from audiohookd.auth.replay.store import replay_window
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE
from audiohookd.config.errors import ConfigError, ConfigUnavailable
from audiohookd.runtime.workers import Workers
from audiohookd.session.quotas import Quotas
from audiohookd.session.registry import Registry


def build_keyring(environment: Environment) -> tuple[Workers, Keyring]:
    """The keyring with all API keys loaded, and the worker pool that refreshes them.

    :raises ConfigError: keys cannot be loaded.
    """
    config, path, counters = environment.config, environment.path, environment.counters
    try:
        sources = sources_of(config.auth, environment.variables, environment.now)
        workers = environment.workers("key-loaders", threads=len(sources), waiting=0, patience=1.0)
        routes = {route.path for route in config.route}
        set_blocker = partial(environment.readiness.set_blocker, "keys")
        keyring = Keyring(environment.reactor, workers, sources, counters.count, random.random, routes, set_blocker)
        keyring.prepare()
        counters.expect("key_refresh_failures", keyring.sizes())
    except SourceUnavailable as error:
        raise ConfigUnavailable(f"{path}: {error}") from None
    except (KeySourceError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return workers, keyring


def build_replay_protection(environment: Environment) -> ReplayProtection:
    """The store of used nonces, and its worker pools."""
    config, counters = environment.config, environment.counters
    protection = replay_protection(
        config.auth.replay,
        f"{environment.path}: auth.replay",
        replay_window(MAX_AGE, CLOCK_SKEW),
        config.listen.max_sessions,
        environment.reactor,
        counters.count,
        partial(environment.readiness.set_blocker, "replay store"),
    )
    if protection.failover is not None:
        counters.expect("replay_store_failures", OUTCOMES)
    return protection


def build_registry(environment: Environment, not_ready_reason: Callable[[], str | None]) -> Registry:
    """The session registry with its limits."""
    config, counters = environment.config, environment.counters
    goodbye = config.session.disconnect_timeout + 2.0  # longer, so that a client which closes in time is not aborted
    quotas = Quotas(config.limits.sessions_per_organization, config.limits.sessions_per_key)
    sessions, drain_timeout = config.listen.max_sessions, config.shutdown.drain_timeout
    reactor = environment.reactor
    return Registry(reactor, sessions, drain_timeout, goodbye, not_ready_reason, quotas, counters.count)
