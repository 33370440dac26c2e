"""Builds the service tree of the daemon. START READING HERE."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger

from audiohookd.application.access import build_keyring, build_registry, build_replay_protection
from audiohookd.application.admin import build_admin, gauges_of
from audiohookd.application.environment import Environment
from audiohookd.application.listener import ListenerStack, build_listener, receive_limits_of
from audiohookd.application.plugin_services import plugin_services
from audiohookd.application.recording import build_disk_services, build_spool, prepare_spool
from audiohookd.application.root import Launch, Root
from audiohookd.application.routes import routes_of
from audiohookd.auth.authenticator import Authenticator
from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Config
from audiohookd.delivery.destination import Destination, destinations_of
from audiohookd.delivery.service import Deliveries, deliveries_of, disk_work
from audiohookd.edge.policy import HandshakePolicy
from audiohookd.observe.counters import Counters
from audiohookd.plugin_host import Daemon
from audiohookd.plugin_loader import load_plugins
from audiohookd.runtime.loops import SupervisedLoop, Supervisor
from audiohookd.runtime.signals import Signals
from audiohookd.runtime.systemd import Notifier, Readiness
from audiohookd.runtime.workers import Workers
from audiohookd.session.driver import ServerContext
from audiohookd.websocket.protocol import PENDING_LIMIT, AudioHookServerFactory

NO_LAUNCH = Launch()
#: The environment variable that turns the fast path off.
FAST_PATH_VARIABLE = "AUDIOHOOKD_FASTPATH"

_log = Logger()


def build(
    config: Config,
    path: Path,
    reactor: Any,
    now: Callable[[], float],
    variables: Mapping[str, str],
    launch: Launch = NO_LAUNCH,
) -> Root:
    """Builds the daemon without starting it. Checks everything that it can check without opening a port.

    The services start from first to last and stop from last to first. The listener stops after the sessions have
    drained: until then new sessions get ``disconnect error``, which Genesys Cloud retries. It does not retry a
    connection that is refused.

    :param reactor: its ``seconds()`` must be monotonic; they are used for durations.
    :param now: returns seconds since the epoch, for dates.
    :param variables: the process environment.
    :raises ConfigError: the configuration file, or a file that it names, is wrong.
    """
    counters, readiness = Counters(), Readiness(reactor, Notifier(variables))
    environment = Environment(config, path, reactor, now, variables, counters, readiness)
    spool_pools, spool = build_spool(environment)
    daemon = Daemon(reactor, now, spool, counters.count)
    watchers = load_plugins(config, path, daemon)
    destinations = destinations_of({name: watcher.plugin for name, watcher in watchers.items()})
    delivery_pool, deliveries = _build_deliveries(environment, destinations)
    spool.add_ready_observer(deliveries.announce)
    disk_pools, retention, monitor = build_disk_services(environment, spool, destinations)

    key_loaders, keyring = build_keyring(environment)
    replay = build_replay_protection(environment)
    registry = build_registry(environment, lambda: monitor.not_ready_reason)
    routes = routes_of(config, path, watchers, readiness.warn)
    shared = ServerContext(
        reactor, now, config.session, registry, counters, routes, reactor.callFromThread, config.send
    )
    stack = build_listener(config, path, reactor, now, counters)
    factory = _build_factory(environment, shared, Authenticator(keyring, replay.store), stack)
    listener = environment.listener("listener", "listen.endpoint", stack.wrap(factory), stack.endpoint)
    prepare_spool(environment, spool)

    root = Root(reactor, config.listen.endpoint, path, keyring, launch)
    loops = [
        *spool.loops,
        *deliveries.loops,
        retention.loop,
        monitor.loop,
        *keyring.loops,
        *stack.loops,
        *replay.loops,
    ]
    pools = [*spool_pools, *disk_pools, delivery_pool, key_loaders, *replay.pools]
    children: list[IService] = [_build_supervisor(environment, loops), *pools, spool]
    children += [*plugin_services(environment, daemon, watchers), deliveries, retention, monitor, keyring]
    children += build_admin(environment, factory, keyring, gauges_of(keyring, replay, stack))
    signals = Signals(reactor, root.hurry, reread=[keyring.reload, *stack.reload_hooks])
    children += [*stack.services, listener, registry, readiness, signals]
    for child in children:
        child.setServiceParent(root)
    return root


def _build_deliveries(environment: Environment, destinations: Sequence[Destination]) -> tuple[Workers, Deliveries]:
    """The delivery service, and the worker pool of its disk work."""
    workers = environment.workers("delivery", threads=2, waiting=disk_work(destinations))
    config, reactor, counters = environment.config, environment.reactor, environment.counters
    names = [destination.name for destination in destinations]
    carriers = [destination.name for destination in destinations if destination.is_carrier]
    for counter in ("delivery_failures", "outages", "dead_letters"):
        counters.expect(counter, names)
    counters.expect("recordings_stored", carriers)
    counters.expect("notifications_sent", [name for name in names if name not in carriers])
    return workers, deliveries_of(config, destinations, reactor, environment.now, workers, counters, random.random)


def _build_factory(
    environment: Environment, shared: ServerContext, authenticator: Authenticator, stack: ListenerStack
) -> AudioHookServerFactory:
    """The factory of the WebSocket protocol."""
    config = environment.config
    return AudioHookServerFactory(
        shared,
        HandshakePolicy(authenticator, config.auth.rejection, config.listen.authority or None),
        max_pending=PENDING_LIMIT + config.listen.max_sessions,
        handshake_timeout=config.limits.handshake_timeout,
        reactor=environment.reactor,
        limiter=stack.limiter,
        receive_limits=receive_limits_of(config.limits),
        uses_fast_path=_uses_fast_path(environment.variables),
    )


def _uses_fast_path(variables: Mapping[str, str]) -> bool:
    """Whether AUDIOHOOKD_FASTPATH is not ``off``. A setting for diagnosis: see websocket/fastpath/README.rst.

    :raises ConfigError: it is neither ``on`` nor ``off``.
    """
    value = variables.get(FAST_PATH_VARIABLE, "on")
    if value not in ("on", "off"):
        raise ConfigError(f"{FAST_PATH_VARIABLE} is {value!r}: it must be 'on' or 'off'")
    if value == "off":
        _log.warn("the fast path is off ({variable}=off): each frame costs more", variable=FAST_PATH_VARIABLE)
    return value == "on"


def _build_supervisor(environment: Environment, loops: list[SupervisedLoop]) -> Supervisor:
    """The supervisor that restarts and reports periodic work."""
    counters = environment.counters
    counters.expect("loop_failures", [loop.name for loop in loops])
    counters.expect("loop_stalls", [loop.name for loop in loops])
    set_blocker = partial(environment.readiness.set_blocker, "loops")
    return Supervisor(environment.reactor, loops, counters.count, set_blocker)
