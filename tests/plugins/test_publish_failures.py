"""Failures of AWS services when notifications are sent, and errors in [plugins.publish]."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd.spool.catalog import Recording
from audiohookd_plugins.notifications.notifier import NotificationRejected
from audiohookd_plugins.publish import PublishConfig, PublishPlugin
from tests.plugins.notification_rig import NotifyingDaemon, a_recording
from tests.plugins.publish_rig import Sender, let_in, shut_out
from tests.plugins.webhook_rig import Exchange, WebhookServer, serving

TOPIC = "arn:aws:sns:eu-west-1:123456789012:calls"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/calls"
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/calls"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(monkeypatch)


@pytest.fixture(scope="module")
def one_server() -> Iterator[WebhookServer]:
    with serving() as one:
        yield one


@pytest.fixture
def server(one_server: WebhookServer) -> WebhookServer:
    """A server without any request yet."""
    one_server.requests.clear()
    one_server.connections = 0
    return one_server


@pytest.fixture(scope="module")
def sender(one_server: WebhookServer) -> Sender:
    """Shared by most tests, since boto3's clients are slow to create."""
    return bus(one_server)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return a_recording(tmp_path)


def bus(server: WebhookServer, **options: Any) -> Sender:
    """A plugin that publishes to an event bus: EventBridge's responses are easy to write."""
    return Sender(f"http://127.0.0.1:{server.server_port}", "eventbridge", "calls", **options)


def error(code: str, message: str = "no", status: int = 400, **headers: str) -> Callable[[Exchange], None]:
    body = json.dumps({"__type": f"com.amazonaws.events#{code}", "message": message}).encode()
    return lambda exchange: exchange.reply(status, body, Content_Length=str(len(body)), **headers)


def entries(*codes: str | None) -> Callable[[Exchange], None]:
    failed = [{"ErrorCode": code, "ErrorMessage": "because"} if code else {"EventId": "1"} for code in codes]
    body = json.dumps({"FailedEntryCount": len([code for code in codes if code]), "Entries": failed}).encode()
    return lambda exchange: exchange.reply(200, body)


FOR_ALL = [
    ("ThrottlingException", 400),
    ("LimitExceededException", 400),
    ("TooManyRequestsException", 400),
    ("InvalidSignatureException", 400),
    ("AccessDeniedException", 400),
    ("ResourceNotFoundException", 400),
    ("KMSAccessDeniedException", 400),
    ("Whatever", 403),
    ("InternalFailure", 500),
    ("ServiceUnavailable", 503),
]
OF_THIS_ONE = ["ValidationException", "InvalidParameterValue", "MalformedDetail", "InvalidMessageContents"]


class TestAnError:
    @pytest.mark.parametrize(("code", "status"), FOR_ALL)
    def test_that_meets_every_notice(
        self, server: WebhookServer, sender: Sender, recording: Recording, code: str, status: int
    ) -> None:
        server.answer = error(code, "because\n of this", status)
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        assert str(fault) == f"{code}: because of this"
        assert len(server.requests) == 1, "it is for the daemon to try again"

    @pytest.mark.parametrize("code", OF_THIS_ONE)
    def test_that_meets_this_one(
        self, server: WebhookServer, sender: Sender, recording: Recording, code: str
    ) -> None:
        server.answer = error(code, "because")
        fault = sender.tell(recording)
        assert isinstance(fault, NotificationRejected)
        assert not isinstance(fault, (Unavailable, Undeliverable))
        assert str(fault) == f"{code}: because"

    def test_that_says_when_to_come_back(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = error("ThrottlingException", status=429, Retry_After="7")
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        assert fault.retry_after == 7.0

    def test_that_goes_on_and_on(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = error("ValidationException", "x" * 10_000)
        assert len(str(sender.tell(recording))) <= 300 + len("... (10021 characters)")


class TestAnEntryThatFailed:
    """EventBridge responds with status 200 all the same."""

    def test_fails_the_notification(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = entries("MalformedDetail")
        fault = sender.tell(recording)
        assert isinstance(fault, NotificationRejected)
        assert str(fault) == "MalformedDetail: because"

    @pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "InternalException", "AccessDenied"])
    def test_may_meet_every_notice(
        self, server: WebhookServer, sender: Sender, recording: Recording, code: str
    ) -> None:
        server.answer = entries(code)
        assert isinstance(sender.tell(recording), Unavailable)

    def test_may_concern_one_notification_only(
        self, server: WebhookServer, sender: Sender, recording: Recording
    ) -> None:
        server.answer = entries(None)
        assert sender.tell(recording) is None


class TestNoAnswer:
    def test_a_reset_connection(self, server: WebhookServer, sender: Sender, recording: Recording) -> None:
        server.answer = Exchange.reset
        assert isinstance(sender.tell(recording), Unavailable)

    def test_a_hang_times_out(self, server: WebhookServer, recording: Recording) -> None:
        server.answer = Exchange.hang
        fault = bus(server, timeout=1.0).tell(recording)
        assert isinstance(fault, Unavailable)
        assert "Timeout" in str(fault)

    def test_a_refused_connection_makes_it_unavailable(self, recording: Recording) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        fault = Sender(f"http://127.0.0.1:{port}", "sns", TOPIC).tell(recording)
        assert isinstance(fault, Unavailable)

    def test_an_unknown_host_makes_it_unavailable(self, recording: Recording) -> None:
        assert isinstance(Sender("https://nowhere.invalid", "sqs", QUEUE).tell(recording), Unavailable)


class TestCredentials:
    def test_that_come_later_are_found(
        self, server: WebhookServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shut_out(monkeypatch)
        server.answer = entries(None)
        sender = bus(server)
        fault = sender.tell(recording)
        assert isinstance(fault, Unavailable)
        assert "credentials" in str(fault)
        assert server.requests == []
        let_in(monkeypatch)
        assert sender.tell(recording) is None

    @pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
    def test_that_expired_are_looked_for_again(
        self, server: WebhookServer, recording: Recording, monkeypatch: pytest.MonkeyPatch, code: str
    ) -> None:
        let_in(monkeypatch, "AKIDOLD")
        sender = bus(server)
        server.answer = error(code)
        assert isinstance(sender.tell(recording), Unavailable)
        let_in(monkeypatch, "AKIDNEW")
        server.answer = entries(None)
        assert sender.tell(recording) is None
        old, new = (request.headers["authorization"] for request in server.requests)
        assert "AKIDOLD" in old
        assert "AKIDNEW" in new

    def test_are_not_looked_for_without_need(
        self, server: WebhookServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sender = bus(server)
        server.answer = error("ThrottlingException")
        sender.tell(recording)
        let_in(monkeypatch, "AKIDNEW")
        sender.tell(recording)
        assert ["AKIDEXAMPLE" in request.headers["authorization"] for request in server.requests] == [True, True]


def test_a_recording_without_a_valid_sidecar_is_undeliverable(
    server: WebhookServer, sender: Sender, recording: Recording
) -> None:
    recording.sidecar.write_text("{")
    assert isinstance(sender.tell(recording), Undeliverable)
    assert server.connections == 0


class TestSettings:
    @pytest.mark.parametrize(
        ("service", "target"),
        [
            ("sns", TOPIC),
            ("sqs", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/calls.fifo"),
            ("eventbridge", BUS),
            ("eventbridge", "arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/default"),
        ],
    )
    def test_the_target_says_the_region(
        self, server: WebhookServer, recording: Recording, monkeypatch: pytest.MonkeyPatch, service: str, target: str
    ) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
        server.answer = error("Whatever")
        Sender(f"http://127.0.0.1:{server.server_port}", service, target, region=None).tell(recording)
        (region,) = re.findall(r"(?:cn-north|eu-west|us-gov-west)-1", target)
        assert f"/{region}/" in server.requests[0].headers["authorization"]

    @pytest.mark.parametrize(
        ("service", "target"), [("sqs", "https://queues.example.com/123456789012/calls"), ("eventbridge", "calls")]
    )
    def test_the_environment_may_say_the_region(
        self,
        server: WebhookServer,
        recording: Recording,
        monkeypatch: pytest.MonkeyPatch,
        service: str,
        target: str,
    ) -> None:
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(ValueError, match=r"^region: is needed: neither target nor AWS's own configuration"):
            Sender(url, service, target, region=None)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
        server.answer = error("Whatever")
        Sender(url, service, target, region=None).tell(recording)
        assert "/sa-east-1/" in server.requests[0].headers["authorization"]

    def test_its_own_configuration_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "absent")
        with pytest.raises(ValueError, match="absent"):
            PublishPlugin(PublishConfig("eventbridge", "calls"), NotifyingDaemon())

    @pytest.mark.parametrize(
        ("service", "targets", "example"),
        [
            ("sns", ["", "calls", BUS, QUEUE, TOPIC + "/x"], "the ARN of a topic, arn:aws:sns:"),
            (
                "sqs",
                ["", "calls", TOPIC, "https://sqs.eu-west-1.amazonaws.com/calls"],
                "the URL of a queue, https://",
            ),
            ("sqs", ["https://me:s3cret@host/123456789012/calls"], "the URL of a queue, https://"),
            ("eventbridge", ["", "a b", TOPIC, QUEUE, "x" * 257], "the name of an event bus, or its ARN, arn:aws:ev"),
        ],
    )
    def test_a_target_that_is_none(self, service: Any, targets: list[str], example: str) -> None:
        for target in targets:
            with pytest.raises(ValueError, match=f"^target: must be {re.escape(example)}") as caught:
                PublishPlugin(PublishConfig(service, target, region="eu-west-1"), NotifyingDaemon())
            assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["localhost:4566", "ftp://localhost/", "https://me:s3cret@localhost/", "http://h/?x=s3cret"]
    )
    def test_an_endpoint_that_is_none(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"^endpoint_url: must ") as caught:
            PublishPlugin(PublishConfig("sns", TOPIC, endpoint_url=url), NotifyingDaemon())
        assert "s3cret" not in str(caught.value)
