"""The steps DNS and TCP: resolves the host name and connects to its addresses."""

import errno
import ipaddress
import queue
import socket
import threading
from typing import NamedTuple

from audiohookd.cli.doctor.steps import Deadline, Done, State, StepFailed

#: How many addresses of one name are tried.
MAX_ADDRESSES = 8
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH})


class Address(NamedTuple):
    """A socket address to which a name resolves."""

    family: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve(host: str, port: int, is_public: bool, deadline: Deadline) -> Done[list[Address]]:
    """Resolves a name to its addresses.

    :param is_public: Genesys Cloud connects to this name, so addresses that are not public get a note.
    :raises StepFailed: the name has no address.
    """
    answers: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()
    # getaddrinfo has no timeout. If it is late, its thread is left behind.
    threading.Thread(target=lambda: answers.put(_lookup(host, port)), daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise StepFailed(f"{host}: timed out: the name servers do not answer") from None
    if isinstance(found, OSError):
        raise StepFailed(f"{host}: no such name ({found.strerror}): Genesys Cloud resolves it in the public DNS")
    return _judged(found, is_public)


def _lookup(host: str, port: int) -> list[Address] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error if isinstance(error, OSError) else OSError(0, "not a host name")
    return list(dict.fromkeys(Address(family, str(where[0]), port) for family, _, _, _, where in found))


def _judged(found: list[Address], is_public: bool) -> Done[list[Address]]:
    text = ", ".join(address.host for address in found)
    private = [address.host for address in found if not _is_public(address.host)]
    if private and is_public:
        why = f"{', '.join(private)} is not public: Genesys Cloud must see another address for this name"
        condition = "the public DNS has a public address for this name"
        return Done(found[:MAX_ADDRESSES], f"{text}; {why}", State.NOTE, condition=condition)
    return Done(found[:MAX_ADDRESSES], text)


def _is_public(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_global


def connect(address: Address, deadline: Deadline) -> Done[socket.socket | None]:
    """Opens a TCP connection. None if this machine has no route to the address: other machines may have one.

    :raises StepFailed: the connection was not accepted.
    """
    try:
        return Done(open_socket(address, deadline), str(address))
    except OSError as error:
        if error.errno in _UNREACHABLE:
            return Done(None, f"{address}: no route from this machine: {error.strerror}", State.NOTE)
        if isinstance(error, ConnectionRefusedError):
            raise StepFailed(f"{address}: refused: nothing listens there, or a firewall rejects it") from None
        if isinstance(error, TimeoutError):
            raise StepFailed(f"{address}: timed out: a firewall drops it, or there is no such machine") from None
        raise StepFailed(f"{address}: {error.strerror or error}") from None


def open_socket(address: Address, deadline: Deadline) -> socket.socket:
    """Opens a TCP connection.

    :raises OSError: the connection failed.
    """
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(deadline.left())
        connection.connect((address.host, address.port))
    except BaseException:
        connection.close()
        raise
    return connection
