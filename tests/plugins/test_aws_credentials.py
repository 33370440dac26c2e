"""Slow credential lookups: requests time out, and only one thread waits for the result."""

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.loaders import Loader

from audiohookd_plugins.aws import Access
from audiohookd_plugins.lazy_credentials import REFRESH_MARGIN, LateCredentials
from tests.plugins.publish_rig import let_in, shut_out
from tests.stores.rude_server import RudeServer, Visit, rude_server

PATIENCE = 0.2
#: So many times PATIENCE is long enough for everything.
OFTEN = 100
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def in_the_end(late: LateCredentials) -> Any:
    """The credentials, once the thread has ended."""
    for _ in range(OFTEN):
        try:
            return late.get_frozen_credentials()
        except CredentialRetrievalError:
            continue
    raise AssertionError("it takes for ever")


class Source:
    """A source of credentials that answers when the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = Event()
        self.found: Any = Credentials("AKID", "secret")

    def look(self) -> Any:
        self.asked += 1
        self.may_answer.wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def source() -> Iterator[Source]:
    one = Source()
    yield one
    one.may_answer.set()


class TestALookupThatHangs:
    def test_times_out_and_is_the_only_one(self, source: Source) -> None:
        late = LateCredentials(source.look, PATIENCE)
        for _ in range(3):
            with pytest.raises(CredentialRetrievalError, match=r"timed out after 0\.2 s"):
                late.get_frozen_credentials()
            late.forget()
        assert source.asked == 1

    def test_serves_later_requests_when_it_ends(self, source: Source) -> None:
        late = LateCredentials(source.look, PATIENCE)
        with pytest.raises(CredentialRetrievalError):
            late.get_frozen_credentials()
        source.may_answer.set()
        assert in_the_end(late).access_key == "AKID"
        assert late.get_deferred_property("access_key")() == "AKID"
        assert source.asked == 1


@pytest.mark.parametrize("found", [None, ValueError("no such profile")])
def test_a_lookup_without_a_result_is_repeated(found: Any, source: Source) -> None:
    source.may_answer.set()
    late = LateCredentials(source.look, OFTEN * PATIENCE)
    source.found = found
    for _ in range(2):
        if found is None:
            assert late.get_frozen_credentials() is None
        else:
            with pytest.raises(ValueError, match="no such profile"):
                late.get_frozen_credentials()
    source.found = Credentials("AKID", "secret")
    assert late.get_frozen_credentials().access_key == "AKID"
    assert source.asked == 3


class TestARenewalThatHangs:
    """A renewal of credentials that expire in so many seconds."""

    def renewed(self, source: Source, seconds: float) -> LateCredentials:
        end = NOW + timedelta(seconds=seconds)
        later = (end + timedelta(days=1)).isoformat()

        def renew() -> dict[str, str]:
            source.look()
            return {"access_key": "AKIDNEW", "secret_key": "secret", "token": "token", "expiry_time": later}

        old = ("AKIDOLD", "secret", "token")
        found = RefreshableCredentials(*old, end, renew, "test", time_fetcher=lambda: self.now)
        self.now: datetime = end - timedelta(hours=1)
        late = LateCredentials(lambda: found, PATIENCE)
        assert in_the_end(late).access_key == "AKIDOLD"
        assert source.asked == 0
        self.now = NOW
        return late

    def test_leaves_the_old_ones_as_long_as_they_are_good(self, source: Source) -> None:
        late = self.renewed(source, REFRESH_MARGIN + 1)
        for _ in range(3):
            assert late.get_frozen_credentials().access_key == "AKIDOLD"
        source.may_answer.set()
        for _ in range(OFTEN):
            if late.get_frozen_credentials().access_key == "AKIDNEW":
                break
            Event().wait(PATIENCE / 10)
        assert late.get_frozen_credentials().access_key == "AKIDNEW"
        assert source.asked == 1

    def test_times_out_when_they_expire(self, source: Source) -> None:
        late = self.renewed(source, REFRESH_MARGIN - 1)
        for _ in range(2):
            with pytest.raises(CredentialRetrievalError):
                late.get_frozen_credentials()
        source.may_answer.set()
        assert in_the_end(late).access_key == "AKIDNEW"
        assert source.asked == 1


# ---- in a client ---------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RudeServer]:
    with rude_server() as one:
        one.answer = refuse
        yield one


def refuse(visit: Visit) -> None:
    body = b'{"__type": "AccessDenied"}'
    visit.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def access(server: RudeServer, loader: Loader | None = None) -> Access:
    config = Config(read_timeout=PATIENCE, retries={"mode": "standard", "total_max_attempts": 1})
    return Access("sqs", "eu-central-1", server.url, config, loader)


def test_a_program_that_hangs(server: RudeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shut_out(monkeypatch)
    pipe, program, config = tmp_path / "pipe", tmp_path / "program", tmp_path / "config"
    os.mkfifo(pipe)
    program.write_text(f"#!/bin/sh\necho >> {tmp_path}/runs\nexec cat {pipe}\n")
    program.chmod(stat.S_IRWXU)
    config.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    one = access(server)
    for _ in range(2):
        with pytest.raises(CredentialRetrievalError):
            one.client().list_queues()
        one.forget()
    pipe.write_text(json.dumps({"Version": 1, "AccessKeyId": "AKIDPROGRAM", "SecretAccessKey": "secret"}))
    for _ in range(OFTEN):
        try:
            one.client().list_queues()
        except CredentialRetrievalError:
            continue
        except ClientError:
            break
    assert "AKIDPROGRAM" in server.heads[-1]
    assert (tmp_path / "runs").read_text() == "\n"


class SlowLoader(Loader):
    """Loads slowly; the AWS configuration is invalid at first, so that a worker thread creates the client."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = Event(), Event()

    def load_service_model(self, *arguments: Any, **options: Any) -> Any:
        self.is_asked.set()
        self.may_answer.wait()
        return super().load_service_model(*arguments, **options)


def test_closing_does_not_wait_for_the_creation_of_the_client(
    server: RudeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reactor's thread closes it."""
    let_in(monkeypatch)
    monkeypatch.setenv("AWS_PROFILE", "absent")
    loader = SlowLoader()
    one = access(server, loader)
    monkeypatch.delenv("AWS_PROFILE")
    making, closing = Thread(target=one.client), Thread(target=one.close)
    making.start()
    try:
        assert loader.is_asked.wait(OFTEN * PATIENCE)
        closing.start()
        closing.join(OFTEN * PATIENCE)
        assert not closing.is_alive()
    finally:
        loader.may_answer.set()
        making.join()
        closing.join()
    assert one.client() is not None
