"""Who has to have a recording, by the files beside it. For worker threads: a sidecar may have to be read."""

from collections.abc import Iterable
from enum import Enum

from audiohookd.delivery.destination import Destination
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording


class Stage(Enum):
    """What is next for a recording."""

    #: Carriers have to store it.
    CARRIERS = "carriers"
    #: All of them have; notifiers have to tell of it.
    NOTIFIERS = "notifiers"
    #: Nobody is due, but somebody refused it.
    GRAVE = "grave"
    #: All have had it.
    END = "end"


class Stages:
    """What the ``outlets`` are owed. Who refused a recording is not due, and did not have it either."""

    def __init__(self, outlets: Iterable[Destination]) -> None:
        outlets = tuple(outlets)
        self._carriers = {outlet.done_suffix: outlet.rejected_suffix for outlet in outlets if outlet.is_carrier}
        self._notifiers = {outlet.done_suffix: outlet.rejected_suffix for outlet in outlets if not outlet.is_carrier}

    @property
    def suffixes(self) -> frozenset[str]:
        """Of all files that outlets leave beside a recording."""
        pairs = (*self._carriers.items(), *self._notifiers.items())
        return frozenset(suffix for pair in pairs for suffix in pair)

    @property
    def receipts(self) -> frozenset[str]:
        """The suffixes of the receipts of all who store recordings."""
        return frozenset(self._carriers)

    @property
    def is_stored(self) -> bool:
        """Whether there is anybody who stores recordings."""
        return bool(self._carriers)

    def stage(self, recording: Recording) -> Stage:
        """What is next for it, as it was when it was looked at."""
        lacking = self._carriers.keys() - recording.suffixes
        if lacking and not _was_carried_away(recording):
            return Stage.CARRIERS if _is_open(lacking, self._carriers, recording) else Stage.GRAVE
        untold = self._notifiers.keys() - recording.suffixes
        if untold:
            return Stage.NOTIFIERS if _is_open(untold, self._notifiers, recording) else Stage.GRAVE
        return Stage.END

    def stage_with(self, recording: Recording, suffix: str) -> Stage:
        """What will be next when there is also that file."""
        return self.stage(Recording(recording.directory, recording.id, recording.suffixes | {suffix}))

    def is_due(self, recording: Recording, outlet: Destination) -> bool:
        """Whether ``outlet`` has to deliver it."""
        if (
            paths.SIDECAR not in recording.suffixes
            or {outlet.done_suffix, outlet.rejected_suffix} & recording.suffixes
        ):
            return False
        return self.stage(recording) is (Stage.CARRIERS if outlet.is_carrier else Stage.NOTIFIERS)


def _is_open(marks: Iterable[str], refusals: dict[str, str], recording: Recording) -> bool:
    return any(refusals[mark] not in recording.suffixes for mark in marks)


def _was_carried_away(recording: Recording) -> bool:
    """Whether its audio was stored, and removed here: a carrier that was configured since is too late for it."""
    if paths.AUDIO in recording.suffixes:
        return False
    try:
        has_audio = recording.read().get("audio") is not None
    except (OSError, ValueError):  # for the carrier to say
        return False
    # Only where no receipt is known: to look for those of carriers of earlier times is to list the whole day.
    return has_audio and (bool(recording.carriers) or _has_any_receipt(recording))


def _has_any_receipt(recording: Recording) -> bool:
    return any(recording.directory.glob(f"{recording.id}.{paths.stored_suffix('*')}"))
