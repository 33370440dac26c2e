"""Builds the admin port: health checks, metrics and the diagnosis of rejected requests."""

import socket
from collections.abc import Mapping

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from audiohookd.application.environment import Environment
from audiohookd.application.listener import ListenerStack
from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.replay.factory import ReplayProtection
from audiohookd.config.listen_address import listen_address
from audiohookd.diagnostics.hypotheses import HINTS_TAKEN, Hints
from audiohookd.diagnostics.recent import explain_rejections
from audiohookd.observe.admin_http import admin_site
from audiohookd.observe.counters import exposition
from audiohookd.observe.gauges import Figures, gauged
from audiohookd.websocket.protocol import AudioHookServerFactory

#: Most questions about rejected requests that wait for the thread. One more is rejected. Each takes about a second.
QUESTIONS_WAITING = 4


def build_admin(
    environment: Environment, factory: AudioHookServerFactory, keyring: Keyring, figures: Mapping[str, Figures]
) -> list[IService]:
    """The admin port and the worker pool that diagnoses rejected requests; empty if the port is turned off."""
    config, readiness, registry = environment.config.admin, environment.readiness, factory.shared.registry
    if not config.endpoint:
        return []
    own = listen_address(config.endpoint)
    workers = environment.workers("explainer", threads=1, waiting=QUESTIONS_WAITING, patience=1.0)

    def explain(hosts: tuple[str, ...], paths: tuple[str, ...]) -> "Deferred[bytes]":
        hints = Hints(hosts[:HINTS_TAKEN], paths[:HINTS_TAKEN])
        rejections, keys = list(factory.recent_rejections), keyring.keys
        return workers.do(lambda: explain_rejections(rejections, keys, hints))

    site = admin_site(
        environment.reactor,
        lambda: readiness.ready,
        lambda: registry.drain_state or readiness.blocker,
        lambda: exposition(environment.counters) + gauged(figures),
        explain,
        lambda: [*readiness.warnings, *registry.connection_warnings],
        allowed_hosts=[*config.allowed_hosts, socket.gethostname(), "" if own is None else own.host],
    )
    return [workers, environment.listener("admin", "admin.endpoint", site)]


def gauges_of(keyring: Keyring, replay: ReplayProtection, stack: ListenerStack) -> dict[str, Figures]:
    """The functions that read the gauges, by name; only for configured parts."""
    figures: dict[str, Figures] = {"keys": keyring.sizes, "key_source_failing": keyring.failing}
    if (failover := replay.failover) is not None:
        figures["replay_store_down"] = lambda: {"": int(failover.is_down)}
    if (expiry := stack.expiry) is not None:
        figures["tls_certificate_expiry_seconds"] = lambda: {"": int(expiry())}
    return figures
