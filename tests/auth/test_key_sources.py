"""The sources of keys in a configuration, and their order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from audiohookd.auth.keys.model import KeySourceError
from audiohookd.auth.keys.sources import sources_of
from audiohookd.auth.keys.sources.secretsmanager import SecretsManager
from audiohookd.auth.keys.sources.vault import Vault
from audiohookd.config.errors import ConfigError
from audiohookd.config.load import check
from audiohookd.config.schema import Auth

ANYWHERE = Path("/etc/audiohookd/audiohookd.toml")
#: No sources, except for the ones that a test names.
BARE = {"keys_file": ""}
VAULT = {"url": "https://vault.example.com", "token_file": "token"}


def auth(**table: Any) -> Auth:
    return check({"auth": table}, ANYWHERE).auth


def names(environment: Mapping[str, str], **table: Any) -> list[str]:
    return [source.name for source in sources_of(auth(**table), environment, float)]


def refusal(environment: Mapping[str, str], **table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        names(environment, **table)
    return str(caught.value)


def test_the_default_source_is_a_file() -> None:
    assert names({}) == ["auth.keys_file"]


def test_the_variable_of_the_reference_server_counts_where_it_is_set() -> None:
    assert names({"STATIC_API_KEY_MAP": "{}"}) == ["auth.keys_file", "auth.keys_variable"]
    assert names({"STATIC_API_KEY_MAP": "{}"}, **BARE) == ["auth.keys_variable"]
    assert names({"STATIC_API_KEY_MAP": "{}"}, keys_variable="") == ["auth.keys_file"]


def test_all_at_once_count_in_the_order_of_the_file() -> None:
    found = names(
        {"CREDENTIALS_DIRECTORY": "/run/credentials/audiohookd", "KEYS": "{}"},
        keys_file="keys.json",
        keys_credential="keys",
        keys_variable="KEYS",
        aws={"secret": "audiohookd/keys"},
        vault=VAULT,
    )
    tables = ["auth.keys_file", "auth.keys_credential", "auth.keys_variable", "auth.aws", "auth.vault"]
    assert found == tables


@pytest.mark.parametrize(
    ("table", "environment"),
    [
        ({}, {"STATIC_API_KEY_MAP": "{}"}),
        ({"keys_credential": "keys"}, {"CREDENTIALS_DIRECTORY": "/run/credentials/audiohookd"}),
        ({"aws": {"secret": "s"}}, {}),
        ({"vault": VAULT}, {}),
    ],
    ids=["variable", "credential", "aws", "vault"],
)
def test_a_missing_file_beside_another_source_gives_a_hint(
    tmp_path: Path, table: dict[str, Any], environment: dict[str, str]
) -> None:
    (file, *_) = sources_of(auth(keys_file=str(tmp_path / "keys.json"), **table), environment, float)
    with pytest.raises(KeySourceError, match=r'permissions, or keys_file = "" if keys come from elsewhere$'):
        file.load()


def test_a_missing_file_without_another_source_gives_no_hint(tmp_path: Path) -> None:
    (file,) = sources_of(auth(keys_file=str(tmp_path / "keys.json")), {}, float)
    with pytest.raises(KeySourceError, match=r"correct path or permissions$"):
        file.load()


def test_no_source_is_an_error() -> None:
    assert refusal({}, **BARE) == "auth: no source of keys: name one in keys_file, or set $STATIC_API_KEY_MAP"


def test_a_variable_that_is_named_has_to_be_set() -> None:
    assert refusal({}, keys_variable="KEYZ").startswith("auth.keys_variable: $KEYZ is not set")


def test_a_credential_without_systemd_is_an_error() -> None:
    assert refusal({}, keys_credential="keys").startswith("auth.keys_credential: systemd passes no credentials")


def test_they_are_refreshed_as_the_file_says() -> None:
    remote = {"aws": {"secret": "s", "refresh": 30}, "vault": VAULT | {"refresh": 40}}
    aws, vault = sources_of(auth(**BARE, **remote), {}, float)
    assert isinstance(aws, SecretsManager)
    assert isinstance(vault, Vault)
    assert (aws.interval, vault.interval) == (30, 40)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"vault": {"url": "https://v"}}, "auth.vault: needs either token_file, or role_id and secret_id_file"),
        (
            {"vault": VAULT | {"role_id": "r", "secret_id_file": "s"}},
            "auth.vault: needs either token_file, or role_id and secret_id_file",
        ),
        ({"vault": {"url": "https://v", "secret_id_file": "s"}}, "auth.vault.role_id: goes with secret_id_file"),
        ({"vault": VAULT | {"role_id": "r"}}, "auth.vault.role_id: goes with secret_id_file"),
        ({"vault": {"url": "https://user:word@vault"}}, "auth.vault.url: must be like https://"),
        ({"vault": {"url": "vault:8200"}}, "auth.vault.url: must be like https://"),
        ({"aws": {"endpoint_url": "https://a:b@c"}}, "auth.aws.endpoint_url: must be like https://"),
        ({"aws": {"refresh": 5}}, "auth.aws.refresh: must be at least 10 s"),
        ({"aws": {"secrets": "x"}}, "auth.aws.secrets: unknown key, did you mean 'secret'?"),
    ],
)
def test_a_mistake_is_one_line(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        auth(**table)
    assert str(caught.value).startswith(f"{ANYWHERE}: {says}")


def test_paths_are_relative_to_the_file() -> None:
    vault = auth(vault={"url": "https://v", "role_id": "r", "secret_id_file": "id", "ca_file": "ca.pem"}).vault
    assert vault.secret_id_file == ANYWHERE.parent / "id"
    assert vault.ca_file == ANYWHERE.parent / "ca.pem"
