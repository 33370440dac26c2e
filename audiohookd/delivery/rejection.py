"""The reason why a destination rejected a recording for good.

It is in a file beside the recording while other destinations still deliver, then in the reason of the dead letter.
"""

import msgspec

from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording

#: Characters of a reason that are kept. The text comes from a plugin and may have any length.
MAX_REASON = 4_096


class DeliveryRejection(msgspec.Struct, frozen=True):
    """The rejection by one destination.

    :param at: in ISO 8601, UTC.
    """

    reason: str
    at: str

    def encode(self) -> bytes:
        """The content of its file."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    def line(self, name: str) -> str:
        """The line for the reason of the dead letter.

        :param name: of the destination.
        """
        return f"{self.at} {name}: {self.reason}"


def rejection_of(reason: str, at: str) -> DeliveryRejection:
    """A rejection that can be encoded, whatever ``reason`` contains; it is cut to :data:`MAX_REASON` characters."""
    return DeliveryRejection(reason[:MAX_REASON].encode("utf-8", "backslashreplace").decode("utf-8"), at)


def lines(recording: Recording) -> list[str]:
    """The lines of all rejections that have a file, the first rejection first.

    :raises OSError: the disk failed.
    """
    return sorted(_line(recording, name) for name in paths.names(recording.suffixes, "refused"))


def _line(recording: Recording, name: str) -> str:
    try:
        return msgspec.json.decode(recording.read_receipt(paths.rejected_suffix(name)), type=DeliveryRejection).line(
            name
        )
    except ValueError:
        return f"{name}: rejected it"
