"""Names, addresses and TCP."""

import errno
import ipaddress
import queue
import socket
import threading
from typing import NamedTuple

from audiohookd.cli.doctor.steps import Deadline, Done, State, StepFailed

#: Addresses of one name that are tried.
MAX_ADDRESSES = 8
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH})


class Address(NamedTuple):
    """Where a name leads."""

    family: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve(host: str, port: int, is_public: bool, deadline: Deadline) -> Done[list[Address]]:
    """All addresses of a name; those that are not public are worth a note, if it is one that Genesys Cloud calls.

    :raises Trouble: it has none.
    """
    answers: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()
    # getaddrinfo knows no limit: when it is late, its thread is left behind.
    threading.Thread(target=lambda: answers.put(_lookup(host, port)), daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise StepFailed(f"{host}: the name servers do not answer") from None
    if isinstance(found, OSError):
        raise StepFailed(f"{host}: no such name ({found.strerror}): Genesys Cloud looks it up in the public DNS")
    return _judged(found, is_public)


def _lookup(host: str, port: int) -> list[Address] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        return fault if isinstance(fault, OSError) else OSError(0, "not the name of a host")
    return list(dict.fromkeys(Address(family, str(where[0]), port) for family, _, _, _, where in found))


def _judged(found: list[Address], is_public: bool) -> Done[list[Address]]:
    text = ", ".join(address.host for address in found)
    private = [address.host for address in found if not _is_public(address.host)]
    if private and is_public:
        why = f"{', '.join(private)} is not public: Genesys Cloud has to see another address for this name"
        condition = "the public DNS has a public address for it"
        return Done(found[:MAX_ADDRESSES], f"{text}; {why}", State.NOTE, condition=condition)
    return Done(found[:MAX_ADDRESSES], text)


def _is_public(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_global


def connect(address: Address, deadline: Deadline) -> Done[socket.socket | None]:
    """A TCP connection; None where this machine has no way to such an address, which says nothing about others.

    :raises Trouble: nobody takes it.
    """
    try:
        return Done(open_socket(address, deadline), str(address))
    except OSError as fault:
        if fault.errno in _UNREACHABLE:
            return Done(None, f"{address}: no way there from this machine: {fault.strerror}", State.NOTE)
        if isinstance(fault, ConnectionRefusedError):
            raise StepFailed(f"{address}: refused: nothing listens there, or a firewall says so") from None
        if isinstance(fault, TimeoutError):
            raise StepFailed(f"{address}: no answer: a firewall drops it, or there is no such machine") from None
        raise StepFailed(f"{address}: {fault.strerror or fault}") from None


def open_socket(address: Address, deadline: Deadline) -> socket.socket:
    """A TCP connection.

    :raises OSError: there is none.
    """
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(deadline.left())
        connection.connect((address.host, address.port))
    except BaseException:
        connection.close()
        raise
    return connection
