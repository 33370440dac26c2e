"""Whose fault it is."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol. Never leaves ``protocol``: it becomes a ``disconnect``.

    :ivar info: a constant text that the peer may see.
    :ivar detail: what exactly was wrong; for our log only.
    """

    def __init__(self, info: str, detail: str = "") -> None:
        super().__init__(f"{info}: {detail}" if detail else info)
        self.info = info
        self.detail = detail


class LocalProtocolError(Exception):
    """Our own side asked for what the protocol does not allow. Raised at the caller."""
