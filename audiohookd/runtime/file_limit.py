"""How many files the process may have open."""

import resource

from twisted.logger import Logger

_log = Logger()


def raise_nofile(needed: int) -> bool:
    """Raises this process's own limit to ``needed``, as far as the system allows; False when that is not far enough.

    Debian's default of 1,024 is enough for some 300 calls; the next ones would be answered and not recorded.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if reachable > soft:  # not for nothing: the systemd unit forbids the call, and sets both limits itself
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    if soft >= needed:
        return True
    _log.warn("{needed} open files are needed, and {soft} are allowed: raise LimitNOFILE", needed=needed, soft=soft)
    return False
