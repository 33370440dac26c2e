"""AWS clients: created before the first request, and without a network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, ProfileNotFound

from audiohookd_plugins.aws import Access
from tests.plugins.publish_rig import let_in, shut_out
from tests.stores.rude_server import RudeServer, Visit, rude_server

CONTAINERS_OWN = {
    "AccessKeyId": "AKIDCONTAINER",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": "2100-01-01T00:00:00Z",
}


@pytest.fixture
def server() -> Iterator[RudeServer]:
    """Every service, and the source of credentials."""
    with rude_server() as one:
        one.answer = answer
        yield one


def answer(visit: Visit) -> None:
    """Returns credentials when asked for them, and otherwise an error in the service's own format."""
    head = visit.server.heads[-1]
    if "/credentials" in head.split("\r\n")[0]:
        status, body = b"200 OK", json.dumps(CONTAINERS_OWN).encode()
    elif "/sts/" in head:
        status, body = b"403 Forbidden", b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    else:
        status, body = b"403 Forbidden", b'{"__type": "AccessDenied"}'
    visit.say(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


def access(server: RudeServer, name: str = "sqs") -> Access:
    attempts = {"mode": "standard", "total_max_attempts": 1}
    return Access(name, "eu-central-1", server.url, Config(read_timeout=5.0, retries=attempts))


def ask(one: Access) -> Any:
    return one.client().list_queues()


def signed_by(server: RudeServer) -> str:
    (line,) = (line for line in server.heads[-1].split("\r\n") if line.lower().startswith("authorization:"))
    return line


def test_a_network_is_asked_when_there_is_something_to_ask(
    server: RudeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut_out(monkeypatch)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url + "/credentials")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
    for name in ("s3", "sqs"):
        one = access(server, name)
        assert one.client() is one.client()
    assert server.heads == []
    with pytest.raises(ClientError):
        ask(one)
    assert [head.split()[1] for head in server.heads] == ["/credentials", "/"]
    assert "AKIDCONTAINER" in signed_by(server)


def test_credentials_are_kept_until_they_are_of_no_use(server: RudeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(monkeypatch, "AKIDOLD")
    one = access(server)
    signed = []
    for forgets in (False, True, False):
        with pytest.raises(ClientError):
            ask(one)
        signed.append(signed_by(server))
        let_in(monkeypatch, "AKIDNEW")
        if forgets:
            one.forget()
    assert ["AKIDOLD" in line for line in signed] == [True, True, False]
    assert "AKIDNEW" in signed[-1]


def test_without_credentials_requests_fail(server: RudeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shut_out(monkeypatch)
    one = access(server)
    with pytest.raises(NoCredentialsError):
        ask(one)
    let_in(monkeypatch)
    with pytest.raises(ClientError):
        ask(one)


def test_a_corrected_configuration_takes_effect(server: RudeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(monkeypatch)
    monkeypatch.setenv("AWS_PROFILE", "absent")
    one = access(server)
    with pytest.raises(ProfileNotFound):
        ask(one)
    monkeypatch.delenv("AWS_PROFILE")
    with pytest.raises(ClientError):
        ask(one)


def test_assuming_a_role_uses_the_configured_region(
    server: RudeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where only audiohookd's configuration names a region."""
    shut_out(monkeypatch)
    config = tmp_path / "config"
    config.write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = own\n"
        "[profile own]\naws_access_key_id = AKIDSOURCE\naws_secret_access_key = secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    with pytest.raises(ClientError):
        ask(access(server))
    assert "/eu-central-1/sts/" in signed_by(server)


class TestARegionThatIsNotNamed:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    @pytest.mark.parametrize("name", ["s3", "sqs"])
    def test_raises_an_error_at_the_start(self, name: str) -> None:
        """For S3 botocore would use us-east-1, which S3 in another region rejects each time."""
        with pytest.raises(ValueError, match=r"\Aregion: is needed: neither this table nor AWS_DEFAULT_REGION nor"):
            Access(name, None, None, Config())

    def test_may_be_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        assert Access("s3", None, None, Config()).client().meta.region_name == "eu-west-1"

    def test_may_be_in_the_profile(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("[default]\nregion = eu-west-2\n")
        assert Access("s3", None, None, Config()).client().meta.region_name == "eu-west-2"

    def test_does_not_matter_with_an_endpoint_url(self) -> None:
        assert Access("s3", None, "https://store.example", Config()).client() is not None
