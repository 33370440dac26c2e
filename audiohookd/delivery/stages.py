"""The delivery stage of a recording, by the files beside it. For worker threads: it may read a sidecar."""

from collections.abc import Iterable
from enum import Enum

from audiohookd.delivery.destination import Destination
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording


class Stage(Enum):
    """The next delivery stage of a recording."""

    #: Carriers must store it.
    CARRIERS = "carriers"
    #: All carriers have stored it; notifiers must announce it.
    NOTIFIERS = "notifiers"
    #: No destination is due, but at least one rejected it.
    DEAD = "dead"
    #: All destinations have it.
    DONE = "done"


class Stages:
    """Derives the stage from receipts and rejections.

    A destination that rejected a recording is neither due nor done.
    """

    def __init__(self, destinations: Iterable[Destination]) -> None:
        destinations = tuple(destinations)
        self._carriers = {
            destination.done_suffix: destination.rejected_suffix
            for destination in destinations
            if destination.is_carrier
        }
        self._notifiers = {
            destination.done_suffix: destination.rejected_suffix
            for destination in destinations
            if not destination.is_carrier
        }

    @property
    def suffixes(self) -> frozenset[str]:
        """The suffixes of all files that destinations leave beside a recording."""
        pairs = (*self._carriers.items(), *self._notifiers.items())
        return frozenset(suffix for pair in pairs for suffix in pair)

    @property
    def receipts(self) -> frozenset[str]:
        """The suffixes of the receipts of all carriers."""
        return frozenset(self._carriers)

    @property
    def is_stored(self) -> bool:
        """Whether any carrier is configured."""
        return bool(self._carriers)

    def stage(self, recording: Recording) -> Stage:
        """The next stage, by the files of ``recording`` when it was read."""
        missing = self._carriers.keys() - recording.suffixes
        if missing and not _was_stored_and_removed(recording):
            return Stage.CARRIERS if _is_pending(missing, self._carriers, recording) else Stage.DEAD
        missing = self._notifiers.keys() - recording.suffixes
        if missing:
            return Stage.NOTIFIERS if _is_pending(missing, self._notifiers, recording) else Stage.DEAD
        return Stage.DONE

    def stage_with(self, recording: Recording, suffix: str) -> Stage:
        """The next stage once a file with ``suffix`` exists, too."""
        return self.stage(Recording(recording.directory, recording.id, recording.suffixes | {suffix}))

    def is_due(self, recording: Recording, destination: Destination) -> bool:
        """Whether ``destination`` has to deliver ``recording``."""
        if (
            paths.SIDECAR not in recording.suffixes
            or {destination.done_suffix, destination.rejected_suffix} & recording.suffixes
        ):
            return False
        return self.stage(recording) is (Stage.CARRIERS if destination.is_carrier else Stage.NOTIFIERS)


def _is_pending(missing: Iterable[str], rejections: dict[str, str], recording: Recording) -> bool:
    return any(rejections[suffix] not in recording.suffixes for suffix in missing)


def _was_stored_and_removed(recording: Recording) -> bool:
    """Whether the audio was stored and then removed here: carriers configured since then cannot have it."""
    if paths.AUDIO in recording.suffixes:
        return False
    try:
        has_audio = recording.read().get("audio") is not None
    except (OSError, ValueError):  # the carrier reports it
        return False
    # The search for receipts of former carriers lists the whole day, so it runs only when no other receipt is known.
    return has_audio and (bool(recording.carriers) or _has_any_receipt(recording))


def _has_any_receipt(recording: Recording) -> bool:
    return any(recording.directory.glob(f"{recording.id}.{paths.stored_suffix('*')}"))
