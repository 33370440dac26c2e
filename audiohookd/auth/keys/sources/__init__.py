"""Sources of keys, one module for each kind. This module builds the configured ones."""

from collections.abc import Callable, Iterator, Mapping

from audiohookd.auth.keys.model import IKeySource, KeySourceError
from audiohookd.auth.keys.sources.credential import credential
from audiohookd.auth.keys.sources.environment import KeyVariable
from audiohookd.auth.keys.sources.file import KeyFile
from audiohookd.auth.keys.sources.secretsmanager import SecretsManager
from audiohookd.auth.keys.sources.vault import Vault
from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import REFERENCE_VARIABLE, Auth


def sources_of(auth: Auth, environment: Mapping[str, str], now: Callable[[], float]) -> list[IKeySource]:
    """Builds the configured sources in their order of precedence, without loading them.

    :param now: UNIX seconds.
    :raises ConfigError: no source is configured, or the setting of one is invalid.
    """
    found = list(_sources(auth, environment, now))
    if not found:
        reason = f"no source of keys: name one in keys_file, or set ${auth.keys_variable or REFERENCE_VARIABLE}"
        raise ConfigError(f"auth: {reason}")
    return found


def _alternative(auth: Auth, environment: Mapping[str, str]) -> str:
    """Returns a hint for a missing file. The file is configured by default, and must be disabled if not used."""
    elsewhere = (auth.keys_credential, auth.keys_variable in environment, auth.aws.secret, auth.vault.url)
    return ', or keys_file = "" if keys come from elsewhere' if any(elsewhere) else ""


def _sources(auth: Auth, environment: Mapping[str, str], now: Callable[[], float]) -> Iterator[IKeySource]:
    if auth.keys_file is not None:
        yield KeyFile("auth.keys_file", auth.keys_file, _alternative(auth, environment))
    if auth.keys_credential:
        try:
            yield credential("auth.keys_credential", auth.keys_credential, environment)
        except KeySourceError as error:
            raise ConfigError(f"auth.keys_credential: {error}") from None
    if auth.keys_variable in environment:
        yield KeyVariable("auth.keys_variable", auth.keys_variable, environment[auth.keys_variable])
    elif auth.keys_variable not in ("", REFERENCE_VARIABLE):
        raise ConfigError(f"auth.keys_variable: ${auth.keys_variable} is not set: set it, or correct its name")
    if auth.aws.secret:
        yield SecretsManager("auth.aws", auth.aws, now)
    if auth.vault.url:
        yield Vault("auth.vault", auth.vault, now)
