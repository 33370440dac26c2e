"""Checks the scope of a key (expiry, organizations and routes), and explains a violation. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from audiohookd.auth.keys.model import Key
from audiohookd.auth.rejection import RejectionReason, require
from audiohookd.auth.request import UpgradeRequest

#: Entries of a list that an explanation names.
NAMED = 3


def check_scope(key: Key, request: UpgradeRequest, now: float) -> None:
    """Checks the scope of ``key`` for an authentic request at the UNIX time ``now``.

    :raises SignatureRejected: the key has expired, or does not allow this organization or this route.
    """
    require(key.not_after is None or now < key.not_after, RejectionReason.KEY_EXPIRED)
    require(
        key.organizations is None or _organization(request) in key.organizations,
        RejectionReason.ORGANIZATION_NOT_ALLOWED,
    )
    require(key.routes is None or _path(request) in key.routes, RejectionReason.ROUTE_NOT_ALLOWED)


def scope_violation(verdict: RejectionReason, request: UpgradeRequest, key: Key | None) -> str | None:
    """Explains a rejection by :func:`check_scope`, with the remedy; returns None for any other verdict.

    :param key: the key of the request. With None, the text does not list what the key allows.
    """
    match verdict:
        case RejectionReason.KEY_EXPIRED:
            return (
                f"the key {_expired(key)}: set a later not_after in its entry, or enter a new key in the integration."
                " (A key that only the previous version has expires at the end of the overlap)"
            )
        case RejectionReason.ORGANIZATION_NOT_ALLOWED:
            value, member = _organization(request), "organizations"
            listed = key.organizations if key else None
        case RejectionReason.ROUTE_NOT_ALLOWED:
            value, member = _path(request), "routes"
            listed = key.routes if key else None
        case _:
            return None
    return (
        f"{value!r} is not in {member} of the key's entry{_named(listed)}: add it there, or give the integration"
        " a key of its own"
    )


def _organization(request: UpgradeRequest) -> str:
    return (request.header("audiohook-organization-id") or "").lower()


def _path(request: UpgradeRequest) -> str:
    return request.target.partition("?")[0]


def _expired(key: Key | None) -> str:
    if key is None or key.not_after is None:
        return "has expired"
    date = datetime.fromtimestamp(key.not_after, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    return f"expired at {date} UTC"


def _named(names: Iterable[str] | None) -> str:
    if names is None:
        return ""
    found = sorted(names)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f" ({', '.join(map(repr, found[:NAMED]))}{more})"
