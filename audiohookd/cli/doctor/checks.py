"""Runs all checks of ``doctor``, from the URL to the verdict. START READING HERE."""

import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from audiohookd.cli.doctor.network import Address, connect, open_socket, resolve
from audiohookd.cli.doctor.probe import Probe, WebSocketClient, opening, upgrade
from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, State, StepFailed, StepRunner
from audiohookd.cli.doctor.tls import handshake, secure, trusting
from audiohookd.cli.target import Target
from audiohookd.cli.upgrade import Identity, request
from audiohookd.protocol.client.session import ClientSession

#: Seconds for each step. For `opened` and `closed`: as long as Genesys Cloud waits.
_DNS, _TCP, _TLS, _UPGRADE, _OPENED, _CLOSED, _END = 3.0, 3.0, 4.0, 5.0, 5.0, 10.0, 2.0


@dataclass(frozen=True)
class DoctorTarget:
    """The server to check, and the credentials and identity to check it with.

    :param secret: empty for requests that are not signed.
    :param is_private_trust: ``context`` trusts more than Genesys Cloud does.
    :param is_connector: the integration is an Audio Connector.
    """

    target: Target
    key: str = field(repr=False)
    secret: bytes = field(repr=False)
    identity: Identity
    context: ssl.SSLContext
    is_private_trust: bool
    is_connector: bool = False


def run_checks(
    checked: DoctorTarget, write_line: Callable[[str], None], clock: Callable[[], float], now: Callable[[], float]
) -> int:
    """Runs the checks, writes the verdict, and returns the exit code.

    :param clock: monotonic clock, in seconds.
    :param now: wall clock, in UNIX seconds.
    """
    runner = StepRunner(write_line, clock)
    with ExitStack() as open_sockets:
        try:
            _run_steps(checked, runner, clock, now, open_sockets)
        except StepFailed:
            runner.skip("the rest", "needs the step that failed")
    write_line(_verdict(runner.complaints, runner.conditions))
    return 1 if runner.complaints else 0


def _verdict(complaints: Sequence[ActivationError], conditions: Sequence[str]) -> str:
    """States whether Genesys Cloud would activate the integration, as far as this machine can tell."""
    if complaints:
        is_private = ActivationError.PRIVATE_AUTHORITY in complaints
        others = list(
            dict.fromkeys(error.value for error in complaints if error != ActivationError.PRIVATE_AUTHORITY)
        )
        causes = [ActivationError.PRIVATE_AUTHORITY.value] * is_private + others
        rest = "" if others else ". Everything else is correct"
        return f"Genesys Cloud would not activate this integration: {'; '.join(causes)}{rest}."
    provided = f", provided that {' and that '.join(conditions)}" if conditions else ""
    return f"Genesys Cloud would activate this integration{provided}."


def _run_steps(
    checked: DoctorTarget,
    runner: StepRunner,
    clock: Callable[[], float],
    now: Callable[[], float],
    open_sockets: ExitStack,
) -> None:
    target = checked.target
    runner.step("URL", 1.0, lambda _: _address(target))
    address = _reachable(checked, runner)
    connection: socket.socket
    if target.is_secure:
        dial = partial(open_socket, address)
        connection = runner.step("TLS", _TLS, lambda end: _secured(checked, dial, now(), end))
    else:
        connection = runner.step("TCP", _TCP, lambda end: Done(open_socket(address, end), "without TLS"))
    open_sockets.callback(connection.close)
    asked = request(target, checked.key, checked.secret, checked.identity, int(now()))
    rest = runner.step("upgrade", _UPGRADE, lambda end: upgrade(connection, asked, end))
    parameters = opening(checked.identity.organization, channels=1 if checked.is_connector else 2)
    session = ClientSession(checked.identity.session, parameters, clock, plays_audio=checked.is_connector)
    probe = Probe(session, WebSocketClient(connection, rest))
    runner.step("open", _OPENED, probe.open)
    runner.step("close", _CLOSED, probe.close)
    runner.step("end", _END, probe.end)


def _address(target: Target) -> Done[None]:
    wrong = []
    if not target.is_secure:
        wrong.append("ws:// has no TLS, but Genesys Cloud connects only to wss://")
    if target.port != 443:
        wrong.append(f"port {target.port}, but Genesys Cloud connects only to port 443")
    if wrong:
        return Done(None, "; ".join(wrong), State.FAILED, ActivationError.ADDRESS)
    return Done(None, f"{target.host}, path {target.resource}")


def _reachable(checked: DoctorTarget, runner: StepRunner) -> Address:
    """The first address that accepts a connection. All are tried, because Genesys Cloud may use any of them."""
    host, port = checked.target.address
    is_public = checked.target.connect is None
    found = runner.step("DNS", _DNS, lambda end: resolve(host, port, is_public, end))
    if not is_public:
        runner.conditions.append(f"port 443 of {checked.target.host} leads to {host}:{port}")
    taken = []
    for address in found:
        try:
            connection = runner.step("TCP", _TCP, partial(connect, address))
        except StepFailed:
            continue
        if connection is not None:
            connection.close()
            taken.append(address)
    if not taken:
        raise StepFailed("no address accepts a connection")
    return taken[0]


def _secured(
    checked: DoctorTarget, dial: Callable[[Deadline], socket.socket], now: float, deadline: Deadline
) -> Done[ssl.SSLSocket]:
    host = checked.target.host
    done = secure(dial, checked.context, host, now, deadline)
    is_public = _is_public(dial, host, deadline) if checked.is_private_trust else True
    if is_public is False:
        text = f"{done.text}; trusted only with --ca, but Genesys Cloud trusts only public authorities"
        return Done(done.value, text, done.state, ActivationError.PRIVATE_AUTHORITY)
    if is_public is None:
        condition = "a public authority issued its certificate (the second connection, without --ca, got no answer)"
        return Done(done.value, done.text, done.state, condition=condition)
    changed = [f"${name}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    if changed:
        condition = f"a public authority issued its certificate ({', '.join(changed)} changes what is trusted here)"
        return Done(done.value, done.text, done.state, condition=condition)
    return done


def _is_public(dial: Callable[[Deadline], socket.socket], host: str, deadline: Deadline) -> bool | None:
    """Whether the certificate is trusted without --ca. None if the second connection failed for another reason."""
    try:
        handshake(dial(deadline), trusting(None), host, deadline).close()
    except ssl.SSLCertVerificationError:
        return False
    except (StepFailed, OSError):
        return None
    return True
