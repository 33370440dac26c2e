"""What a key opens, to whom, and until when: checked, and put into words. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from audiohookd.auth.keys.model import Key
from audiohookd.auth.rejection import RejectionReason, require
from audiohookd.auth.request import UpgradeRequest

#: Of a list, so many are named.
NAMED = 3


def check_scope(key: Key, request: UpgradeRequest, now: float) -> None:
    """Of a request that is genuine, at UNIX time `now`: of others there is nothing to say.

    :raises SignatureRefused: the key lets in nobody any more, not this organization, or not to this route.
    """
    require(key.not_after is None or now < key.not_after, RejectionReason.KEY_EXPIRED)
    require(
        key.organizations is None or _organization(request) in key.organizations,
        RejectionReason.ORGANIZATION_NOT_ALLOWED,
    )
    require(key.routes is None or _path(request) in key.routes, RejectionReason.ROUTE_NOT_ALLOWED)


def scope_violation(verdict: RejectionReason, request: UpgradeRequest, key: Key | None) -> str | None:
    """What `check_scope` has refused, and what to do; None for any other verdict. `key` may be unknown."""
    match verdict:
        case RejectionReason.KEY_EXPIRED:
            return (
                f"the key {_until(key)}: give its entry a later not_after, or enter a new key in the integration."
                " (Of a key that only the version before has, that was the end of its overlap)"
            )
        case RejectionReason.ORGANIZATION_NOT_ALLOWED:
            came, whose = _organization(request), "organizations"
            listed = key.organizations if key else None
        case RejectionReason.ROUTE_NOT_ALLOWED:
            came, whose = _path(request), "routes"
            listed = key.routes if key else None
        case _:
            return None
    return (
        f"{came!r} is not among the {whose} of the key's entry{_those(listed)}: add it there, or give the integration"
        " a key of its own"
    )


def _organization(request: UpgradeRequest) -> str:
    return (request.header("audiohook-organization-id") or "").lower()


def _path(request: UpgradeRequest) -> str:
    return request.target.partition("?")[0]


def _until(key: Key | None) -> str:
    if key is None or key.not_after is None:
        return "lets nobody in any more"
    date = datetime.fromtimestamp(key.not_after, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    return f"has let nobody in since {date} UTC"


def _those(names: Iterable[str] | None) -> str:
    if names is None:
        return ""
    found = sorted(names)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f" ({', '.join(map(repr, found[:NAMED]))}{more})"
