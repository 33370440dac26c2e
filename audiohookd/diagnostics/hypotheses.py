"""The table of hypotheses about the difference between a request as it was signed and as it arrived. Pure.

:mod:`audiohookd.diagnostics.explain` computes the signature again for each hypothesis. If it verifies, the hypothesis
is confirmed.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from audiohookd.auth.keys.model import Keys, fingerprint
from audiohookd.auth.request import UpgradeRequest

#: Most secrets of other keys that are tried, and most leading path segments that are removed.
KEYS_TRIED = 256
SEGMENTS_TRIED = 8
#: Most host names, and most paths, in a query to a daemon. Each costs some HMACs for each request.
HINTS_TAKEN = 4

_HOST = (
    "Host was rewritten on the way to {host!r}: with {found} the signature verifies. To do: let the proxy pass on"
    " Host unchanged (nginx: proxy_set_header Host $http_host), or set [listen] authority to the name that Genesys"
    " Cloud calls"
)
_PATH = (
    "the path was changed on the way to {target!r}: with {found} the signature verifies. To do: let the proxy pass on"
    " path and query unchanged, or enter the other address in Genesys Cloud"
)
_SIGNER = "the client signed the whole URL: with {found} the signature verifies. To do: correct the signer"
_NOT_SIGNED_WITH_IT = (
    "it was not signed with the secret: with {found} the signature verifies. To do: enter the same secret, in base64,"
    " in Genesys Cloud and in the key file"
)
_KEY = (
    "key and secret are not a pair: with {found} the signature verifies. To do: give the integration a key and its"
    " own secret"
)

#: Headers in which a proxy passes on the name that the client called, with the pattern of the name.
_HOST_HEADERS: Final = {
    "x-forwarded-host": re.compile(r"\s*([^,\s]+)"),
    "x-original-host": re.compile(r"\s*([^,\s]+)"),
    "forwarded": re.compile(r'[^,]*?host="?([^";,\s]+)', re.IGNORECASE),
    "host": re.compile(r"(.+)"),
}
#: Headers in which a proxy passes on the path that the client called, or its URL.
_PATH_HEADERS = ("x-original-uri", "x-original-url", "x-forwarded-uri", "x-envoy-original-path")
#: What a proxy may have done to the path: each turns the path that arrived into the one that was signed.
_PATH_CHANGES: Final = {
    "with a slash at its end": lambda path: path + "/",
    "without the slash at its end": lambda path: path.rstrip("/"),
    "decoded": lambda path: unquote(path, errors="replace"),
    "encoded": lambda path: quote(path, safe="/%:@!$&'()*+,;="),
}
#: What the client may have used in place of the secret, or the key file may contain.
_SECRET_CHANGES: Final = {
    "the text of the secret, not decoded from base64": base64.b64encode,
    "the text of the secret with a line break, not decoded from base64": lambda secret: (
        base64.b64encode(secret) + b"\n"
    ),
    "the secret with a line break at its end": lambda secret: secret + b"\n",
    "the secret without the line break at its end": lambda secret: secret.removesuffix(b"\n"),
}


@dataclass(frozen=True, slots=True)
class Hints:
    """Host names, and paths or path prefixes, that the client may have called."""

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Hypothesis(NamedTuple):
    """Other values for some components, or another secret. ``origin`` says where they come from."""

    template: str
    origin: str
    values: Mapping[str, str] = {}
    secret: bytes | None = None

    def explained(self, request: UpgradeRequest) -> str:
        """Returns the cause and the remedy, for a hypothesis that is confirmed."""
        values = " and ".join(map(repr, self.values.values()))
        found = f"{values} ({self.origin})" if values else self.origin
        return self.template.format(found=found, host=request.header("host"), target=request.target)


def hypotheses(
    request: UpgradeRequest, secrets: tuple[bytes, ...], keys: Keys, now: float, hints: Hints
) -> Iterator[Hypothesis]:
    """Yields all hypotheses about a request, the most likely first.

    :param secrets: the secrets of the request's key. Without one, only other keys are tried.
    :param keys: all keys, with their secrets at the UNIX time ``now``.
    """
    if secrets:
        hosts = _hosts(request, hints)
        for name, origin in hosts.items():
            yield Hypothesis(_HOST, origin, {"@authority": name})
        for origin, target in _paths(request, hints):
            yield Hypothesis(_PATH, origin, {"@request-target": target})
        for path_origin, target in _hinted_paths(request, hints):
            for name, origin in hosts.items():
                both = {"@authority": name, "@request-target": target}
                yield Hypothesis(_HOST, f"{origin}, {path_origin}", both)
        for secret in secrets:
            for origin, change in _SECRET_CHANGES.items():
                yield Hypothesis(_NOT_SIGNED_WITH_IT, origin, secret=change(secret))
        url = f"wss://{request.header('host')}{request.target}"
        yield Hypothesis(_SIGNER, "as the target", {"@request-target": url})
    yield from islice(_other_keys(request, keys, now), KEYS_TRIED)


def _hosts(request: UpgradeRequest, hints: Hints) -> dict[str, str]:
    """Returns the names that the client may have called, with their origins: without a port, with it, with 443."""
    named = [(name, "from your hint") for name in hints.hosts]
    for header, pattern in _HOST_HEADERS.items():
        if found := pattern.match(request.header(header) or ""):
            named.append((found[1], f"from {header}"))
    hosts: dict[str, str] = {}
    for name, origin in named:
        bare = re.sub(r":\d*\Z", "", name.lower())
        for spelling in (bare, name.lower(), f"{bare}:443"):
            hosts.setdefault(spelling, origin)
    return hosts


def _hinted_paths(request: UpgradeRequest, hints: Hints) -> Iterator[tuple[str, str]]:
    _, mark, query = request.target.partition("?")
    for path in hints.paths:
        yield "from your hint", path
        yield "from your hint", path + mark + query
        yield "with the prefix from your hint", path.rstrip("/") + request.target


def _paths(request: UpgradeRequest, hints: Hints) -> Iterator[tuple[str, str]]:
    """Yields the paths, with the query, that the client may have called, each after its origin."""
    path, mark, query = request.target.partition("?")
    yield from _hinted_paths(request, hints)
    for header in _PATH_HEADERS:
        yield f"from {header}", re.sub(r"\A[a-z]+://[^/]*", "", request.header(header) or "")
    prefix = (request.header("x-forwarded-prefix") or "").rstrip("/")
    yield "with the prefix in x-forwarded-prefix", prefix + request.target
    for origin, change in _PATH_CHANGES.items():
        yield origin, change(path) + mark + query
    yield "without the query", path
    segments = path.split("/")[1 : SEGMENTS_TRIED + 2]
    for count in range(1, len(segments)):
        yield "without a path prefix", "/" + path.split("/", count + 1)[-1] + mark + query


def _other_keys(request: UpgradeRequest, keys: Keys, now: float) -> Iterator[Hypothesis]:
    for name in keys:
        key = keys.lookup(name)
        if key is not None and name != request.header("x-api-key"):
            origin = f"the secret of another key, {fingerprint(name)},"
            yield from (Hypothesis(_KEY, origin, secret=secret) for secret in key.secrets_at(now) if secret)
