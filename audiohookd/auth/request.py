"""The part of an HTTP upgrade request that signatures are about, and the values its components have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from audiohookd.auth.rejection import RejectionReason, SignatureRejected

# The white space before a fold is only tried where a run of it begins: otherwise a long run costs its square.
_OBSOLETE_FOLD = re.compile(r"(?:(?<![ \t])[ \t]+)?\r\n[ \t]+")
_DEFAULT_PORT = re.compile(r":(?:443|80)?\Z")


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """An HTTP GET request, as far as it can be signed.

    `target` is path and query exactly as on the request line, undecoded. `headers` has lower-case names, and
    the values of a repeated header joined with comma and space. `authority` replaces the Host header where a
    proxy is known to rewrite it.

    The representation leaves the headers out, because API key and signature are among them.
    """

    target: str
    headers: Mapping[str, str] = field(repr=False)
    authority: str | None = None

    def header(self, name: str) -> str | None:
        """The value of a header, trimmed and unfolded; None when it is absent, "" when it is empty."""
        value = self.headers.get(name)
        return None if value is None else _OBSOLETE_FOLD.sub(" ", value).strip(" \t")

    def component(self, name: str) -> str:
        """The value a signature covers under this name (protocol section 2.3).

        :raises SignatureRefused: the request has no such component, or its value cannot be part of a
            signature base: a line break in it would forge another component.
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
        # Both default ports go: behind a TLS proxy we cannot tell which scheme the client used.
        host = self.header("host") if self.authority is None else self.authority
        return _DEFAULT_PORT.sub("", (host or "").lower())
