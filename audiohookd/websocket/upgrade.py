"""Reads the identity of a session from its upgrade request (protocol section 1.2)."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from audiohookd.protocol.messages import UUID_PATTERN
from audiohookd.session.upgrade import UpgradeInfo
from audiohookd.websocket.handshake import HandshakeRejected

_uuid = re.compile(UUID_PATTERN)


def read_upgrade(target: str, headers: Mapping[str, str], peer: str) -> UpgradeInfo:
    """Reads the identity of a session from an upgrade request.

    :param headers: names in lower case.
    :param peer: the client's address.
    :raises HandshakeRejected: an identifier is missing or is not a UUID, so the request is not from AudioHook.
    """
    ids = []
    for name in ("Audiohook-Session-Id", "Audiohook-Organization-Id", "Audiohook-Correlation-Id"):
        value = headers.get(name.lower(), "").strip(" \t")
        if not _uuid.match(value):
            raise HandshakeRejected(HTTPStatus.BAD_REQUEST, f"header {name!r}: missing, repeated, or no UUID")
        ids.append(value)
    return UpgradeInfo(target, headers, peer, *ids)
