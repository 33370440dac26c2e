"""Protocol errors of the peer and of the daemon."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol. The session handles it by a ``disconnect``; it never leaves ``protocol``.

    :ivar info: a constant text that is sent to the peer.
    :ivar detail: the details, only for the daemon's log.
    """

    def __init__(self, info: str, detail: str = "") -> None:
        super().__init__(f"{info}: {detail}" if detail else info)
        self.info = info
        self.detail = detail


class LocalProtocolError(Exception):
    """The caller asked for something that the protocol does not allow."""
