"""Why an outlet will never take a recording: in a file of its own while others do, then beside the dead letter."""

import msgspec

from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording

#: Characters of a reason that are kept: the text of a plugin may be of any length.
MAX_REASON = 4_096


class DeliveryRejection(msgspec.Struct, frozen=True):
    """What one outlet said.

    :param at: in ISO 8601, UTC.
    """

    reason: str
    at: str

    def encode(self) -> bytes:
        """The content of its file."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    def line(self, name: str) -> str:
        """For the reason of the dead letter; ``name`` is the outlet's."""
        return f"{self.at} {name}: {self.reason}"


def rejection_of(reason: str, at: str) -> DeliveryRejection:
    """Whatever is in ``reason``, it can be written; what is beyond :data:`MAX_REASON` is cut."""
    return DeliveryRejection(reason[:MAX_REASON].encode("utf-8", "backslashreplace").decode("utf-8"), at)


def lines(recording: Recording) -> list[str]:
    """Of all that have a file, the first one first.

    :raises OSError: the disk refused.
    """
    return sorted(_line(recording, name) for name in paths.names(recording.suffixes, "refused"))


def _line(recording: Recording, name: str) -> str:
    try:
        return msgspec.json.decode(recording.read_receipt(paths.rejected_suffix(name)), type=DeliveryRejection).line(
            name
        )
    except ValueError:
        return f"{name}: refused it"
