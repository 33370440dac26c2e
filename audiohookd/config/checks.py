"""Mistakes in the configuration that concern more than the type and range of one key."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audiohookd.config.errors import ConfigError, address, did_you_mean
from audiohookd.config.listen_address import listen_address
from audiohookd.config.schema import Admin, Config, Replay, VaultSecret

#: No user and password: they would be secrets in the file, and in the log.
_plain_url = re.compile(r"https?://[^/@?#\s]+(?:/[^@?#\s]*)?")
#: A name without a port; with a leading dot, all names below it.
_allowed_host = re.compile(r"\.?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
#: Exactly what stands on the request line before the query.
_route_path = re.compile(r"/[!-~]*")


def check_plugin_tables(tables: Any, path: Path) -> None:
    """Each plugin has a table. msgspec would not name the key of a mapping.

    :raises ConfigError: a plugin has another value.
    """
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {address('plugins', name)}: must be a table, [{address('plugins', name)}]")


def check_across_tables(config: Config, path: Path) -> None:
    """Checks that concern several keys, or the form of a text.

    :raises ConfigError: keys contradict each other, or a text has the wrong form.
    """
    _check_routes(config, path)
    _check_admin(config.listen.endpoint, config.admin, path)
    _check_order(config, path)
    if (config.listen.tls_certificate is None) != (config.listen.tls_key is None):
        missing = "tls_key" if config.listen.tls_key is None else "tls_certificate"
        raise ConfigError(f"{path}: listen.{missing}: is missing: tls_certificate and tls_key go together")
    _check_url(config.auth.aws.endpoint_url, f"{path}: auth.aws.endpoint_url")
    _check_vault(config.auth.vault, f"{path}: auth.vault")
    _check_replay(config.auth.replay, f"{path}: auth.replay")


def _check_order(config: Config, path: Path) -> None:
    if config.delivery.retry_initial_delay > config.delivery.retry_max_delay:
        raise ConfigError(f"{path}: delivery.retry_initial_delay: must not be longer than delivery.retry_max_delay")
    if config.session.admission_timeout > config.session.accept_timeout:
        raise ConfigError(f"{path}: session.admission_timeout: must not be longer than session.accept_timeout")


def _check_admin(listen: str, admin: Admin, path: Path) -> None:
    calls, questions = listen_address(listen), listen_address(admin.endpoint)
    if listen == admin.endpoint or (calls is not None and questions is not None and calls.overlaps(questions)):
        reason = f"is the same port or socket as listen.endpoint, {listen!r}: give it one of its own"
        raise ConfigError(f"{path}: admin.endpoint: {admin.endpoint!r} {reason}")
    for number, name in enumerate(admin.allowed_hosts):
        if not _allowed_host.fullmatch(name):
            reason = "must be a name without a port, 'metrics.example.com', or '.example.com' for all below it"
            raise ConfigError(f"{path}: admin.allowed_hosts[{number}]: {name!r} {reason}")


def _check_url(url: str, where: str) -> None:
    if url and not _plain_url.fullmatch(url):
        raise ConfigError(f"{where}: must be like https://host.example:8200, without user and password")


def _check_vault(vault: VaultSecret, where: str) -> None:
    _check_url(vault.url, f"{where}.url")
    if not vault.url:
        return
    if (vault.token_file is None) == (vault.secret_id_file is None):
        raise ConfigError(f"{where}: needs either token_file, or role_id and secret_id_file")
    if (vault.secret_id_file is None) == bool(vault.role_id):
        raise ConfigError(f"{where}.role_id: goes with secret_id_file")


def _check_replay(replay: Replay, where: str) -> None:
    if replay.url and replay.url_file:
        raise ConfigError(f"{where}.url_file: goes without url: remove one of the two")
    if replay.store == "redis" and not (replay.url or replay.url_file):
        raise ConfigError(f"{where}: store = 'redis' needs url_file, or url")
    # Also a password in an option of the URL, and a password that is not percent-encoded.
    if "password" in replay.url or re.search(r":.*@", replay.url.partition("//")[2]):
        raise ConfigError(f"{where}.url: has a password, which would be in this file: write the URL to url_file")


def _check_routes(config: Config, path: Path) -> None:
    if not config.route:
        raise ConfigError(f"{path}: route: at least one [[route]] is needed")
    paths = [route.path for route in config.route]
    for number, route in enumerate(config.route):
        where = f"{path}: route[{number}]"
        if not _route_path.fullmatch(route.path) or "?" in route.path or "#" in route.path:
            raise ConfigError(f"{where}.path: {route.path!r} must begin with /, and end before any ? or #; no spaces")
        if route.path in paths[:number]:
            raise ConfigError(f"{where}.path: {route.path!r} stands twice: remove one of the two routes")
        _check_names(route.plugins or (), config.plugins, f"{where}.plugins")


def _check_names(names: tuple[str, ...], known: Iterable[str], where: str) -> None:
    for number, name in enumerate(names):
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{where}: there is no table [{address('plugins', name)}]{hint}")
        if name in names[:number]:
            raise ConfigError(f"{where}: {name!r} stands twice: remove one")
