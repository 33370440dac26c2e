"""Builds the listener from the configuration: handshake limiter, PROXY protocol, TLS, and the files they reload."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from twisted.application.service import IService
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Config, Limits, Listen
from audiohookd.edge import handshake_limiter
from audiohookd.edge.loopback import is_loopback_endpoint
from audiohookd.edge.networks import NetworkSet, read_networks
from audiohookd.edge.policy import ReceiveLimits
from audiohookd.edge.proxy_protocol import ProxyProtocolFactory
from audiohookd.observe.counters import Counters
from audiohookd.runtime.file_watcher import ReloadableFile
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.runtime.privileges import read_remedy
from audiohookd.runtime.token_bucket import Rate
from audiohookd.runtime.workers import Workers
from audiohookd.websocket.protocol import AudioHookServerFactory

if TYPE_CHECKING:
    from audiohookd.edge.tls import Identity

#: Depth of a receive limit for frames and messages, in seconds of its rate. Genesys Cloud holds back up to 30 s of
#: audio while a session opens or the network stalls, then sends it as fast as it can. The kernel buffers some more.
PACE_DEPTH = 60.0
#: Depth of a receive limit for control frames, fragments and bytes of messages, in seconds of its rate. Each of them
#: costs ten times as much as audio, and no client needs such bursts. The depth has room for one message of the
#: largest size. With room for two, 60 sessions that sent them at once delayed another call's ``opened`` by 0.45 s.
COSTLY_DEPTH = 9.0

#: Seconds before the expiry of a certificate from which on it is warned of: 14 days.
EXPIRES_SOON = 14 * 86_400.0

_Wrap = Callable[[IProtocolFactory], IProtocolFactory]

_log = Logger()


class ListenerStack(Struct, frozen=True):
    """The parts of the listener.

    ``wrap`` puts TLS and the PROXY protocol in front of a factory. ``endpoint`` is the configured endpoint without
    the ``haproxy:`` prefix, which ``wrap`` implements. ``services`` must run while the port is open.
    """

    limiter: handshake_limiter.HandshakeLimiter
    endpoint: str
    wrap: Callable[[AudioHookServerFactory], IProtocolFactory]
    services: list[IService]
    loops: list[SupervisedLoop]
    #: Called at a reload: each reads its files again.
    reload_hooks: list[Callable[[], None]]
    #: Returns the UNIX time at which the certificate expires; None without TLS.
    expiry: Callable[[], float] | None


def build_listener(
    config: Config, path: Path, reactor: Any, now: Callable[[], float], counters: Counters
) -> ListenerStack:
    """Builds the listener, and reads the files that the configuration names.

    :param path: the configuration file, for error texts.
    :param now: UNIX seconds.
    :raises ConfigError: a setting or a file is invalid.
    """
    workers = Workers(reactor, "file-watcher", threads=1, waiting=2, count=counters.count)
    watch = partial(ReloadableFile, reactor, workers, count=counters.count)
    limiter, allowing = _limiter(config, path, reactor, counters, watch)
    secure, identifying, expiry = _secure(config.listen, path, reactor, now, watch)
    watched: list[ReloadableFile[Any]] = [*allowing, *identifying]
    services: list[IService] = [workers, *watched] if watched else []
    endpoint, wrap = _proxied(config.listen.endpoint, secure)
    loops = [file.loop for file in watched]
    return ListenerStack(limiter, endpoint, wrap, services, loops, [file.reread for file in watched], expiry)


def receive_limits_of(limits: Limits) -> ReceiveLimits:
    """Returns the receive limits of one client."""
    return ReceiveLimits(
        frames=_rate(limits.frames_per_second),
        audio_bytes=_rate(limits.audio_bytes_per_second),
        messages=_rate(limits.messages_per_second),
        message_bytes=_rate(limits.message_bytes_per_second, COSTLY_DEPTH),
        control_frames=_rate(limits.control_frames_per_second, COSTLY_DEPTH),
        fragments=_rate(limits.fragments_per_second, COSTLY_DEPTH),
    )


def _rate(per_second: int, depth: float = PACE_DEPTH) -> Rate | None:
    return Rate(per_second, per_second * depth) if per_second else None


def _limiter(
    config: Config, path: Path, reactor: Any, counters: Counters, watch: Callable[..., Any]
) -> tuple[handshake_limiter.HandshakeLimiter, list[ReloadableFile[NetworkSet]]]:
    listen, limits = config.listen, config.limits
    limiter = handshake_limiter.HandshakeLimiter(
        reactor.seconds,
        counters.count,
        handshake_limiter.HandshakeLimits(
            limits.handshakes_per_second, limits.handshakes_per_second_total, listen.max_sessions
        ),
        listen.trusted_hops,
        proxies=_proxies(listen, path),
    )
    limiter.allowed = _networks(listen.allowed_networks, f"{path}: listen.allowed_networks")
    if listen.allowed_networks_file is None:
        return limiter, []

    def read(file: Path = listen.allowed_networks_file) -> NetworkSet:
        return NetworkSet([*listen.allowed_networks, *read_networks(file)])

    def take(networks: NetworkSet) -> str:
        limiter.allowed = networks
        return f"{len(networks)} networks"

    watched = watch(name="allowed_networks_file", paths=[listen.allowed_networks_file], read=read, take=take)
    limiter.allowed = _load(watched, f"{path}: listen.allowed_networks_file")
    return limiter, [watched]


def _proxies(listen: Listen, path: Path) -> NetworkSet | None:
    proxies = _networks(listen.trusted_proxies, f"{path}: listen.trusted_proxies")
    if proxies is not None and not listen.trusted_hops:
        text = "has no effect without listen.trusted_hops: set the number of proxies there"
        raise ConfigError(f"{path}: listen.trusted_proxies: {text}")
    if listen.trusted_hops and proxies is None and not is_loopback_endpoint(listen.endpoint):
        text = (
            "{where}: a client that connects to {endpoint} without passing the proxies can spoof any address: list"
            " the networks of the proxies in listen.trusted_proxies"
        )
        _log.warn(text, where=f"{path}: listen.trusted_hops", endpoint=listen.endpoint)
    return proxies


def _networks(texts: tuple[str, ...], where: str) -> NetworkSet | None:
    """Returns None for an empty list, which allows all networks."""
    for number, text in enumerate(texts):
        try:
            NetworkSet([text])
        except ValueError as error:
            raise ConfigError(f"{where}[{number}]: {error}") from None
    return NetworkSet(texts) if texts else None


def _secure(
    listen: Listen, path: Path, reactor: Any, now: Callable[[], float], watch: Callable[..., Any]
) -> "tuple[_Wrap, list[ReloadableFile[Identity]], Callable[[], float] | None]":
    if listen.tls_certificate is None or listen.tls_key is None:
        return _unchanged, [], None
    where = f"{path}: listen.tls_certificate"
    try:
        from audiohookd.edge import tls  # noqa: PLC0415 - pyOpenSSL is an extra
    except ImportError:
        raise ConfigError(f"{where}: needs pyOpenSSL: pip install 'audiohookd[tls]'") from None
    files = (listen.tls_certificate, listen.tls_key)

    def take(identity: "Identity") -> str:
        identification.identity = identity
        _warn_of_expiry(files[0], identity, now())
        return f"a certificate that expires on {identity.expiry}"

    watched = watch(name="tls_certificate", paths=files, read=lambda: tls.read_identity(*files), take=take)
    identification = tls.Identification(_load(watched, where, (tls.BadKey, f"{path}: listen.tls_key")))
    _warn_of_expiry(files[0], identification.identity, now())
    secure = partial(tls.secured, identification=identification, clock=reactor)
    return secure, [watched], lambda: identification.identity.expires


def _warn_of_expiry(certificate: Path, identity: "Identity", now: float) -> None:
    """Logs a certificate that has expired or expires soon. The daemon runs on, and reloads it when it is renewed."""
    if identity.expires <= now:
        text = "{file} has expired ({date}), clients reject it: renew it"
        _log.error(text, file=str(certificate), date=identity.expiry)
    elif identity.expires - now < EXPIRES_SOON:
        _log.warn("{file} expires on {date}: renew it", file=str(certificate), date=identity.expiry)


def _proxied(
    endpoint: str, secure: Callable[[IProtocolFactory], IProtocolFactory]
) -> tuple[str, Callable[[AudioHookServerFactory], IProtocolFactory]]:
    prefix, _, below = endpoint.partition(":")
    if prefix.lower() != "haproxy":
        return endpoint, secure

    def behind_proxy(factory: AudioHookServerFactory) -> IProtocolFactory:
        timeout = factory.handshake_timeout
        return ProxyProtocolFactory(
            secure(factory), factory.pending, factory.rejection_log, factory.shared.clock, timeout
        )

    return below, behind_proxy


def _unchanged(factory: IProtocolFactory) -> IProtocolFactory:
    return factory


def _load(watched: ReloadableFile[Any], where: str, elsewhere: tuple[type[ValueError], str] | None = None) -> Any:
    """Loads the file at start-up.

    :param where: the setting that an error text names.
    :param elsewhere: a type of error that belongs to another setting, and that setting.
    """
    try:
        return watched.load()
    except ValueError as error:
        place = elsewhere[1] if elsewhere and isinstance(error, elsewhere[0]) else where
        raise ConfigError(f"{place}: {error}") from None
    except PermissionError as error:
        raise ConfigError(f"{where}: {error.filename} {read_remedy(Path(error.filename))}") from None
    except OSError as error:
        raise ConfigError(f"{where}: {error.filename}: {error.strerror}") from None
