"""Why TLS failed, in the few words of OpenSSL that help a sysadmin; without pyOpenSSL, which not everybody has."""

import re

#: So few, because each has its own share of the log, which strangers shall not fill.
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
#: What the client says of it: mostly of our certificate.
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


def failure_of_tls(fault: BaseException) -> str:
    """One line about an ``OpenSSL.SSL.Error``, or anything else: without what is not known to be of help."""
    for reason in _reasons(fault):
        if reason in _TELLING:
            return f"TLS failed ({reason})"
        alert = _alert.fullmatch(reason)
        if alert is not None and alert[1] in _ALERTS:
            return f"TLS failed (the client says: {alert[1]})"
    return "TLS failed"


def _reasons(fault: BaseException) -> list[str]:
    """Its argument is a list of (library, function, reason)."""
    errors = fault.args[0] if fault.args else ()
    if not isinstance(errors, list | tuple):
        return []
    return [str(error[-1]) for error in errors if isinstance(error, tuple) and error]
