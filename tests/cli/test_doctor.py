"""``audiohookctl doctor`` against servers with one error each. A correct server is tested in functional/."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from audiohookd.cli.doctor import steps
from audiohookd.cli.doctor.checks import _verdict
from audiohookd.cli.doctor.network import Address, _judged
from audiohookd.cli.doctor.probe import upgrade
from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, State, StepFailed, StepRunner
from audiohookd.cli.doctor.tls import Certificate, secure, why_untrusted
from audiohookd.cli.main import main
from audiohookd.cli.upgrade import Request, Response, meaning
from tests.cli.tls_front import HOST, Pair, answering, fronting, pair

KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
TEXT = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
URL = f"wss://{HOST}/api/v1/audiohook/ws"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("ca") / "ca.pem", "Throw-Away CA", ca=True)


@pytest.fixture
def good(authority: Pair, tmp_path: Path) -> Pair:
    return pair(tmp_path / "good.pem", issuer=authority)


@pytest.fixture
def doctor(
    authority: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, str]]]:
    """Runs the command. Returns the exit code, and the text of each step by name; the verdict has the name ''."""
    (tmp_path / "secret").write_text(TEXT)

    def run(port: int, url: str = URL, *more: str) -> tuple[int, dict[str, str]]:
        options = ["--key", KEY, "--secret-file", str(tmp_path / "secret"), "--ca", str(authority.file)]
        code = main(["doctor", url, *options, "--connect", f"127.0.0.1:{port}", *more])
        said = capsys.readouterr().out
        assert KEY not in said
        assert TEXT[:10] not in said
        *lines, verdict = said.splitlines()
        return code, {line.split()[0]: " ".join(line.split()[1:]) for line in lines} | {"": verdict}

    return run


def test_a_port_without_a_listener_is_refused(doctor: Callable[..., tuple[int, dict[str, str]]]) -> None:
    code, said = doctor(9)
    assert code == 1
    assert said["URL"].startswith("ok")
    assert "refused: nothing listens there" in said["TCP"]
    assert said[""].endswith('something like "WebSocket connection failed".')


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda file, _: pair(file), "the certificate is self-signed"),
        (lambda file, ca: pair(file, issuer=ca, days=(-90, -3)), "the certificate expired on"),
        (lambda file, ca: pair(file, issuer=ca, days=(2, 90)), "the certificate is not valid before"),
        (lambda file, ca: pair(file, issuer=ca, san=False), f"the certificate is for no name, not for {HOST}"),
        (lambda file, ca: pair(file, "other.example.com", ca), f"is for other.example.com, not for {HOST}"),
        (
            lambda file, _: pair(file, issuer=pair(file.with_name("x"), "Other CA", ca=True)),
            "the issuer Other CA is unknown",
        ),
    ],
    ids=["self-signed", "expired", "not yet valid", "wrong name", "no subjectAltName", "unknown issuer"],
)
def test_an_untrusted_certificate_is_explained(
    make: Callable[[Path, Pair], Pair],
    told: str,
    authority: Pair,
    tmp_path: Path,
    doctor: Callable[..., tuple[int, dict[str, str]]],
) -> None:
    with answering(b"HTTP/1.1 401 \r\n\r\n") as backend, fronting(backend, make(tmp_path / "bad", authority)) as port:
        code, said = doctor(port)
    assert code == 1
    assert said["TLS"].startswith("failed")
    assert told in said["TLS"]
    assert "upgrade" not in said, "an API key was sent to an untrusted server"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "401 Unauthorized: key or signature rejected"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found: nothing is served at this path"),
        (b"HTTP/1.1 403 Forbidden\r\nServer: waf\r\n\r\n", "forbidden by a list of allowed addresses"),
        (
            b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 6\r\n\r\n<html>",
            "upstream address right? (sent by nginx, not by the daemon: the response has a page of its own)",
        ),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", "to https://x/, but Genesys Cloud follows none"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "a web page instead of a WebSocket"),
        (b"HTTP/1.1 418 I'm a teapot\r\n\r\n", "see the logs of the proxy"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Sec-WebSocket-Accept is wrong"),
        (b"220 smtp.example.com\r\n\r\n", "the response is not HTTP"),
        (b"", "closed without a response"),
    ],
    ids=lambda value: value[:16].decode() if isinstance(value, bytes) else "",
)
def test_other_responses_are_explained(
    answer: bytes, told: str, good: Pair, doctor: Callable[..., tuple[int, dict[str, str]]]
) -> None:
    with answering(answer) as backend, fronting(backend, good) as port:
        code, said = doctor(port)
    assert code == 1
    assert said["TLS"].startswith("ok")
    assert "trusted only with --ca" in said["TLS"]
    assert told in said["upgrade"]


def test_unauthorized_differs_from_a_failed_connection(
    good: Pair, doctor: Callable[..., tuple[int, dict[str, str]]]
) -> None:
    with answering(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as backend, fronting(backend, good) as port:
        _, said = doctor(port)
    assert said[""].endswith("rejects this key and secret.")


def test_a_hanging_server_times_out() -> None:
    with answering(None) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        with pytest.raises(StepFailed, match="timed out: no response to the request"):
            upgrade(connection, Request(b"GET / HTTP/1.1\r\n\r\n", ""), Deadline(time.monotonic, 0.2))
        with pytest.raises(StepFailed, match="is it a TLS port"):
            secure(
                lambda _: socket.create_connection(("127.0.0.1", port)),
                ssl.create_default_context(),
                HOST,
                0.0,
                Deadline(time.monotonic, 0.2),
            )


def test_a_port_without_tls_is_explained(doctor: Callable[..., tuple[int, dict[str, str]]]) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        code, said = doctor(port)
    assert code == 1
    assert "does not speak TLS" in said["TLS"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"ws://{HOST}:443/x", "has no TLS, but Genesys Cloud connects only to wss://"),
        (
            f"ws://{HOST}/x",
            (
                "ws:// has no TLS, but Genesys Cloud connects only to wss://;"
                " port 80, but Genesys Cloud connects only to port 443"
            ),
        ),
        (f"wss://{HOST}:8443/x", "port 8443, but Genesys Cloud connects only to port 443"),
    ],
)
def test_an_address_that_genesys_rejects_is_explained(
    url: str, told: str, good: Pair, doctor: Callable[..., tuple[int, dict[str, str]]]
) -> None:
    code, said = doctor(9, url)
    assert code == 1
    assert told in said["URL"]
    verdict = f"it accepts only wss:// and only port 443; {ActivationError.CONNECTION}."
    assert said[""].endswith(verdict), "the address, and that nothing listens there"


@pytest.mark.parametrize(
    ("addresses", "condition"),
    [
        (["93.184.215.14"], ""),
        (["10.1.2.3"], "the public DNS has a public address for this name"),
        (["93.184.215.14", "10.1.2.3"], "the public DNS has a public address for this name"),
    ],
)
def test_a_private_address_is_a_condition(addresses: list[str], condition: str) -> None:
    found = [Address(socket.AF_INET, address, 443) for address in addresses]
    assert _judged(found, is_public=True).condition == condition
    assert _judged(found, is_public=False).condition == ""


def test_the_verdict_names_conditions_that_cannot_be_checked() -> None:
    assert _verdict([], []) == "Genesys Cloud would activate this integration."
    assert _verdict([], ["a", "b"]) == "Genesys Cloud would activate this integration, provided that a and that b."
    private = _verdict([ActivationError.PRIVATE_AUTHORITY], ["a"])
    assert "would not activate" in private
    assert private.endswith("it trusts only public certificate authorities, not --ca. Everything else is correct.")
    both = _verdict([ActivationError.PRIVATE_AUTHORITY, ActivationError.LATE, ActivationError.MALFORMED], [])
    assert both.endswith(f"not --ca; {ActivationError.LATE}; {ActivationError.MALFORMED}.")
    assert (
        _verdict([ActivationError.CONNECTION, ActivationError.LATE, ActivationError.CONNECTION], []).count(
            "connection failed"
        )
        == 1
    )


def test_an_unknown_name_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text(TEXT)
    code = main(["doctor", "wss://name.invalid/x", "--key", KEY, "--secret-file", str(tmp_path / "secret")])
    said = capsys.readouterr().out
    assert code == 1
    assert "no such name" in said or "name servers do not answer" in said


def test_a_ca_file_without_certificates_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text(TEXT)
    options = ["--key", KEY, "--secret-file", str(tmp_path / "secret"), "--ca", str(tmp_path / "secret")]
    assert main(["doctor", URL, *options]) == 2
    assert "contains no certificates" in capsys.readouterr().err


# ---- steps and their time ------------------------------------------------------------------------------


class Watch:
    """A clock that only the test advances."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_step_has_its_limit_and_all_have_one() -> None:
    watch = Watch()
    said: list[str] = []
    limits: list[float] = []

    def slow(deadline: Deadline) -> Done[None]:
        limits.append(deadline.left())
        watch.now += deadline.left()
        return Done(None, "done")

    runner = StepRunner(said.append, watch, total=12.0)
    for name in "abc":
        runner.step(name, 5.0, slow)
    with pytest.raises(StepFailed):
        runner.step("d", 5.0, slow)
    assert limits == [5.0, 5.0, 2.0]
    assert said[0] == "a          ok       5.000 s  done"
    assert said[3].startswith("d          failed")
    assert runner.complaints == [ActivationError.CONNECTION]


def test_all_steps_together_end_after_twenty_seconds() -> None:
    assert steps.TOTAL == 20.0


def test_a_failure_with_a_value_is_a_complaint() -> None:
    said: list[str] = []
    runner = StepRunner(said.append, Watch())
    value = runner.step("x", 1.0, lambda _: Done(5, "bad\x1b[2J", State.FAILED, ActivationError.MALFORMED))
    assert (value, runner.complaints) == (5, [ActivationError.MALFORMED])
    assert "\x1b" not in said[0]


def test_a_missing_intermediate_differs_from_a_private_authority(tmp_path: Path) -> None:
    fault = ssl.SSLCertVerificationError()
    fault.verify_code = 20
    private = Certificate(_der(pair(tmp_path / "a.pem")), 0.0)
    assert "a private authority, or the intermediate certificate is missing" in why_untrusted(fault, HOST, private)


def _der(pair: Pair) -> bytes:
    return pair.certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 429, 431, 500, 502, 503, 504])
def test_every_status_has_an_explanation(status: int) -> None:
    assert meaning(Response(status, "", {}, b"")) != meaning(Response(599, "", {}, b""))
