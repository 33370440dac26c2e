"""Builds the admin port: health checks, metrics and the diagnosis of rejected requests."""

import socket
from collections.abc import Mapping

from twisted.application.service import IService

from audiohookd.application.environment import Environment
from audiohookd.application.listener import ListenerStack
from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.replay.factory import ReplayProtection
from audiohookd.config.listen_address import listen_address
from audiohookd.diagnostics.explanations import Explanations
from audiohookd.observe.admin_http import AdminSources, admin_site
from audiohookd.observe.counters import exposition
from audiohookd.observe.gauges import Figures, gauged
from audiohookd.websocket.protocol import AudioHookServerFactory


def build_admin(
    environment: Environment, factory: AudioHookServerFactory, keyring: Keyring, figures: Mapping[str, Figures]
) -> list[IService]:
    """The admin port and the worker pool that diagnoses rejected requests; empty if the port is turned off."""
    config, readiness, registry = environment.config.admin, environment.readiness, factory.shared.registry
    if not config.endpoint:
        return []
    own = listen_address(config.endpoint)
    workers = environment.workers("explainer", threads=1, waiting=0, patience=1.0)
    explanations = Explanations(environment.reactor, workers, factory.recent_rejections, lambda: keyring.keys)
    sources = AdminSources(
        is_ready=lambda: readiness.ready,
        obstacle=lambda: registry.drain_state or readiness.blocker,
        metrics=lambda: exposition(environment.counters) + gauged(figures),
        refused=explanations.explain,
        warnings=lambda: [*readiness.warnings, *registry.connection_warnings],
        sessions=registry.describe,
        hold_pause=registry.hold_pause if config.allow_pause else None,
    )
    hosts = [*config.allowed_hosts, socket.gethostname(), "" if own is None else own.host]
    site = admin_site(environment.reactor, sources, hosts)
    return [workers, environment.listener("admin", "admin.endpoint", site)]


def gauges_of(keyring: Keyring, replay: ReplayProtection, stack: ListenerStack) -> dict[str, Figures]:
    """The functions that read the gauges, by name; only for configured parts."""
    figures: dict[str, Figures] = {"keys": keyring.sizes, "key_source_failing": keyring.failing}
    if (failover := replay.failover) is not None:
        figures["replay_store_down"] = lambda: {"": int(failover.is_down)}
    if (expiry := stack.expiry) is not None:
        figures["tls_certificate_expiry_seconds"] = lambda: {"": int(expiry())}
    return figures
