"""What stands before the sessions, as configured: gate, PROXY protocol, TLS, and the files that they keep up with."""

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

#: Seconds' worth of frames and messages that may come at once. Genesys Cloud keeps up to 30 s of audio back while a
#: session opens or the network stalls, and sends them as fast as it can; the kernel keeps some more for us.
PACE_DEPTH = 60.0
#: The same for what costs ten times as much as audio, and never comes in such amounts: control frames, fragments, and
#: octets of messages (one message of the longest size). With two, 60 sessions that sent them at once made another
#: call wait 0.45 s for its ``opened``.
COSTLY_DEPTH = 9.0

#: Seconds before its end at which a certificate should have been renewed: 14 days.
EXPIRES_SOON = 14 * 86_400.0

_Wrap = Callable[[IProtocolFactory], IProtocolFactory]

_log = Logger()


class ListenerStack(Struct, frozen=True):
    """The gate; where to listen, and with what in front of a factory; and what has to run while anybody comes in.

    ``endpoint`` is the one that is configured, without what ``front`` has taken over.
    """

    limiter: handshake_limiter.HandshakeLimiter
    endpoint: str
    wrap: Callable[[AudioHookServerFactory], IProtocolFactory]
    services: list[IService]
    loops: list[SupervisedLoop]
    #: To be called when files shall be read again.
    reload_hooks: list[Callable[[], None]]
    #: The UNIX time at which our certificate expires, where there is one.
    expiry: Callable[[], float] | None


def build_listener(
    config: Config, path: Path, reactor: Any, now: Callable[[], float], counters: Counters
) -> ListenerStack:
    """Reads the files that the configuration names.

    :param now: UNIX seconds.
    :raises ConfigError: something in it, or in them, is wrong.
    """
    workers = Workers(reactor, "file-watcher", threads=1, waiting=2, count=counters.count)
    watch = partial(ReloadableFile, reactor, workers, count=counters.count)
    guarded, allowing = _gate(config, path, reactor, counters, watch)
    secure, identifying, expiry = _secure(config.listen, path, reactor, now, watch)
    watched: list[ReloadableFile[Any]] = [*allowing, *identifying]
    services: list[IService] = [workers, *watched] if watched else []
    endpoint, front = _front(config.listen.endpoint, secure)
    loops = [one.loop for one in watched]
    return ListenerStack(guarded, endpoint, front, services, loops, [one.reread for one in watched], expiry)


def receive_limits_of(limits: Limits) -> ReceiveLimits:
    """How much one client may send."""
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


def _gate(
    config: Config, path: Path, reactor: Any, counters: Counters, watch: Callable[..., Any]
) -> tuple[handshake_limiter.HandshakeLimiter, list[ReloadableFile[NetworkSet]]]:
    listen, limits = config.listen, config.limits
    guarded = handshake_limiter.HandshakeLimiter(
        reactor.seconds,
        counters.count,
        handshake_limiter.HandshakeLimits(
            limits.handshakes_per_second, limits.handshakes_per_second_total, listen.max_sessions
        ),
        listen.trusted_hops,
        proxies=_proxies(listen, path),
    )
    guarded.allowed = _networks(listen.allowed_networks, f"{path}: listen.allowed_networks")
    if listen.allowed_networks_file is None:
        return guarded, []

    def read(file: Path = listen.allowed_networks_file) -> NetworkSet:
        return NetworkSet([*listen.allowed_networks, *read_networks(file)])

    def take(networks: NetworkSet) -> str:
        guarded.allowed = networks
        return f"{len(networks)} networks"

    watched = watch(name="allowed_networks_file", paths=[listen.allowed_networks_file], read=read, take=take)
    guarded.allowed = _load(watched, f"{path}: listen.allowed_networks_file")
    return guarded, [watched]


def _proxies(listen: Listen, path: Path) -> NetworkSet | None:
    proxies = _networks(listen.trusted_proxies, f"{path}: listen.trusted_proxies")
    if proxies is not None and not listen.trusted_hops:
        raise ConfigError(f"{path}: listen.trusted_proxies: means nothing without listen.trusted_hops: say how many")
    if listen.trusted_hops and proxies is None and not is_loopback_endpoint(listen.endpoint):
        text = (
            "{where}: whoever reaches {endpoint} past the proxies is believed to be any address that he names: say in"
            " listen.trusted_proxies where the proxies are"
        )
        _log.warn(text, where=f"{path}: listen.trusted_hops", endpoint=listen.endpoint)
    return proxies


def _networks(texts: tuple[str, ...], where: str) -> NetworkSet | None:
    """None for an empty list, which limits nothing."""
    for number, text in enumerate(texts):
        try:
            NetworkSet([text])
        except ValueError as fault:
            raise ConfigError(f"{where}[{number}]: {fault}") from None
    return NetworkSet(texts) if texts else None


def _secure(
    listen: Listen, path: Path, reactor: Any, now: Callable[[], float], watch: Callable[..., Any]
) -> "tuple[_Wrap, list[ReloadableFile[Identity]], Callable[[], float] | None]":
    if listen.tls_certificate is None or listen.tls_key is None:
        return _as_it_is, [], None
    where = f"{path}: listen.tls_certificate"
    try:
        from audiohookd.edge import tls  # noqa: PLC0415 - only who wants TLS needs pyOpenSSL
    except ImportError:
        raise ConfigError(f"{where}: needs pyOpenSSL: pip install 'audiohookd[tls]'") from None
    files = (listen.tls_certificate, listen.tls_key)

    def take(identity: "Identity") -> str:
        identification.identity = identity
        _tell_expiry(files[0], identity, now())
        return f"a certificate that expires on {identity.expiry}"

    watched = watch(name="tls_certificate", paths=files, read=lambda: tls.read_identity(*files), take=take)
    identification = tls.Identification(_load(watched, where, (tls.BadKey, f"{path}: listen.tls_key")))
    _tell_expiry(files[0], identification.identity, now())
    secure = partial(tls.secured, identification=identification, clock=reactor)
    return secure, [watched], lambda: identification.identity.expires


def _tell_expiry(certificate: Path, identity: "Identity", now: float) -> None:
    """Not refused: a daemon that is down would not notice that it was renewed."""
    if identity.expires <= now:
        text = "{file} has expired ({date}): no call comes in that trusts it; renew it"
        _log.error(text, file=str(certificate), date=identity.expiry)
    elif identity.expires - now < EXPIRES_SOON:
        _log.warn("{file} expires on {date}: renew it", file=str(certificate), date=identity.expiry)


def _front(
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


def _as_it_is(factory: IProtocolFactory) -> IProtocolFactory:
    return factory


def _load(watched: ReloadableFile[Any], where: str, elsewhere: tuple[type[ValueError], str] | None = None) -> Any:
    """What it gives first. Mistakes are those of ``where``, but one kind is that of another setting."""
    try:
        return watched.load()
    except ValueError as fault:
        place = elsewhere[1] if elsewhere and isinstance(fault, elsewhere[0]) else where
        raise ConfigError(f"{place}: {fault}") from None
    except PermissionError as fault:
        raise ConfigError(f"{where}: {fault.filename} {read_remedy(Path(fault.filename))}") from None
    except OSError as fault:
        raise ConfigError(f"{where}: {fault.filename}: {fault.strerror}") from None
