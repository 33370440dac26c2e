"""Describes TLS failures by OpenSSL's reasons that help an operator. pyOpenSSL is optional."""

import re

#: The reasons that are logged. Few, because each has its own log rate limit and unauthenticated peers cause them.
_TELLING = frozenset(
    {
        "http request",
        "https proxy request",
        "no shared cipher",
        "no suitable signature algorithm",
        "unsupported protocol",
        "wrong version number",
        "unexpected eof while reading",
    }
)
#: Alerts from the client, mostly about the daemon's certificate.
_ALERTS = frozenset(
    {
        "bad certificate",
        "certificate expired",
        "certificate unknown",
        "handshake failure",
        "protocol version",
        "unknown ca",
    }
)
_alert = re.compile(r"\S+ alert (.+)")


def failure_of_tls(error: BaseException) -> str:
    """Describes an ``OpenSSL.SSL.Error``, or any other exception, in one line. Unknown reasons are omitted."""
    for reason in _reasons(error):
        if reason in _TELLING:
            return f"TLS failed ({reason})"
        alert = _alert.fullmatch(reason)
        if alert is not None and alert[1] in _ALERTS:
            return f"TLS failed (alert from the client: {alert[1]})"
    return "TLS failed"


def _reasons(error: BaseException) -> list[str]:
    """The reasons in an OpenSSL error: its argument is a list of (library, function, reason)."""
    entries = error.args[0] if error.args else ()
    if not isinstance(entries, list | tuple):
        return []
    return [str(entry[-1]) for entry in entries if isinstance(entry, tuple) and entry]
