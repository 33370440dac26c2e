"""Receivers and services with responses that never end, or take very long."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audiohookd.interfaces import INotifier, Unavailable
from audiohookd_plugins.publish import PublishConfig, PublishPlugin
from audiohookd_plugins.webhook import WebhookConfig, WebhookPlugin
from tests.plugins.notification_rig import NotifyingDaemon, a_recording
from tests.plugins.publish_rig import REGION, let_in
from tests.plugins.webhook_rig import certificate
from tests.stores.rude_server import (
    DRIBBLED_ANSWERS,
    ENDLESS_ANSWERS,
    ON_THEIR_WAY,
    Answer,
    RudeServer,
    Visit,
    endless_error,
    endless_headers,
    endless_patience,
    endless_size_of_a_chunk,
    endless_status_line,
    endless_success,
    rude_server,
)

Make = Callable[[NotifyingDaemon, str, float], INotifier]


def webhook(daemon: NotifyingDaemon, url: str, timeout: float) -> INotifier:
    return WebhookPlugin(WebhookConfig(url=url, allow_unsigned=True, timeout=timeout), daemon)


def publish(daemon: NotifyingDaemon, url: str, timeout: float) -> INotifier:
    return PublishPlugin(PublishConfig("eventbridge", "calls", REGION, url, timeout), daemon)


@pytest.fixture
def server() -> Iterator[RudeServer]:
    with rude_server() as one:
        yield one


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(monkeypatch)


def told(make: Make, url: str, directory: Path, timeout: float = 30.0) -> Exception | None:
    daemon = NotifyingDaemon()
    return daemon.tell(make(daemon, url, timeout), a_recording(directory))


@pytest.mark.parametrize("answer", ENDLESS_ANSWERS, ids=lambda answer: answer.__name__)
@pytest.mark.parametrize("make", [webhook, publish])
def test_no_more_is_read_than_an_answer_can_have(
    make: Make, answer: Answer, server: RudeServer, tmp_path: Path
) -> None:
    server.answer = answer
    assert isinstance(told(make, server.url, tmp_path), Unavailable)
    assert server.said < ON_THEIR_WAY


@pytest.mark.parametrize("answer", [endless_headers, endless_status_line, endless_patience], ids=lambda a: a.__name__)
def test_the_reason_is_clear(answer: Answer, server: RudeServer, tmp_path: Path) -> None:
    server.answer = answer
    assert "the answer has more than 65536 bytes" in str(told(webhook, server.url, tmp_path))


@pytest.mark.parametrize("answer", [endless_error, endless_size_of_a_chunk], ids=lambda a: a.__name__)
def test_a_webhook_response_counts_by_its_status(answer: Answer, server: RudeServer, tmp_path: Path) -> None:
    server.answer = answer
    assert "answered 500" in str(told(webhook, server.url, tmp_path))


def test_a_service_response_must_be_complete(server: RudeServer, tmp_path: Path) -> None:
    server.answer = endless_success
    assert "the answer has more than 1048576 bytes" in str(told(publish, server.url, tmp_path))
    assert server.said < ON_THEIR_WAY


@pytest.mark.parametrize("answer", DRIBBLED_ANSWERS, ids=lambda answer: answer.__name__)
@pytest.mark.parametrize("make", [webhook, publish])
def test_an_answer_has_its_time_however_it_comes(
    make: Make, answer: Answer, server: RudeServer, tmp_path: Path
) -> None:
    server.answer = answer
    fault = told(make, server.url, tmp_path, timeout=1.0)
    assert isinstance(fault, Unavailable)
    assert "Read time" in str(fault)
    assert not server.was_heard


class TestWithTls:
    @pytest.fixture
    def server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RudeServer]:
        files = certificate(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(files.chain))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(files.chain))
        with rude_server(*files) as one:
            yield one

    @pytest.mark.parametrize("make", [webhook, publish])
    def test_the_limits_are_the_same(self, make: Make, server: RudeServer, tmp_path: Path) -> None:
        server.answer = endless_headers
        fault = told(make, server.url, tmp_path)
        assert "the answer has more than" in str(fault)
        assert server.said < ON_THEIR_WAY
        assert len(server.heads) == 1, "and it was let in"


def test_a_proxy_has_the_same_limits(server: RudeServer, tmp_path: Path) -> None:
    def connect(visit: Visit) -> None:
        assert visit.server.heads[-1].startswith("CONNECT hooks.example.com:443 ")
        endless_headers(visit)

    def through_it(daemon: NotifyingDaemon, url: str, timeout: float) -> INotifier:
        config = WebhookConfig("https://hooks.example.com/x", allow_unsigned=True, proxy=url, timeout=timeout)
        return WebhookPlugin(config, daemon)

    server.answer = connect
    assert "the answer has more than 65536 bytes" in str(told(through_it, server.url, tmp_path))
    assert server.said < ON_THEIR_WAY
