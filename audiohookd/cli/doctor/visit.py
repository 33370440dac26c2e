"""The examination itself, from the URL to the verdict. START READING HERE."""

import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from audiohookd.cli.call.options import Target
from audiohookd.cli.doctor.answer import upgrade
from audiohookd.cli.doctor.network import Address, connect, open_socket, resolve
from audiohookd.cli.doctor.probe import Probe, opening
from audiohookd.cli.doctor.steps import Complaint, Deadline, Done, Examination, State, Trouble
from audiohookd.cli.doctor.tls import handshake, secure, trusting
from audiohookd.cli.doctor.wire import Wire
from audiohookd.cli.request import Identity, Signing, headers_of, upgrade_headers
from audiohookd.protocol.client import ClientSession

#: Seconds for each step; `opened` and `closed` as Genesys Cloud waits.
_DNS, _TCP, _TLS, _UPGRADE, _OPENED, _CLOSED, _END = 3.0, 3.0, 4.0, 5.0, 5.0, 10.0, 2.0


@dataclass(frozen=True)
class Patient:
    """What is examined, and as whom.

    :param secret: empty for requests that are not signed.
    :param is_private_trust: ``context`` trusts more than Genesys Cloud does.
    :param connect: host and port to connect to, whatever the URL says; None for what it says.
    """

    target: Target
    key: str = field(repr=False)
    secret: bytes = field(repr=False)
    identity: Identity
    context: ssl.SSLContext
    is_private_trust: bool = False
    connect: tuple[str, int] | None = None


def visit(
    patient: Patient, say: Callable[[str], None], clock: Callable[[], float], now: Callable[[], float]
) -> int:
    """Examines; returns the exit code.

    :param clock: monotonic, in seconds.
    :param now: UNIX seconds.
    """
    examination = Examination(say, clock)
    with ExitStack() as open_sockets:
        try:
            _examine(patient, examination, clock, now, open_sockets)
        except Trouble:
            examination.skip("the rest", "it takes what failed")
    say(_verdict(examination.complaints, examination.conditions))
    return 1 if examination.complaints else 0


def _verdict(complaints: Sequence[Complaint], conditions: Sequence[str]) -> str:
    """What Genesys Cloud would do, for all that can be seen from here."""
    if complaints:
        is_private = Complaint.PRIVATE_AUTHORITY in complaints
        others = list(dict.fromkeys(one.value for one in complaints if one != Complaint.PRIVATE_AUTHORITY))
        causes = [Complaint.PRIVATE_AUTHORITY.value] * is_private + others
        rest = "" if others else ". All else is right"
        return f"Genesys Cloud would not activate this integration: {'; '.join(causes)}{rest}."
    provided = f", provided that {' and that '.join(conditions)}" if conditions else ""
    return f"Genesys Cloud would activate this integration{provided}."


def _examine(
    patient: Patient,
    examination: Examination,
    clock: Callable[[], float],
    now: Callable[[], float],
    open_sockets: ExitStack,
) -> None:
    target = patient.target
    examination.step("URL", 1.0, lambda _: _address(target))
    address = _reachable(patient, examination)
    connection: socket.socket
    if target.is_secure:
        dial = partial(open_socket, address)
        connection = examination.step("TLS", _TLS, lambda end: _secured(patient, dial, now(), end))
    else:
        connection = examination.step("TCP", _TCP, lambda end: Done(open_socket(address, end), "without TLS"))
    open_sockets.callback(connection.close)
    rest = examination.step("upgrade", _UPGRADE, lambda end: _upgrade(patient, connection, int(now()), end))
    session = ClientSession(patient.identity.session, opening(patient.identity.organization), clock)
    probe = Probe(session, Wire(connection, rest))
    examination.step("open", _OPENED, probe.open)
    examination.step("close", _CLOSED, probe.close)
    examination.step("end", _END, probe.end)


def _address(target: Target) -> Done[None]:
    wrong = []
    if not target.is_secure:
        wrong.append("ws:// has no TLS, and Genesys Cloud calls wss:// only")
    if target.port != 443:
        wrong.append(f"port {target.port}, and Genesys Cloud calls port 443 only")
    if wrong:
        return Done(None, "; ".join(wrong), State.FAILED, Complaint.ADDRESS)
    return Done(None, f"{target.host}, path {target.resource}")


def _reachable(patient: Patient, examination: Examination) -> Address:
    """The first address that takes a connection. All are tried: Genesys Cloud may take any."""
    host, port = patient.connect or (patient.target.host, patient.target.port)
    found = examination.step("DNS", _DNS, lambda end: resolve(host, port, patient.connect is None, end))
    if patient.connect is not None:
        examination.conditions.append(f"port 443 of {patient.target.host} leads to {host}:{port}")
    taken = []
    for address in found:
        try:
            connection = examination.step("TCP", _TCP, partial(connect, address))
        except Trouble:
            continue
        if connection is not None:
            connection.close()
            taken.append(address)
    if not taken:
        raise Trouble("no address takes a connection")
    return taken[0]


def _secured(
    patient: Patient, dial: Callable[[Deadline], socket.socket], now: float, deadline: Deadline
) -> Done[ssl.SSLSocket]:
    host = patient.target.host
    done = secure(dial, patient.context, host, now, deadline)
    is_public = _is_public(dial, host, deadline) if patient.is_private_trust else True
    if is_public is False:
        text = f"{done.text}; trusted with --ca, and Genesys Cloud trusts public authorities only"
        return Done(done.value, text, done.state, Complaint.PRIVATE_AUTHORITY)
    if is_public is None:
        condition = "its certificate is a public authority's (a second connection, without --ca, was not answered)"
        return Done(done.value, done.text, done.state, condition=condition)
    changed = [f"${name}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    if changed:
        condition = f"its certificate is a public authority's ({', '.join(changed)} says what is trusted here)"
        return Done(done.value, done.text, done.state, condition=condition)
    return done


def _is_public(dial: Callable[[Deadline], socket.socket], host: str, deadline: Deadline) -> bool | None:
    """The certificate is trusted without --ca, too; None where that could not be found out."""
    try:
        handshake(dial(deadline), trusting(None), host, deadline).close()
    except ssl.SSLCertVerificationError:
        return False
    except (Trouble, OSError):
        return None
    return True


def _upgrade(patient: Patient, connection: socket.socket, created: int, deadline: Deadline) -> Done[bytes]:
    own = headers_of(patient.target, patient.key, patient.secret, patient.identity, Signing(created))
    headers = {**own, **upgrade_headers()}
    lines = [f"GET {patient.target.resource} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return upgrade(connection, "\r\n".join([*lines, "", ""]), headers["Sec-WebSocket-Key"], deadline)
