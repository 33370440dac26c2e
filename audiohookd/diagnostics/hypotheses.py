"""Hypotheses about the difference between the request as it was signed and as it arrived. Pure.

:mod:`audiohookd.diagnostics.explain` tries each of them. Only a MAC that verifies confirms one.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote, unquote

from audiohookd.auth.keys.model import Keys, fingerprint
from audiohookd.auth.rejection import SignatureRejected
from audiohookd.auth.request import UpgradeRequest

#: Most secrets of other keys that are tried, and most leading path segments that are removed.
KEYS_TRIED = 256
SEGMENTS_TRIED = 8
#: Most host names, and most paths, in a query to a daemon. Each costs some HMACs for each request.
HINTS_TAKEN = 4

_FORWARDED_HOST = re.compile(r'host="?([^";,\s]+)', re.IGNORECASE)
_SESSION, _CORRELATION = "audiohook-session-id", "audiohook-correlation-id"


class Kind(StrEnum):
    """The subject of a cause."""

    HOST = "host"
    PATH = "path"
    IDENTIFIERS = "identifiers"
    SECRET = "secret"  # noqa: S105 - a kind of mistake
    KEY = "key"
    SIGNER = "signer"
    CLOCK = "clock"
    REPLAY = "replay"
    SCOPE = "scope"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Hints:
    """Hints for a diagnosis: host names, paths or path prefixes, and the other keys with their secrets.

    ``keys`` may be long: only the first :data:`KEYS_TRIED` with a secret are tried.
    """

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    keys: Iterable[tuple[str, bytes]] = field(default=(), repr=False)


class Hypothesis(NamedTuple):
    """Other values for some components, or another secret."""

    kind: Kind
    text: str
    values: Mapping[str, str] = {}
    secret: bytes | None = None


def pairs(keys: Keys, now: float) -> Iterator[tuple[str, bytes]]:
    """Yields each key with each of its secrets, for :class:`Hints`."""
    for name in keys:
        key = keys.lookup(name)
        if key is not None:
            yield from ((name, secret) for secret in key.secrets_at(now))


def hosts(request: UpgradeRequest, hints: Hints) -> list[Hypothesis]:
    """Returns the names that the signer may have called, the most likely first."""
    found: dict[str, str] = {}
    for origin, name in _names(request, hints):
        for spelling in _spellings(name):
            found.setdefault(spelling, origin)
    return [Hypothesis(Kind.HOST, f"{name!r} ({found[name]})", {"@authority": name}) for name in _plain(found)]


def _names(request: UpgradeRequest, hints: Hints) -> Iterator[tuple[str, str]]:
    yield from (("from your hint", name) for name in hints.hosts)
    for header in ("x-forwarded-host", "x-original-host"):
        values = (request.header(header) or "").split(",")
        yield from ((f"from {header}", value.strip()) for value in (values[0], values[-1]))
    yield from (("from forwarded", name) for name in _FORWARDED_HOST.findall(request.header("forwarded") or "")[:2])
    yield "from host", request.header("host") or ""


def _spellings(name: str) -> tuple[str, ...]:
    """Returns the normal form of a host, and the variants that some signers use: other ports, no port, unchanged."""
    try:
        normal = UpgradeRequest("/", {}, name).component("@authority")
    except SignatureRejected:
        return ()
    bare = re.sub(r":\d*\Z", "", normal)
    return (normal, bare, f"{bare}:443", f"{bare}:80", name)


def paths(request: UpgradeRequest, hints: Hints) -> list[Hypothesis]:
    """Returns the targets that the signer may have called, the most likely first."""
    found: dict[str, str] = {}
    for origin, target in _targets(request, hints):
        found.setdefault(target, origin)
    found.pop(request.target, None)
    return [Hypothesis(Kind.PATH, f"{t!r} ({found[t]})", {"@request-target": t}) for t in _plain(found)]


def _targets(request: UpgradeRequest, hints: Hints) -> Iterator[tuple[str, str]]:
    path, mark, query = request.target.partition("?")
    query = mark + query
    for given in hints.paths:
        yield "from your hint", given
        yield "from your hint", given + query
        yield "with the prefix from your hint", given.rstrip("/") + request.target
    for header in ("x-original-uri", "x-original-url", "x-forwarded-uri", "x-envoy-original-path"):
        yield f"from {header}", re.sub(r"\A[a-z]+://[^/]*", "", request.header(header) or "")
    prefix = (request.header("x-forwarded-prefix") or "").rstrip("/")
    yield "with the prefix in x-forwarded-prefix", prefix + request.target
    yield "with a slash at its end", path + "/" + query
    yield "without the slash at its end", path.rstrip("/") + query
    yield "with a slash before the query", path.rstrip("/") + "/" + query
    yield "without the query", path
    yield "decoded", unquote(path, errors="replace") + query
    yield "decoded", unquote(request.target, errors="replace")
    yield "encoded", quote(path, safe="/%:@!$&'()*+,;=") + query
    yield "encoded", quote(unquote(path, errors="replace"), safe="/") + query
    yield "encoded in lower case", _escapes(request.target, str.lower)
    yield "encoded in upper case", _escapes(request.target, str.upper)
    yield "with single slashes", re.sub(r"/{2,}", "/", path) + query
    yield "with a double slash at its beginning", "/" + request.target
    segments = path.split("/")[1:]
    for count in range(1, min(len(segments), SEGMENTS_TRIED + 1)):
        yield "without a path prefix", "/" + "/".join(segments[count:]) + query


def _escapes(text: str, case: Callable[[str], str]) -> str:
    return re.sub(r"%[0-9A-Fa-f]{2}", lambda found: case(found[0]), text)


def identifiers(request: UpgradeRequest) -> list[Hypothesis]:
    """Returns hypotheses of exchanged identifiers, and of identifiers in the other case."""
    ids = {name: request.header(name) or "" for name in (_SESSION, _CORRELATION, "audiohook-organization-id")}
    exchanged = {_SESSION: ids[_CORRELATION], _CORRELATION: ids[_SESSION]}
    return [
        Hypothesis(Kind.IDENTIFIERS, "session and correlation id exchanged", exchanged),
        Hypothesis(Kind.IDENTIFIERS, "the ids in lower case", {name: value.lower() for name, value in ids.items()}),
        Hypothesis(Kind.IDENTIFIERS, "the ids in upper case", {name: value.upper() for name, value in ids.items()}),
    ]


def secrets(secret: bytes) -> list[Hypothesis]:
    """Returns the values that signers use in place of the secret by mistake."""
    if not secret:
        return []
    text = base64.b64encode(secret)
    bare = text.rstrip(b"=")
    tried = {
        text: "the text of the secret, not decoded from base64",
        bare: "the text of the secret without its padding, not decoded from base64",
        text + b"\n": "the text of the secret with a line break, not decoded from base64",
        text + b"\r\n": "the text of the secret with a line break, not decoded from base64",
        bare + b"\n": "the text of the secret without its padding and with a line break, not decoded from base64",
        secret + b"\n": "the secret with a line break at its end",
        secret.removesuffix(b"\n"): "the secret without the line break at its end",
        secret.rstrip(b"\r\n"): "the secret without the line break at its end",
        secret.strip(): "the secret without the white space around it",
        _decoded(secret): "the secret decoded from base64 twice",
        b"": "an empty secret",
    }
    tried.pop(secret, None)
    return [Hypothesis(Kind.SECRET, mistake, secret=value) for value, mistake in tried.items()]


def _decoded(secret: bytes) -> bytes:
    try:
        return base64.b64decode(secret + b"=" * (-len(secret) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def keys(request: UpgradeRequest, hints: Hints) -> Iterator[Hypothesis]:
    """Yields the secrets of other keys."""
    own, left = request.header("x-api-key"), KEYS_TRIED
    for key, secret in hints.keys:
        if key != own and secret:
            yield Hypothesis(Kind.KEY, f"the secret of another key, {fingerprint(key)}", secret=secret)
            left -= 1
        if not left:
            return


def signer(request: UpgradeRequest, keyid: str) -> list[Hypothesis]:
    """Returns mistakes in the implementation of a signer."""
    host = request.header("host") or ""
    return [
        Hypothesis(Kind.SIGNER, "'get ' before the target", {"@request-target": f"get {request.target}"}),
        Hypothesis(Kind.SIGNER, "the whole URL as target", {"@request-target": f"wss://{host}{request.target}"}),
        Hypothesis(Kind.SIGNER, "the whole URL as target", {"@request-target": f"https://{host}{request.target}"}),
        Hypothesis(Kind.KEY, f"another X-API-KEY, that of keyid, {fingerprint(keyid)}", {"x-api-key": keyid}),
    ]


def _plain(names: Iterable[str]) -> list[str]:
    return [name for name in names if name and name.isascii() and name.isprintable()]
