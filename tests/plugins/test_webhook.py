"""Notifications over HTTP: the requests, and the meaning of the responses."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from twisted.internet.task import Clock
from twisted.python.runtime import seconds
from zope.interface.verify import verifyObject

from audiohookd.interfaces import INotifier, IPlugin, IPluginFactory, Unavailable, Undeliverable
from audiohookd.plugin_host import Daemon
from audiohookd.spool.catalog import Recording
from audiohookd.testing import FakeSession
from audiohookd_plugins.notifications.notifier import NotificationRejected
from audiohookd_plugins.webhook import WebhookConfig, WebhookPlugin
from tests.plugins.notification_rig import ID, NOW, OTHER_ID, a_recording
from tests.plugins.webhook_rig import SECRET, Exchange, Sender, WebhookServer, private_file, serving

pytestmark = pytest.mark.usefixtures("the_system_trusts")


class TestThePlugin:
    def test_keeps_the_contract(self, sender: Sender) -> None:
        assert verifyObject(IPluginFactory, WebhookPlugin)
        assert verifyObject(IPlugin, sender.plugin)
        assert verifyObject(INotifier, sender.plugin)

    def test_watches_no_session(self, sender: Sender) -> None:
        assert sender.plugin.observe(FakeSession()) is None

    def test_has_as_many_threads_as_notices_at_a_time(self, secret_file: Path) -> None:
        sender = Sender(url="https://hooks.example.com/", secret_file=secret_file, concurrency=7)
        ((_, threads, waiting),) = sender.daemon.asked
        assert (sender.plugin.concurrency, threads) == (7, 7)
        assert 0 < waiting <= 7

    def test_there_may_be_several(self, secret_file: Path) -> None:
        senders = [Sender(url=f"https://hooks.example.com/{path}", secret_file=secret_file) for path in "ab"]
        names = {name for sender in senders for name in sender.daemon.claims}
        assert len(names) == 2
        assert "hooks" not in str(names)

    def test_two_tables_must_not_share_a_receiver(self, secret_file: Path) -> None:
        daemon = Daemon(Clock(), lambda: 0.0, None)  # type: ignore[arg-type]
        config = WebhookConfig(url="https://hooks.example.com/a", secret_file=secret_file)
        WebhookPlugin(config, daemon.of_plugin("hook"))
        with pytest.raises(ValueError, match=r"^url: another table notifies the same receiver: \[plugins.hook\]"):
            WebhookPlugin(config, daemon.of_plugin("webhook"))


class TestWhatTheReceiverGets:
    def test_has_a_json_body(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        assert sender.tell(recording) is None
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/recordings")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"] == "audiohookd"
        assert (request.notice["type"], request.notice["data"]["recording"]) == ("recording.stored", ID)

    def test_the_query_goes_with_it(self, server: WebhookServer, secret_file: Path, recording: Recording) -> None:
        assert Sender(url=f"{server.url}?tenant=7", secret_file=secret_file).tell(recording) is None
        assert server.requests[0].target == "/recordings?tenant=7"

    def test_has_a_signature_that_the_reference_library_verifies(
        self, server: WebhookServer, secret_file: Path, recording: Recording
    ) -> None:
        """The reference library checks the time of day."""
        assert Sender(now=seconds(), url=server.url, secret_file=secret_file).tell(recording) is None
        (request,) = server.requests
        assert Webhook(SECRET).verify(request.body, request.headers) == request.notice
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(request.body.replace(b"PCMU", b"PCMA"), request.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET[:-4] + "AAAA").verify(request.body, request.headers)

    def test_says_which_recording_and_when_it_was_sent(
        self, server: WebhookServer, sender: Sender, recording: Recording
    ) -> None:
        sender.tell(recording)
        (request,) = server.requests
        assert request.headers["webhook-id"] == ID
        assert request.headers["webhook-timestamp"] == f"{NOW:.0f}"

    def test_has_one_id_and_one_body_however_often_it_comes(
        self, server: WebhookServer, sender: Sender, secret_file: Path, recording: Recording
    ) -> None:
        server.answers(500, 204)
        assert isinstance(sender.tell(recording), Unavailable)
        sender.daemon.reactor.advance(60)
        assert sender.tell(recording) is None
        restarted = Sender(now=NOW + 9000, url=server.url, secret_file=secret_file)
        assert restarted.tell(recording) is None
        assert len({request.body for request in server.requests}) == 1
        assert {request.headers["webhook-id"] for request in server.requests} == {ID}
        assert [float(request.headers["webhook-timestamp"]) - NOW for request in server.requests] == [0, 60, 9000]
        assert len({request.headers["webhook-signature"] for request in server.requests}) == 3

    def test_has_a_signature_by_each_secret(
        self, server: WebhookServer, tmp_path: Path, recording: Recording
    ) -> None:
        plain = "correct horse battery staple"
        secrets = private_file(tmp_path / "secrets", SECRET, "", plain)
        Sender(now=seconds(), url=server.url, secret_file=secrets).tell(recording)
        (request,) = server.requests
        for secret in (SECRET, plain.encode()):
            assert Webhook(secret).verify(request.body, request.headers) == request.notice

    def test_without_a_secret_there_is_no_signature(self, server: WebhookServer, recording: Recording) -> None:
        assert Sender(url=server.url, allow_unsigned=True).tell(recording) is None
        (request,) = server.requests
        assert request.headers["webhook-id"] == ID
        assert "webhook-timestamp" in request.headers
        assert "webhook-signature" not in request.headers

    def test_contains_the_configured_headers(
        self, server: WebhookServer, secret_file: Path, tmp_path: Path, recording: Recording
    ) -> None:
        headers = private_file(tmp_path / "headers", "Authorization: Bearer a b c", "", "User-Agent:calls/1")
        assert Sender(url=server.url, secret_file=secret_file, headers_file=headers).tell(recording) is None
        (request,) = server.requests
        assert request.headers["authorization"] == "Bearer a b c"
        assert request.headers["user-agent"] == "calls/1"
        assert request.headers["content-type"] == "application/json"

    def test_comes_over_one_connection(self, server: WebhookServer, sender: Sender, tmp_path: Path) -> None:
        bodies = iter([(204, b""), (200, b"ok"), (200, b""), (404, b"no")])
        server.answer = lambda exchange: exchange.reply(*next(bodies))
        for number in range(4):
            sender.tell(a_recording(tmp_path / "spool", recording_id=f"{number}{ID[1:]}"))
        assert (len(server.requests), server.connections) == (4, 1)


def chunked_without_end(exchange: Exchange) -> None:
    exchange.reply(200, Transfer_Encoding="chunked")
    while not exchange.server.over.wait(0):
        exchange.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")


def cut_off(exchange: Exchange) -> None:
    exchange.reply(200, b"half", Content_Length="1000000")
    exchange.reset()


def drip(exchange: Exchange) -> None:
    exchange.reply(200, b"half", Content_Length="1000000")
    while not exchange.server.over.wait(0.02):
        exchange.wfile.write(b".")


def stall(exchange: Exchange) -> None:
    exchange.reply(200, Content_Length="1000000")
    exchange.hang()


class TestAnAnswer:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_that_accepts_is_a_success(
        self, server: WebhookServer, sender: Sender, recording: Recording, status: int
    ) -> None:
        server.answers(status)
        assert sender.tell(recording) is None
        assert len(server.requests) == 1

    @pytest.mark.parametrize("answer", [chunked_without_end, cut_off, drip])
    def test_that_accepts_whatever_its_body_does(
        self, server: WebhookServer, sender: Sender, recording: Recording, answer: Callable[[Exchange], None]
    ) -> None:
        server.answer = answer
        assert sender.tell(recording) is None
        server.answers(204)
        assert sender.tell(recording) is None
        assert (len(server.requests), server.connections) == (2, 2)

    def test_that_accepts_but_whose_body_never_comes(
        self, server: WebhookServer, secret_file: Path, recording: Recording
    ) -> None:
        server.answer = stall
        assert Sender(url=server.url, secret_file=secret_file, timeout=1.0).tell(recording) is None

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
    def test_that_asks_for_patience(
        self, server: WebhookServer, sender: Sender, recording: Recording, status: int
    ) -> None:
        server.answers(status)
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        assert str(fault) == f"http://127.0.0.1:{server.server_port} answered {status}"
        assert fault.retry_after is None
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("header", "wait"),
        [
            ("120", 120.0),
            ("0", 0.0),
            ("999999999", 86_400.0),
            ("Thu, 01 Jan 2026 12:21:30 GMT", 90.0),
            ("Thu, 01 Jan 2026 12:21:30 -0000", 90.0),
            ("Thu, 01 Jan 2026 12:00:00 GMT", 0.0),
            ("-5", None),
            ("soon", None),
            ("Thu, 99 Jan 2026 12:00:00 GMT", None),
            ("Fri, 01 Jan 99999999999999 00:00:00 GMT", None),
            ("9" * 5000, None),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_that_says_for_how_long(
        self, server: WebhookServer, sender: Sender, recording: Recording, status: int, header: str, wait: Any
    ) -> None:
        server.answers(status, Retry_After=header)
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        assert fault.retry_after == wait

    @pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 410, 413, 422])
    def test_that_refuses_this_notice(
        self, server: WebhookServer, sender: Sender, recording: Recording, status: int
    ) -> None:
        """The receiver may accept another one, and this one later."""
        server.answers(status)
        fault = sender.tell(recording)
        assert isinstance(fault, NotificationRejected)
        assert not isinstance(fault, (Unavailable, Undeliverable))
        assert str(fault) == f"http://127.0.0.1:{server.server_port} answered {status}"

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_that_sends_us_elsewhere_is_not_followed(
        self, server: WebhookServer, sender: Sender, recording: Recording, status: int
    ) -> None:
        with serving() as elsewhere:
            server.answers(status, Location=elsewhere.url)
            assert isinstance(sender.tell(recording), NotificationRejected)
            assert elsewhere.connections == 0

    def test_that_says_why(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = lambda exchange: exchange.reply(422, b'no such "tenant"\n\x1b[31m\xff' + b"x" * 100_000)
        text = str(sender.tell(recording))
        assert 'answered 422: \'no such "tenant"\\n\\u001b[31m' in text
        assert len(text) < 300
        assert text.isprintable()

    def test_that_says_why_and_breaks_off(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.reply(422, b"no such", Content_Length="100")
            exchange.close_connection = True

        server.answer = answer
        fault = sender.tell(recording)
        assert isinstance(fault, NotificationRejected)
        assert "no such" in str(fault)


class TestNoAnswer:
    def test_a_reset_connection(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = Exchange.reset
        assert isinstance(sender.tell(recording), Unavailable)
        assert {request.headers["webhook-id"] for request in server.requests} == {ID}

    def test_a_hang_times_out(self, server: WebhookServer, secret_file: Path, recording: Recording) -> None:
        server.answer = Exchange.hang
        fault = Sender(url=server.url, secret_file=secret_file, timeout=0.1).tell(recording)
        assert isinstance(fault, Unavailable)
        assert "timed out" in str(fault)
        assert len(server.requests) == 1

    def test_something_that_is_not_http(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = lambda exchange: (exchange.wfile.write(b"SSH-2.0-x\r\n\r\n"), exchange.reset())[1]
        assert isinstance(sender.tell(recording), Unavailable)

    def test_an_idle_connection_that_was_closed_is_replaced(
        self, server: WebhookServer, sender: Sender, recording: Recording
    ) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.reply(204)
            exchange.close_connection = True

        server.answer = answer
        assert [sender.tell(recording) for _ in range(9)] == [None] * 9
        assert server.connections >= 9

    def test_a_refused_connection_makes_it_unavailable(self, secret_file: Path, recording: Recording) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        fault = Sender(url=f"http://127.0.0.1:{port}/", secret_file=secret_file).tell(recording)
        assert isinstance(fault, Unavailable)
        assert "refused" in str(fault)

    def test_an_unknown_host_makes_it_unavailable(self, secret_file: Path, recording: Recording) -> None:
        fault = Sender(url="https://nowhere.invalid/", secret_file=secret_file).tell(recording)
        assert isinstance(fault, Unavailable)
        assert str(fault).startswith("https://nowhere.invalid: ")


class TestARecordingWithoutAValidSidecar:
    def test_counts_as_undeliverable_without_a_request(
        self, server: WebhookServer, sender: Sender, recording: Recording
    ) -> None:
        recording.sidecar.write_text("{")
        assert isinstance(sender.tell(recording), Undeliverable)
        assert server.connections == 0

    def test_does_not_hold_up_others(self, server: WebhookServer, sender: Sender, tmp_path: Path) -> None:
        recordings = [a_recording(tmp_path / "spool", recording_id=one) for one in (ID, OTHER_ID)]
        recordings[0].sidecar.unlink()
        assert [type(sender.tell(one)) for one in recordings] == [FileNotFoundError, type(None)]
        assert [request.headers["webhook-id"] for request in server.requests] == [OTHER_ID]


def test_secrets_stay_secret(server: WebhookServer, tmp_path: Path, recording: Recording) -> None:
    """Also if the receiver echoes the request, as some do in error pages."""

    def echo(exchange: Exchange) -> None:
        request = server.requests[-1]
        said = [*private[:3], request.target, *request.headers.values()]
        exchange.reply(next(statuses), f"what is {said}?".encode()[:900])

    statuses = iter([400, 503])
    server.answer = echo
    private = ["tok3n-of-the-query", "tok3n-of-the-path", "tok3n-of-the-header", SECRET.removeprefix("whsec_")]
    options: dict[str, Any] = {
        "url": server.url + "/tok3n-of-the-path?key=tok3n-of-the-query",
        "secret_file": private_file(tmp_path / "secret", SECRET),
        "headers_file": private_file(tmp_path / "headers", "X-Api-Key: tok3n-of-the-header"),
    }
    sender = Sender(**options)
    faults = [sender.tell(recording), sender.tell(recording)]
    server.answer = Exchange.reset
    faults.append(sender.tell(recording))
    gone = Sender(**{**options, "url": "https://nowhere.invalid/tok3n-of-the-path?key=tok3n-of-the-query"})
    faults.append(gone.tell(recording))
    assert [type(fault) for fault in faults] == [NotificationRejected, Unavailable, Unavailable, Unavailable]
    shown = [text for fault in faults for text in (str(fault), repr(fault), repr(fault.__cause__))]
    shown += [repr(value) for value in vars(sender.plugin).values()] + [repr(sender.plugin), str(sender.daemon.asked)]
    assert r"answered 400: 'what is [\'...\'," in str(faults[0])
    assert [text for text in shown for secret in private if secret in text] == []
    (request, *_) = server.requests
    assert request.headers["x-api-key"] == "tok3n-of-the-header"
