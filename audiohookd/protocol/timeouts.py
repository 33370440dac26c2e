"""The time-outs of a session (protocol section 5.3)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from audiohookd.units import Duration

Seconds = Annotated[Duration, Meta(gt=0, le=7 * 24 * 3600)]

#: Seconds by which the client's position may exceed ``max_duration``: the client buffers up to 30 s before
#: ``opened``, and its clock differs from the server's.
POSITION_LEEWAY = 60.0


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """The time-outs of a session, in seconds. Genesys Cloud waits 5 s for ``opened`` and 10 s for ``closed``."""

    #: From the upgrade to the client's ``open``; then ``disconnect error``.
    client_open_timeout: Seconds = 10.0
    #: From ``open`` to ``opened``; then ``disconnect error``, which Genesys retries. Its own time-out is worse: one
    #: installation lost 40 to 50 % of its calls by it.
    accept_timeout: Seconds = 4.0
    #: For all admission plugins together; then ``opened`` is sent without them.
    admission_timeout: Seconds = 3.0
    #: Without a text message (the client pings every 5 s); then ``disconnect error``.
    idle_timeout: Seconds = 20.0
    #: From the idle ``disconnect`` to the end of the connection.
    idle_grace: Seconds = 5.0
    #: From ``close`` to ``closed``, for the plugins' last events; then ``closed`` is sent without them.
    plugin_closing_timeout: Seconds = 8.0
    #: From ``disconnect`` to the end of the connection, unless the client closes.
    disconnect_timeout: Seconds = 10.0
    #: From ``closed`` to the end of the connection, unless the client ends it.
    client_close_timeout: Seconds = 5.0
    #: The longest session; then ``disconnect completed``. Also limits the positions that the client may claim.
    max_duration: Seconds = 86_400.0

    renamed_keys: ClassVar[Mapping[str, str]] = {
        "open_timeout": "client_open_timeout",
        "opening_timeout": "accept_timeout",
        "closing_timeout": "plugin_closing_timeout",
        "closed_timeout": "client_close_timeout",
    }
