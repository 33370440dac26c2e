"""``twistd audiohookd``: its command line, and the process that it starts."""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from twisted.application.service import IService
from twisted.logger import ILogObserver, Logger, globalLogBeginner
from twisted.python.usage import Options as UsageOptions

from audiohookd import __version__
from audiohookd.application.build import build
from audiohookd.application.root import Launch
from audiohookd.config.errors import ConfigError, ConfigUnavailable
from audiohookd.config.load import load
from audiohookd.escaping import printable
from audiohookd.observe.journald import error_line, journal_observer
from audiohookd.observe.log_encoding import escape_early_log
from audiohookd.runtime.privileges import User, acting_as, can_become, owner_of, user_of
from audiohookd.runtime.process import freeze_gc, raise_nofile, use_monotonic_clock
from audiohookd.runtime.services import StartError
from audiohookd.text_encoding import escape_unencodable

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
            launch = Launch(None if _twistd_switches(options) else user, _log_observer(options))
            root = build(options["tree"], options["config"], reactor, time.time, os.environ, launch)
        escape_early_log(globalLogBeginner)
        return root
    except ConfigUnavailable as error:
        _exit(error, EX_TEMPFAIL)
    except (ConfigError, StartError) as error:
        _exit(error, EX_CONFIG)


def _log_observer(options: Options) -> ILogObserver | None:
    """The log observer for the journal of systemd; None if twistd logs elsewhere or daemonizes."""
    twistd = options.parent or {"logfile": None, "syslog": False, "nodaemon": True}
    is_elsewhere = twistd["syslog"] or not twistd["nodaemon"] or twistd["logfile"] not in (None, "-")
    return None if is_elsewhere else journal_observer(os.environ)


def _twistd_switches(options: Options) -> bool:
    """Whether twistd itself switches to another user."""
    return options.parent is not None and options.parent["uid"] is not None


def _user(options: Options) -> User:
    """The user to run as. Root switches to the user in twistd's options, or else to the owner of the spool."""
    itself = User(os.geteuid(), os.getegid())
    if itself.uid != 0:
        return itself
    if options.parent is not None and _twistd_switches(options):
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


def _exit(error: Exception, status: int) -> NoReturn:
    sys.stderr.write(error_line(f"audiohookd: {printable(str(error))}", os.environ))
    raise SystemExit(status)
