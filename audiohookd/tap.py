"""``twistd audiohookd``: the command line, and :func:`build`, which builds the service tree. START READING HERE."""

import os
import random
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService, IServiceCollection
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import ILogObserver, Logger, globalLogBeginner, globalLogPublisher
from twisted.python.components import Componentized
from twisted.python.usage import Options as UsageOptions

from audiohookd import __version__
from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.keys.model import KeySourceError, SourceUnavailable
from audiohookd.auth.keys.sources import sources_of
from audiohookd.auth.replay.factory import SHARED, replay_store
from audiohookd.auth.replay.failover import OUTCOMES, FailoverReplayStore
from audiohookd.auth.replay.store import IReplayStore, replay_window
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE
from audiohookd.config.errors import ConfigError, ConfigUnavailable, address
from audiohookd.config.listen_address import listen_address
from audiohookd.config.load import load
from audiohookd.config.schema import Config
from audiohookd.delivery.destination import Destination, destinations_of
from audiohookd.delivery.service import Deliveries, deliveries_of, disk_work
from audiohookd.diagnostics.explanations import Explanations
from audiohookd.edge.policy import HandshakePolicy
from audiohookd.endpoint import endpoint_of
from audiohookd.escaping import printable
from audiohookd.listener import ListenerStack, build_listener, receive_limits_of
from audiohookd.observe.admin_http import admin_site
from audiohookd.observe.counters import Counters, exposition
from audiohookd.observe.gauges import Figures, gauged
from audiohookd.observe.journald import error_line, journal_observer
from audiohookd.observe.log_encoding import escape_early_log, escape_log
from audiohookd.observe.unhandled import UnhandledErrors
from audiohookd.observe.watchdog import Watchdog
from audiohookd.plugin_calls import plugin_call
from audiohookd.plugin_host import Daemon
from audiohookd.plugin_loader import load_plugins
from audiohookd.routes import routes_of
from audiohookd.runtime.file_limit import raise_nofile
from audiohookd.runtime.garbage_collection import freeze_gc
from audiohookd.runtime.loops import SupervisedLoop, Supervisor
from audiohookd.runtime.monotonic_clock import use_monotonic_clock
from audiohookd.runtime.privileges import User, acting_as, become, can_become, owner_of, user_of
from audiohookd.runtime.services import Listener, OrderedServices, StartError
from audiohookd.runtime.signals import Signals
from audiohookd.runtime.systemd import Notifier, Readiness, write_remedy
from audiohookd.runtime.workers import Workers
from audiohookd.session.driver import ServerContext
from audiohookd.session.fanout import Watcher
from audiohookd.session.quotas import Quotas
from audiohookd.session.registry import Registry
from audiohookd.spool.disk_monitor import DiskMonitor, SpoolDisk
from audiohookd.spool.retention import Retention
from audiohookd.spool.spool import Spool
from audiohookd.spool.sweep import RetentionPolicy
from audiohookd.spool.write.group_commit import Intervals, Pools
from audiohookd.text_encoding import escape_unencodable
from audiohookd.websocket.protocol import PENDING_LIMIT, AudioHookServerFactory

#: Exit status for a configuration error (sysexits.h), which systemd units can distinguish from a crash.
EX_CONFIG = 78
#: Exit status for a temporary failure, which a restart by systemd may cure.
EX_TEMPFAIL = 75
#: Open files per call: its socket, its audio and its journal, and the sockets of two other connections: one before
#: its upgrade and a rejected one. New connections must not take the descriptors that recordings need.
FILES_PER_CALL = 5
#: Open files in addition to the calls: for unauthenticated connections, the log, Python and plugins.
SPARE_FILES = 1_600
#: Seconds after which a computing thread (an upload, for example) yields to others. With Python's default of 5 ms, a
#: commit of 200 calls took 0.14 s beside two such threads; with this value it took 0.04 s.
SWITCH_INTERVAL = 0.0005
#: Niceness of the commit thread. The reactor runs before it, and it runs before all other threads, because it must
#: finish within ``flush_interval``.
COMMIT_NICENESS = 5
#: Seconds that each service may take to stop, in addition to its own time-out.
STOP_TIMEOUT = 60.0


_log = Logger()


class Options(UsageOptions):
    """The command line after ``twistd audiohookd``."""

    synopsis = "[--config FILE]"
    longdesc = "Receive the audio of Genesys Cloud calls (AudioHook)."
    optParameters = [["config", "c", "/etc/audiohookd/audiohookd.toml", "The configuration file."]]  # noqa: RUF012

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"audiohookd {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Loads the configuration before twistd does anything else."""
        # Absolute, because twistd changes its working directory later.
        path = Path(self["config"]).absolute()
        try:
            self["tree"] = load(path)
        except ConfigError as error:
            _exit(error, EX_CONFIG)
        self["config"] = path


class Root(OrderedServices):
    """The top of the service tree. If a service fails to start, prints one line and exits with a non-zero status."""

    def __init__(self, clock: IReactorTime, endpoint: str, path: Path, keyring: Keyring) -> None:
        super().__init__(clock, STOP_TIMEOUT)
        self.keyring = keyring
        self.endpoint = endpoint
        self.path = path
        #: The user to switch to if root starts the daemon.
        self.user = User(os.geteuid(), os.getegid())
        #: Receives the log; None if the command line of twistd names another destination.
        self.log_observer: ILogObserver | None = None

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Registers the log observer at the parent, which is the application that twistd asks for it."""
        super().setServiceParent(parent)
        if self.log_observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log_observer)

    def privilegedStartService(self) -> None:
        """Drops root privileges. twistd calls this first, after it has created its log and its pid file."""
        escape_log(globalLogPublisher)
        super().privilegedStartService()
        if os.geteuid() == 0 and self.user.uid != 0:
            become(self.user)

    def startService(self) -> None:
        """Starts all services.

        :raises StartError: a service cannot start; the reason was printed.
        """
        try:
            super().startService()
        except StartError as error:
            sys.stderr.write(f"audiohookd: {printable(str(error))}\n")
            # twistd needs the exception: only then does it remove its pid file and release the parent process of a
            # daemonized process. The line above says everything, so no traceback is printed.
            sys.excepthook = lambda *_: None
            raise
        self._log.info(
            "audiohookd {version} started: listening on {endpoint}, configured by {path}",
            version=__version__,
            endpoint=self.endpoint,
            path=str(self.path),
        )
        self._log.info("API keys: {keys}", keys=repr(self.keyring.keys))


def makeService(options: Options) -> IService:
    """Builds the daemon for twistd. Exits with one line if the configuration is wrong."""
    from twisted.internet import reactor  # noqa: PLC0415 - the import installs it; twistd may select another first

    escape_unencodable(sys.stdout)  # twistd logs to it; a line that cannot be encoded would be lost
    use_monotonic_clock(reactor)
    reactor.callWhenRunning(freeze_gc)
    sys.setswitchinterval(SWITCH_INTERVAL)
    raise_nofile(FILES_PER_CALL * options["tree"].listen.max_sessions + SPARE_FILES)
    user = _user(options)
    try:
        with acting_as(user):
            root = build(options["tree"], options["config"], reactor, time.time, os.environ)
        if options.parent is None or options.parent["uid"] is None:  # else twistd switches
            root.user = user
        root.log_observer = _log_observer(options)
        escape_early_log(globalLogBeginner)
        return root
    except ConfigUnavailable as error:
        _exit(error, EX_TEMPFAIL)
    except (ConfigError, StartError) as error:
        _exit(error, EX_CONFIG)


def build(config: Config, path: Path, reactor: Any, now: Callable[[], float], environment: Mapping[str, str]) -> Root:
    """Builds the daemon without starting it. Checks everything that it can check without opening a port.

    The services start from first to last and stop from last to first. The listener stops after the sessions have
    drained: until then new sessions get ``disconnect error``, which Genesys Cloud retries. It does not retry a
    connection that is refused.

    :param reactor: its ``seconds()`` must be monotonic; they are used for durations.
    :param now: returns seconds since the epoch, for dates.
    :param environment: the process environment.
    :raises ConfigError: the configuration file, or a file that it names, is wrong.
    """
    counters = Counters()
    pools, spool = _spool(config, reactor, counters)
    daemon = Daemon(reactor, now, spool, counters.count)
    watchers = load_plugins(config, path, daemon)
    outlets = destinations_of({name: watcher.plugin for name, watcher in watchers.items()})
    delivering, deliveries = _deliveries(config, outlets, reactor, now, counters)
    spool.on_ready = deliveries.announce
    readiness = Readiness(reactor, Notifier(environment))
    disk_pools, retention, monitor = _disk(config, spool, outlets, reactor, now, counters, readiness)
    registry = _registry(config, reactor, lambda: monitor.not_ready_reason, counters)
    routes = routes_of(config, path, watchers, readiness.warn)
    shared = ServerContext(reactor, now, config.session, registry, counters, routes, reactor.callFromThread)
    key_loaders, keyring = _keyring(config, path, reactor, now, environment, counters, readiness)
    replay_pools, replay = _replay(config, path, reactor, counters, readiness)
    policy = HandshakePolicy(Authenticator(keyring, replay), config.auth.rejection, config.listen.authority or None)
    stack = build_listener(config, path, reactor, now, counters)
    factory = AudioHookServerFactory(
        shared,
        policy,
        max_pending=PENDING_LIMIT + config.listen.max_sessions,
        handshake_timeout=config.limits.handshake_timeout,
        reactor=reactor,
        limiter=stack.limiter,
        receive_limits=receive_limits_of(config.limits),
    )
    where, wrapped = f"{path}: listen.endpoint", stack.wrap(factory)
    listener = _listener("listener", where, config.listen.endpoint, wrapped, reactor, stack.endpoint)
    _prepare(spool, config, path, environment)

    root = Root(reactor, config.listen.endpoint, path, keyring)
    loops = [*spool.loops, *deliveries.loops, retention.loop, monitor.loop, *keyring.loops, *stack.loops]
    supervisor = _supervisor(loops, replay, reactor, counters, readiness)
    children: list[IService] = [supervisor, *pools, *disk_pools, delivering, key_loaders, *replay_pools, spool]
    children += [*_services(daemon, watchers, counters), deliveries, retention, monitor, keyring]
    children += _admin(config, path, factory, readiness, keyring, _figures(keyring, replay, stack))
    signals = Signals(reactor, root.hurry, reread=[keyring.reload, *stack.reload_hooks])
    children += [*stack.services, listener, registry, readiness, signals]
    for child in children:
        child.setServiceParent(root)
    return root


def _spool(config: Config, reactor: Any, counters: Counters) -> tuple[list[IService], Spool]:
    """Builds the spool and its worker pools."""
    workers = partial(Workers, reactor, count=counters.count)
    writing = workers("spool-writer", threads=1, waiting=8, niceness=COMMIT_NICENESS)
    finishing = workers("spool-finisher", threads=2, waiting=config.listen.max_sessions + 64)
    syncing = workers("spool-syncer", threads=1, waiting=8)
    intervals = Intervals(config.spool.flush_interval, config.spool.sync_interval)
    spool = Spool(reactor, config.spool.directory, Pools(writing, finishing, syncing), intervals, counters.count)
    return [writing, finishing, syncing], spool


def _deliveries(
    config: Config, outlets: Sequence[Destination], reactor: Any, now: Callable[[], float], counters: Counters
) -> tuple[Workers, Deliveries]:
    """Builds the delivery service and the worker pool of its disk work."""
    workers = Workers(reactor, "delivery", threads=2, waiting=disk_work(outlets), count=counters.count)
    return workers, deliveries_of(config, outlets, reactor, now, workers, counters, random.random)


def _disk(
    config: Config,
    spool: Spool,
    outlets: Sequence[Destination],
    reactor: Any,
    now: Callable[[], float],
    counters: Counters,
    readiness: Readiness,
) -> tuple[list[IService], Retention, DiskMonitor]:
    """Builds retention and the disk monitor, and their worker pools."""
    probing = Workers(reactor, "disk-looker", threads=1, waiting=1, count=counters.count)
    sweeping = Workers(reactor, "spool-sweeper", threads=1, waiting=1, count=counters.count)
    carriers = frozenset(outlet.name for outlet in outlets if outlet.is_carrier)
    terms = RetentionPolicy(carriers, config.spool.local_retention, config.spool.max_spool)
    retention = Retention(reactor, now, sweeping, counters.count, spool.layout, terms)
    checks = {"writer": lambda: spool.fault, "size": lambda: retention.obstacle}
    set_blocker = partial(readiness.set_blocker, "disk")
    disk, min_free = SpoolDisk(spool.layout, spool.lock.keep), config.spool.min_free
    monitor = DiskMonitor(reactor, probing, counters.count, disk, min_free, checks, set_blocker)
    return [probing, sweeping], retention, monitor


def _services(daemon: Daemon, watchers: Mapping[str, Watcher], counters: Counters) -> list[IService]:
    """The plugins that are services, their worker pools, and the reporters of their blocks and unhandled errors.

    Each service gets the name of its table, because names must be unique.
    """
    plugins = {name: watcher.plugin for name, watcher in watchers.items()}
    unhandled = UnhandledErrors(daemon.reactor, globalLogPublisher, plugins, counters.count)
    services = [(name, watcher.plugin) for name, watcher in watchers.items() if IService.providedBy(watcher.plugin)]
    for name, service in services:
        service.setName(address("plugins", name))
    watchdog = Watchdog(daemon.reactor, plugins, counters, plugin_call)
    return [watchdog, unhandled, *daemon.pools, *(service for _, service in services)]


def _keyring(
    config: Config,
    path: Path,
    reactor: Any,
    now: Callable[[], float],
    environment: Mapping[str, str],
    counters: Counters,
    readiness: Readiness,
) -> tuple[Workers, Keyring]:
    """Builds the keyring with all API keys loaded, and the worker pool that refreshes them."""
    try:
        sources = sources_of(config.auth, environment, now)
        workers = Workers(reactor, "key-loaders", threads=len(sources), waiting=0, patience=1.0, count=counters.count)
        routes, set_blocker = {route.path for route in config.route}, partial(readiness.set_blocker, "keys")
        keyring = Keyring(reactor, workers, sources, counters.count, random.random, routes, set_blocker)
        keyring.prepare()
        counters.expect("key_refresh_failures", keyring.sizes())
    except SourceUnavailable as error:
        raise ConfigUnavailable(f"{path}: {error}") from None
    except (KeySourceError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return workers, keyring


def _replay(
    config: Config, path: Path, reactor: Any, counters: Counters, readiness: Readiness
) -> tuple[list[Workers], IReplayStore | None]:
    """Builds the replay store of used signatures, and its worker pools."""
    window = replay_window(MAX_AGE, CLOCK_SKEW)
    calls = config.listen.max_sessions
    where, set_blocker = f"{path}: auth.replay", partial(readiness.set_blocker, "replay store")
    if config.auth.replay.store in SHARED:
        counters.expect("replay_store_failures", OUTCOMES)
    return replay_store(config.auth.replay, where, window, calls, reactor, counters.count, set_blocker)


def _registry(config: Config, reactor: Any, obstacle: Callable[[], str | None], counters: Counters) -> Registry:
    """Builds the session registry with its limits."""
    goodbye = config.session.disconnect_timeout + 2.0  # longer, so that a client which closes in time is not aborted
    sessions, drain_timeout, limits = config.listen.max_sessions, config.shutdown.drain_timeout, config.limits
    quotas = Quotas(limits.sessions_per_organization, limits.sessions_per_key)
    return Registry(reactor, sessions, drain_timeout, goodbye, obstacle, quotas, counters.count)


def _supervisor(
    loops: list[SupervisedLoop], replay: object, reactor: Any, counters: Counters, readiness: Readiness
) -> Supervisor:
    """Builds the supervisor that restarts and reports periodic work."""
    if isinstance(replay, FailoverReplayStore):
        loops = [*loops, replay.loop]
    counters.expect("loop_failures", [loop.name for loop in loops])
    counters.expect("loop_stalls", [loop.name for loop in loops])
    return Supervisor(reactor, loops, counters.count, partial(readiness.set_blocker, "loops"))


def _admin(
    config: Config,
    path: Path,
    factory: AudioHookServerFactory,
    readiness: Readiness,
    keyring: Keyring,
    figures: Mapping[str, Figures],
) -> list[IService]:
    """The admin port and the worker pool that diagnoses rejected requests; empty if the port is turned off."""
    if not config.admin.endpoint:
        return []
    reactor: Any = factory.shared.clock
    registry = factory.shared.registry
    own = listen_address(config.admin.endpoint)
    workers = Workers(reactor, "explainer", threads=1, waiting=0, patience=1.0, count=factory.shared.counters.count)
    site = admin_site(
        reactor,
        lambda: readiness.ready,
        lambda: registry.drain_state or readiness.blocker,
        lambda: exposition(factory.shared.counters) + gauged(figures),
        Explanations(reactor, workers, factory.recent_rejections, lambda: keyring.keys).explain,
        lambda: [*readiness.warnings, *registry.connection_warnings],
        allowed_hosts=[*config.admin.allowed_hosts, socket.gethostname(), "" if own is None else own.host],
    )
    return [workers, _listener("admin", f"{path}: admin.endpoint", config.admin.endpoint, site, reactor)]


def _figures(keyring: Keyring, replay: object, stack: ListenerStack) -> dict[str, Figures]:
    """The functions that read the gauges, by name; only for configured parts."""
    figures: dict[str, Figures] = {"keys": keyring.sizes, "key_source_failing": keyring.failing}
    if isinstance(replay, FailoverReplayStore):
        figures["replay_store_down"] = lambda: {"": int(replay.is_down)}
    if (expiry := stack.expiry) is not None:
        figures["tls_certificate_expiry_seconds"] = lambda: {"": int(expiry())}
    return figures


def _listener(
    name: str, where: str, description: str, factory: IProtocolFactory, reactor: Any, parsed: str | None = None
) -> Listener:
    """Builds a listener service.

    :param parsed: the part of ``description`` that Twisted parses; all of it by default.
    """
    endpoint = endpoint_of(reactor, description if parsed is None else parsed, where, description)
    return Listener(name, endpoint, description, where, factory)


def _log_observer(options: Options) -> ILogObserver | None:
    """The log observer for the journal of systemd; None if twistd logs elsewhere or daemonizes."""
    twistd = options.parent or {"logfile": None, "syslog": False, "nodaemon": True}
    is_elsewhere = twistd["syslog"] or not twistd["nodaemon"] or twistd["logfile"] not in (None, "-")
    return None if is_elsewhere else journal_observer(os.environ)


def _user(options: Options) -> User:
    """The user to run as. Root switches to the user in twistd's options, or else to the owner of the spool."""
    itself = User(os.geteuid(), os.getegid())
    if itself.uid != 0:
        return itself
    if options.parent is not None and options.parent["uid"] is not None:
        return user_of(options.parent["uid"], options.parent["gid"])
    directory = options["tree"].spool.directory
    owner = owner_of(directory)
    remedy = "start it by a systemd unit with User=, or by twistd --uid USER"
    if owner is None or owner.uid == 0:
        text = "started as root, and runs as root: services of other users cannot use {directory}; {remedy}"
    elif can_become(owner):
        itself = owner
        text = "started as root: runs as user {user}, the owner of {directory}; {remedy}"
    else:
        text = "started as root, and runs as root: it lacks CAP_SETUID or CAP_SETGID to switch to user {user}, the"
        text += " owner of {directory}; {remedy}"
    _log.warn(text, user=str(owner), directory=str(directory), remedy=remedy)
    return itself


def _prepare(spool: Spool, config: Config, path: Path, environment: Mapping[str, str]) -> None:
    try:
        spool.prepare()
    except OSError as error:
        directory = config.spool.directory
        where = f" ({error.filename})" if error.filename and Path(error.filename).parent == directory else ""
        remedy = write_remedy(error, directory, environment)
        reason = f"{directory} cannot be used: {error.strerror}{where}{remedy}"
        raise ConfigError(f"{path}: spool.directory: {reason}") from error


def _exit(error: Exception, status: int) -> NoReturn:
    sys.stderr.write(error_line(f"audiohookd: {printable(str(error))}", os.environ))
    raise SystemExit(status)
