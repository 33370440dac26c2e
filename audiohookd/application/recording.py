"""Builds the spool, and the services that watch its disk."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from twisted.application.service import IService

from audiohookd.application.environment import Environment
from audiohookd.config.errors import ConfigError
from audiohookd.delivery.destination import Destination
from audiohookd.runtime.systemd import write_remedy
from audiohookd.spool.disk_monitor import DiskMonitor, SpoolDisk
from audiohookd.spool.retention import Retention, RetentionPolicy
from audiohookd.spool.spool import Spool
from audiohookd.spool.write.group_commit import Intervals, Pools

#: Niceness of the commit thread. The reactor runs before it, and it runs before all other threads, because it must
#: finish within ``flush_interval``.
COMMIT_NICENESS = 5


def build_spool(environment: Environment) -> tuple[list[IService], Spool]:
    """The spool and its worker pools."""
    config = environment.config
    writing = environment.workers("spool-writer", threads=1, waiting=8, niceness=COMMIT_NICENESS)
    finishing = environment.workers("spool-finisher", threads=2, waiting=config.listen.max_sessions + 64)
    syncing = environment.workers("spool-syncer", threads=1, waiting=8)
    intervals = Intervals(config.spool.flush_interval, config.spool.sync_interval)
    pools = Pools(writing, finishing, syncing)
    spool = Spool(environment.reactor, config.spool.directory, pools, intervals, environment.counters.count)
    return [writing, finishing, syncing], spool


def build_disk_services(
    environment: Environment, spool: Spool, destinations: Sequence[Destination]
) -> tuple[list[IService], Retention, DiskMonitor]:
    """Retention and the disk monitor, and their worker pools."""
    config, reactor, count = environment.config.spool, environment.reactor, environment.counters.count
    probing = environment.workers("disk-looker", threads=1, waiting=1)
    sweeping = environment.workers("spool-sweeper", threads=1, waiting=1)
    carriers = frozenset(destination.name for destination in destinations if destination.is_carrier)
    policy = RetentionPolicy(carriers, config.local_retention, config.max_spool)
    retention = Retention(reactor, environment.now, sweeping, count, spool.layout, policy)
    checks = {"writer": lambda: spool.fault, "size": lambda: retention.obstacle}
    set_blocker = partial(environment.readiness.set_blocker, "disk")
    disk = SpoolDisk(spool.layout, spool.lock.keep)
    monitor = DiskMonitor(reactor, probing, count, disk, config.min_free, checks, set_blocker)
    return [probing, sweeping], retention, monitor


def prepare_spool(environment: Environment, spool: Spool) -> None:
    """Creates the directories of the spool, and takes its lock.

    :raises ConfigError: the directory cannot be used.
    """
    try:
        spool.prepare()
    except OSError as error:
        directory = environment.config.spool.directory
        where = f" ({error.filename})" if error.filename and Path(error.filename).parent == directory else ""
        remedy = write_remedy(error, directory, environment.variables)
        reason = f"{directory} cannot be used: {error.strerror}{where}{remedy}"
        raise ConfigError(f"{environment.path}: spool.directory: {reason}") from error
