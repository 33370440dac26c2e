"""Keys in AWS Secrets Manager, as moto plays it."""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.keys.model import UNSIGNED, IKeySource, KeySourceError, SourceUnavailable
from audiohookd.auth.keys.sources.secretsmanager import SecretsManager
from audiohookd.config.schema import AwsSecret
from audiohookd.observe.counters import Counters
from audiohookd.testing import MemoryWorkers
from tests.stores.ports import free_ports
from tests.stores.rude_server import Visit, rude_server

REGION = "eu-central-1"
NAME = "audiohookd/keys"
OLD, NEW = "T2xkT2xkT2xk", "TmV3TmV3TmV3"
DAY = 86_400.0


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def amazon() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dummy credentials, and no AWS configuration of the machine."""
    for name in ("SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", "/dev/null")


class Secret:
    """A secret, its first version, and the source that reads it."""

    def __init__(self, amazon: str, name: str, first: object, **settings: Any) -> None:
        self.client = boto3.client("secretsmanager", endpoint_url=amazon, region_name=REGION)
        self.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        made = self.client.create_secret(Name=name, SecretString=json.dumps(first))
        self.name, self.arn = name, made["ARN"]
        about = self.client.describe_secret(SecretId=name)
        #: The date, from when the secret was made.
        self.now = about["CreatedDate"].timestamp()
        self.settings = AwsSecret(name, REGION, amazon, **settings)
        self.source = self.another()

    def another(self) -> SecretsManager:
        """Returns a source that has not loaded yet."""
        return SecretsManager("auth.aws", self.settings, lambda: self.now)

    def put(self, content: object) -> None:
        self.client.put_secret_value(SecretId=self.name, SecretString=json.dumps(content))

    def secrets(self, api_key: str = "key") -> tuple[bytes, ...]:
        """Loads again, and returns the valid secrets; none if the key has expired."""
        key = self.source.load().lookup(api_key)
        if key is None or (key.not_after is not None and self.now >= key.not_after):
            return ()
        return key.secrets_at(self.now)


@pytest.fixture
def secret(amazon: str) -> Secret:
    return Secret(amazon, NAME, {"key": OLD}, overlap=3600.0)


class TestSecret:
    def test_secret_is_a_key_source(self, secret: Secret) -> None:
        verifyObject(IKeySource, secret.source)
        assert secret.source.interval == 300.0
        assert secret.source.changed()

    def test_secret_is_read_by_name(self, secret: Secret) -> None:
        assert secret.secrets() == (b"OldOldOld",)

    def test_secret_is_read_by_arn_with_its_region(self, secret: Secret, amazon: str) -> None:
        source = SecretsManager("auth.aws", AwsSecret(secret.arn, endpoint_url=amazon), lambda: secret.now)
        assert len(source.load()) == 1

    def test_secret_may_be_binary(self, secret: Secret) -> None:
        secret.client.put_secret_value(SecretId=NAME, SecretBinary=b'{"binary": null}')
        assert secret.secrets("binary") == (UNSIGNED,)


class TestRotation:
    def test_both_versions_are_valid_for_the_overlap(self, secret: Secret) -> None:
        secret.secrets()
        secret.now += DAY
        secret.put({"key": NEW})
        assert secret.secrets() == (b"NewNewNew", b"OldOldOld")
        secret.now += 3599
        assert secret.secrets() == (b"NewNewNew", b"OldOldOld")
        secret.now += 1
        assert secret.secrets() == (b"NewNewNew",)

    def test_overlap_ends_without_another_load(self, secret: Secret) -> None:
        """The endpoint may be dead by then."""
        secret.secrets()
        secret.put({"key": NEW})
        key = secret.source.load().lookup("key")
        assert key is not None
        assert key.secrets_at(secret.now + 3600) == (b"NewNewNew",)

    def test_overlap_starts_with_the_version_after_a_restart(self, secret: Secret) -> None:
        secret.put({"key": NEW})
        secret.source = secret.another()
        secret.now += 3500
        assert secret.secrets() == (b"NewNewNew", b"OldOldOld")
        secret.source = secret.another()
        secret.now += 200
        assert secret.secrets() == (b"NewNewNew",)

    def test_rotated_api_key_keeps_both_valid(self, secret: Secret) -> None:
        secret.secrets()
        secret.put({"second": NEW})
        assert (secret.secrets("key"), secret.secrets("second")) == ((b"OldOldOld",), (b"NewNewNew",))
        secret.now += 3600
        assert (secret.secrets("key"), secret.secrets("second")) == ((), (b"NewNewNew",))

    def test_no_overlap_revokes_at_once(self, amazon: str) -> None:
        secret = Secret(amazon, "audiohookd/strict", {"key": OLD}, overlap=0.0)
        secret.secrets()
        secret.put({"key": NEW})
        assert secret.secrets() == (b"NewNewNew",)

    def test_invalid_previous_version_is_ignored(self, secret: Secret) -> None:
        secret.client.put_secret_value(SecretId=NAME, SecretString="{")
        secret.put({"key": NEW})
        assert secret.secrets() == (b"NewNewNew",)


class TestFailure:
    def test_invalid_content_names_the_secret(self, secret: Secret) -> None:
        secret.put({"key": f"{OLD}&"})
        fault = failure(secret.source)
        assert type(fault) is KeySourceError
        assert str(fault).startswith(f"secret '{NAME}': entry 1 (API key sha256:")
        assert str(fault).endswith("copy it again from the integration (version AWSCURRENT)")

    def test_unknown_name_is_reported(self, amazon: str) -> None:
        fault = failure(SecretsManager("auth.aws", AwsSecret("absent", REGION, amazon), float))
        assert type(fault) is KeySourceError
        assert str(fault) == "secret 'absent': Secrets Manager says ResourceNotFoundException"

    def test_missing_region_is_reported(self, amazon: str) -> None:
        fault = failure(SecretsManager("auth.aws", AwsSecret("name", "", amazon), float))
        assert str(fault).startswith("secret 'name': no region: set region, since neither the ARN nor the AWS")

    def test_dead_endpoint_is_temporary(self) -> None:
        (port,) = free_ports(1)
        settings = AwsSecret(NAME, REGION, f"http://127.0.0.1:{port}")
        fault = failure(SecretsManager("auth.aws", settings, float))
        assert type(fault) is SourceUnavailable
        assert str(fault) == f"secret '{NAME}': cannot be fetched (EndpointConnectionError)"

    @pytest.mark.parametrize(
        ("status", "body", "says"),
        [
            (b"500 Oops", b"{}", "Secrets Manager says"),
            (b"200 OK", b'{"SecretString": "c2VjcmV0c2VjcmV0"}', "is not JSON"),
            (b"200 OK", b'{"SecretString": "{}"}', "the answer has no VersionId"),
            (b"200 OK", b"{}", "the answer has no SecretBinary"),
            (b"200 OK", b"<c2VjcmV0c2VjcmV0>", "the answer has no SecretBinary"),
        ],
    )
    def test_invalid_answer_is_not_quoted(self, status: bytes, body: bytes, says: str) -> None:
        def answer(visit: Visit) -> None:
            visit.say(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

        with rude_server() as server:
            server.answer = answer
            fault = failure(SecretsManager("auth.aws", AwsSecret(NAME, REGION, server.url), float))
        assert says in str(fault)


def failure(source: SecretsManager) -> KeySourceError:
    with pytest.raises(KeySourceError) as caught:
        source.load()
    shown = "".join(traceback.format_exception(caught.value))
    assert OLD not in shown
    assert "c2VjcmV0" not in shown
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


class TestInTheKeyring:
    """All of it together, but for the threads."""

    def test_a_burst_of_unknown_keys_is_one_request(self, secret: Secret) -> None:
        rig = Ring(secret.source)
        secret.put({"key": OLD, "late": NEW})
        for number in range(1000):
            rig.keyring.lookup(f"unknown{number}")
            rig.keyring.lookup("late")
        assert len(rig.pool) == 1
        rig.pool.run()
        assert rig.keyring.lookup("late") is not None

    def test_a_dead_endpoint_keeps_the_last_keys(self) -> None:
        with running() as amazon:
            rig = Ring(Secret(amazon, "audiohookd/outage", {"key": OLD}).source)
        rig.clock.advance(330)
        rig.pool.run()
        assert rig.counters.value("key_refresh_failures", "auth.aws") == 1
        assert rig.keyring.lookup("key") is not None


class Ring:
    def __init__(self, source: SecretsManager) -> None:
        self.clock, self.pool, self.counters = Clock(), MemoryWorkers(), Counters()
        self.keyring = Keyring(self.clock, self.pool, [source], self.counters.count, lambda: 0.5)
        self.keyring.prepare()
        self.keyring.startService()
