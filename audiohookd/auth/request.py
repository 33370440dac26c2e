"""The part of an HTTP upgrade request that a signature can cover, and the values of its components."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from audiohookd.auth.rejection import RejectionReason, SignatureRejected

# The lookbehind starts a match only at the beginning of a run of white space. Without it, a long run takes
# quadratic time.
_OBSOLETE_FOLD = re.compile(r"(?:(?<![ \t])[ \t]+)?\r\n[ \t]+")
_DEFAULT_PORT = re.compile(r":(?:443|80)?\Z")


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The signable parts of an HTTP GET request. The representation leaves out the headers, with the API key in them.

    :param target: path and query exactly as on the request line, not decoded.
    :param headers: by lower-case name. The values of a repeated header are joined with comma and space.
    :param authority: replaces the Host header, for a proxy that rewrites it.
    """

    target: str
    headers: Mapping[str, str] = field(repr=False)
    authority: str | None = None

    def header(self, name: str) -> str | None:
        """Returns the value of a header, trimmed and unfolded; None if it is absent, "" if it is empty."""
        value = self.headers.get(name)
        return None if value is None else _OBSOLETE_FOLD.sub(" ", value).strip(" \t")

    def component(self, name: str) -> str:
        """Returns the value that a signature covers under this name (protocol section 2.3).

        :raises SignatureRejected: the request has no such component, or its value is not printable ASCII. A line
            break in it would forge another component.
        """
        value = self._derived(name) if name.startswith("@") else self.header(name)
        if value is None or not (value.isascii() and value.replace("\t", " ").isprintable()):
            raise SignatureRejected(RejectionReason.COMPONENT_ABSENT)
        return value

    def _derived(self, name: str) -> str | None:
        match name:
            case "@request-target":
                return self.target or None
            case "@authority":
                return self._normal_authority() or None
        raise SignatureRejected(RejectionReason.COMPONENT_UNSUPPORTED)

    def _normal_authority(self) -> str:
        # Removes both default ports: behind a TLS proxy the scheme that the client used is unknown.
        host = self.header("host") if self.authority is None else self.authority
        return _DEFAULT_PORT.sub("", (host or "").lower())
