"""One TOML file to frozen structures. A mistake is one line: file, key, what is wrong.

Every key, with its default, stands in etc/audiohookd.toml and docs/configuration.rst; a test keeps all in step.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field, inspect

from audiohookd.escaping import printable
from audiohookd.listen_address import listen_address
from audiohookd.protocol.timers import Timers
from audiohookd.text_encoding import decode_text
from audiohookd.units import number_wanted, unquoted

T = TypeVar("T")

Endpoint = Annotated[str, Meta(min_length=1)]
#: Where the reference server has its keys.
REFERENCE_VARIABLE = "STATIC_API_KEY_MAP"
#: Host and port, as clients address it. Or nothing.
AUTHORITY = r"^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{1,5})?\Z"
#: No user and password: they would be secrets in the file, and in the log.
_plain_url = re.compile(r"https?://[^/@?#\s]+(?:/[^@?#\s]*)?")
_bare_key = re.compile(r"[A-Za-z0-9_-]+")
#: A name without a port; with a leading dot, all names below it.
_allowed_host = re.compile(r"\.?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
#: Exactly what stands on the request line before the query.
_route_path = re.compile(r"/[!-~]*")
#: The words of TOML for what msgspec calls as JSON and Python do.
_TOML_WORDS = {"object": "table", "str": "string", "int": "integer", "bool": "boolean"}


class ConfigError(ValueError):
    """The user's mistake, as one line for the user; whatever others put into it, it stays one."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(" ".join(line.strip() for line in text.splitlines())))


class ConfigUnavailable(ConfigError):
    """Something that the configuration names does not answer now. That need not be a mistake."""


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """Where calls come in."""

    endpoint: Endpoint = "tcp:3000:interface=127.0.0.1:backlog=1024"
    max_sessions: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    trusted_hops: Annotated[int, Meta(ge=0, le=16)] = 0
    trusted_proxies: tuple[str, ...] = ()
    authority: Annotated[str, Meta(pattern=AUTHORITY)] = ""
    allow: tuple[str, ...] = ()
    allow_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of it one caller may have. 0 is no limit, except for the time, which is in seconds."""

    sessions_per_organization: Annotated[int, Meta(ge=0, le=100_000)] = 0
    sessions_per_key: Annotated[int, Meta(ge=0, le=100_000)] = 0
    handshakes_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 50
    handshakes_per_second_total: Annotated[int, Meta(ge=0, le=100_000)] = 200
    handshake_timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0
    messages_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 50
    message_bytes_per_second: Annotated[int, Meta(ge=0, le=100_000_000)] = 8_192
    frames_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 1000
    audio_bytes_per_second: Annotated[int, Meta(ge=0, le=100_000_000)] = 320_000
    control_frames_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 5
    fragments_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 50


class Admin(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the daemon is asked how it is, and by which names. An empty endpoint turns it off."""

    endpoint: str = "tcp:3001:interface=127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()


class AwsSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys in AWS Secrets Manager. No secret, no such source. Seconds."""

    secret: str = ""
    region: str = ""
    endpoint_url: str = ""
    refresh: Annotated[float, Meta(ge=10, le=86_400)] = 300.0
    overlap: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 3600.0


class VaultSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys in HashiCorp Vault or OpenBao. No URL, no such source. Seconds."""

    url: str = ""
    mount: str = "secret"
    path: str = "audiohookd"
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    ca_file: Path | None = None
    refresh: Annotated[float, Meta(ge=10, le=86_400)] = 300.0
    overlap: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 3600.0


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Where it is remembered which signatures were used; when the store is down, and after how many seconds it is."""

    store: Literal["memory", "sqlite", "redis", "off"] = "memory"
    fail: Literal["closed", "open"] = "closed"
    path: Path = Path("/run/audiohookd/replay.sqlite")
    url: str = ""
    url_file: Path | None = None
    # Shorter than any refusal takes, or its time would tell that the signature was right.
    timeout: Annotated[float, Meta(gt=0, le=0.4)] = 0.4


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is let in. Without a file there is None."""

    keys_file: Path | None = Path("/etc/audiohookd/keys.json")
    keys_credential: str = ""
    keys_variable: str = REFERENCE_VARIABLE
    failure: Literal["http", "disconnect"] = "http"
    aws: AwsSecret = AwsSecret()
    vault: VaultSecret = VaultSecret()
    replay: Replay = Replay()


class Spool(Struct, frozen=True, forbid_unknown_fields=True):
    """Where recordings are kept, how much of one a crash may cost (seconds), and how much room they have (MiB)."""

    directory: Path = Path("/var/spool/audiohookd")
    flush_interval: Annotated[float, Meta(gt=0, le=60)] = 0.5
    sync_interval: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    min_free: Annotated[int, Meta(ge=0)] = 1024
    max_spool: Annotated[int, Meta(ge=0)] = 0
    keep_local: Annotated[float, Meta(ge=0)] = 0.0


class Delivery(Struct, frozen=True, forbid_unknown_fields=True):
    """How often what could not be delivered is tried again. Seconds."""

    retry_first: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    retry_limit: Annotated[float, Meta(gt=0, le=86_400)] = 300.0


class Shutdown(Struct, frozen=True, forbid_unknown_fields=True):
    """How the daemon ends. Seconds."""

    drain_timeout: Annotated[float, Meta(ge=0, le=7 * 24 * 3600)] = 900.0


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """A path of the WebSocket, and which plugins see its sessions (all, when none are named).

    ``record``: its calls must, or must not, be recorded. None: they should, and a warning says so where they are not.
    """

    path: str = "/api/v1/audiohook/ws"
    plugins: tuple[str, ...] | None = None
    record: bool | None = None


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    auth: Auth = Auth()
    limits: Limits = Limits()
    spool: Spool = Spool()
    delivery: Delivery = Delivery()
    session: Timers = Timers()
    shutdown: Shutdown = Shutdown()
    route: tuple[Route, ...] = (Route(),)
    #: The tables [plugins.NAME] in their order, not checked yet: only the plugin knows its own keys.
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)

    def plugins_of(self, route: Route) -> tuple[str, ...]:
        """The names of the plugins on ``route``, in the order of delivery."""
        return tuple(self.plugins) if route.plugins is None else route.plugins


def load(path: Path) -> Config:
    """Reads the file; relative paths in it are relative to it. Blocks: for start-up only.

    :raises ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise ConfigError(f"{path}: cannot be read ({reason}): correct path or permissions") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not TOML: {fault}") from fault
    try:
        tables = tomllib.loads(text)
    except RecursionError as fault:
        raise ConfigError(f"{path}: is not TOML: nested too deeply") from fault
    except ValueError as fault:  # also for integers of thousands of digits
        raise ConfigError(f"{path}: {_unit_written(text, str(fault)) or f'is not TOML: {fault}'}") from fault
    return check(tables, path)


def check(tables: dict[str, Any], path: Path) -> Config:
    """What the file ``path`` holds, as a configuration.

    :raises ConfigError: something in it is wrong.
    """
    _check_plugin_tables(tables.get("plugins"), path)
    config = convert(_without_empty_file(tables), Config, path)
    _check_routes(config, path)
    _check_admin(config.listen.endpoint, config.admin, path)
    if (config.listen.tls_certificate is None) != (config.listen.tls_key is None):
        missing = "tls_key" if config.listen.tls_key is None else "tls_certificate"
        raise ConfigError(f"{path}: listen.{missing}: is missing: tls_certificate and tls_key go together")
    if config.delivery.retry_first > config.delivery.retry_limit:
        raise ConfigError(f"{path}: delivery.retry_first: must not be longer than delivery.retry_limit")
    if config.session.admission_timeout > config.session.opening_timeout:
        raise ConfigError(f"{path}: session.admission_timeout: must not be longer than session.opening_timeout")
    _check_url(config.auth.aws.endpoint_url, f"{path}: auth.aws.endpoint_url")
    _check_vault(config.auth.vault, f"{path}: auth.vault")
    _check_replay(config.auth.replay, f"{path}: auth.replay")
    return config


def convert(table: dict[str, Any], kind: type[T], path: Path, where: str = "") -> T:
    """``table`` as a ``kind``; values of type Path become absolute.

    :param where: the address of ``table`` in the file.
    :raises ConfigError: with the address of what is wrong.
    """

    def resolve(wanted: type, value: Any) -> Any:
        if wanted is Path and isinstance(value, str) and value and "\0" not in value:
            return Path(os.path.normpath(path.parent.absolute() / value))
        raise ValueError(f"Expected a {wanted.__name__.lower()}, in quotes")

    try:
        return msgspec.convert(table, kind, dec_hook=resolve)
    except msgspec.ValidationError as fault:
        raise ConfigError(f"{path}: {_explain(str(fault), kind, where, table)}") from None


def address(*keys: str) -> str:
    """Where in a file: dotted, and keys that are not bare ones in quotes."""
    return ".".join(key if _bare_key.fullmatch(key) else repr(key) for key in keys)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """To append when ``word`` is not ``known``: what comes near, or else all there are."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, 1)
    return f", did you mean {close[0]!r}?" if close else f"; there are: {', '.join(map(address, known)) or 'none'}"


def _unit_written(text: str, fault: str) -> str | None:
    """What to write, where the line of ``text`` that is no TOML has a number with its unit."""
    found = re.search(r"at line ([0-9]+), ", fault)
    lines = text.split("\n") if found else []
    said = unquoted(lines[int(found[1]) - 1]) if found and int(found[1]) <= len(lines) else None
    return f"line {found[1]}: {said}" if found and said else None


def _explain(fault: str, kind: Any, where: str, table: dict[str, Any]) -> str:
    """Msgspec says ``Expected `int`, got `str` - at `$.listen.max_sessions```: the address goes first."""
    text, _, found = fault.partition(" - at `$")
    found = found.removesuffix("`").removeprefix(".")
    expected = _type_at(kind, found)
    key = ""
    value = _value_at(table, found)
    if isinstance(expected, inspect.IntType | inspect.FloatType) and isinstance(value, str):
        name = found.rpartition(".")[2]
        text = number_wanted(name, isinstance(expected, inspect.IntType), value[:40]) or text
    if text.startswith("Object contains unknown field"):
        key = text.partition("`")[2].removesuffix("`")
        text = f"unknown key{did_you_mean(key, _keys(expected))}"
    elif text.startswith("Object missing required field"):
        key = text.partition("`")[2].removesuffix("`")
        text = "is missing, and has no default"
    elif text.startswith("Invalid enum value"):
        text = f"must be one of: {', '.join(map(repr, _choices(expected)))}"
    full = ".".join(part for part in (where, found, key and address(key)) if part)
    words = re.sub(r"\w+", lambda word: _TOML_WORDS.get(word[0], word[0]), text) if "`" in text else text
    return f"{full or 'file'}: {words.replace(' | null', '').replace('`', '')}"


def _type_at(kind: Any, found: str) -> inspect.Type:
    """What msgspec expects at the address ``found`` below ``kind``: ``route[0].path``."""
    expected = inspect.type_info(kind)
    for part in re.findall(r"\[[^]]*\]|[^.\[]+", found):
        members = (_member(one, part) for one in _alternatives(expected))
        expected = next((member for member in members if member is not None), inspect.AnyType())
    return expected


def _value_at(table: Any, found: str) -> Any:
    """The value at the address ``found``; None where there is none."""
    for part in re.findall(r"\[[0-9]+\]|[^.\[]+", found):
        try:
            table = table[int(part[1:-1]) if part.startswith("[") else part]
        except (LookupError, TypeError, ValueError):
            return None
    return table


def _member(outer: inspect.Type, part: str) -> inspect.Type | None:
    match outer:
        case inspect.StructType(fields=fields):
            return next((known.type for known in fields if known.encode_name == part), None)
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner):
            return inner
        case inspect.DictType(value_type=inner):
            return inner
    return None


def _alternatives(expected: inspect.Type) -> tuple[inspect.Type, ...]:
    return expected.types if isinstance(expected, inspect.UnionType) else (expected,)


def _keys(expected: inspect.Type) -> list[str]:
    structs = [one for one in _alternatives(expected) if isinstance(one, inspect.StructType)]
    return [known.encode_name for struct in structs for known in struct.fields]


def _choices(expected: inspect.Type) -> list[object]:
    literals = [one for one in _alternatives(expected) if isinstance(one, inspect.LiteralType)]
    return [value for literal in literals for value in literal.values]


def _check_plugin_tables(tables: Any, path: Path) -> None:
    """Before msgspec does, which names no key of a mapping."""
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {address('plugins', name)}: must be a table, [{address('plugins', name)}]")


def _without_empty_file(tables: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: ``keys_file = ""`` is none."""
    auth = tables.get("auth")
    is_none = isinstance(auth, dict) and auth.get("keys_file") == ""
    return tables | {"auth": auth | {"keys_file": None}} if is_none and auth else tables


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
    # Also one that is an option of the URL, or that is not encoded as it has to be.
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
