"""How long a session waits for what (protocol section 5.3)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from audiohookd.units import Duration

Seconds = Annotated[Duration, Meta(gt=0, le=7 * 24 * 3600)]

#: Seconds by which the client's position may be ahead of ``max_duration``: it has buffered up to 30 s before
#: ``opened``, and its clock is not ours.
POSITION_LEEWAY = 60.0


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """All in seconds. Genesys Cloud itself waits 5 s for ``opened`` and 10 s for ``closed``."""

    #: From the upgrade to the client's ``open``; then ``disconnect error``.
    client_open_timeout: Seconds = 10.0
    #: From ``open`` to our ``opened``; then ``disconnect error`` by ourselves: Genesys retries that,
    #: while a time-out of its own lost 40 to 50 % of somebody's calls.
    accept_timeout: Seconds = 4.0
    #: For the plugins' say in how a session is opened; then ``opened`` goes out without them.
    admission_timeout: Seconds = 3.0
    #: Without a text message (pings come each 5 s); then ``disconnect error``.
    idle_timeout: Seconds = 20.0
    #: From the idle ``disconnect`` to the end of the connection.
    idle_grace: Seconds = 5.0
    #: From ``close`` to our ``closed``, for the plugins' last events; then ``closed`` regardless.
    plugin_closing_timeout: Seconds = 8.0
    #: From our ``disconnect`` to the end of the connection, unless the client closes.
    disconnect_timeout: Seconds = 10.0
    #: From our ``closed`` to the end of the connection, unless the client ends it.
    client_close_timeout: Seconds = 5.0
    #: The longest session; then ``disconnect completed``. Also the bound for positions the client claims.
    max_duration: Seconds = 86_400.0

    renamed_keys: ClassVar[Mapping[str, str]] = {
        "open_timeout": "client_open_timeout",
        "opening_timeout": "accept_timeout",
        "closing_timeout": "plugin_closing_timeout",
        "closed_timeout": "client_close_timeout",
    }
