"""Recordings in progress, and ready ones."""

from collections.abc import Mapping
from typing import Any

from zope.interface import Attribute, Interface

from audiohookd.protocol.media import Media

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


class IRecorder(Interface):
    """Marks a plugin that records the sessions it observes, so that the daemon can report calls without a recording.

    A route needs such a plugin unless it has ``record = false``. Otherwise the daemon warns at start, in ``/ready``
    and at the end of each call.
    """


class IJournalEntry(Interface):
    """A journal line that is rendered when it is written.

    Frequent lines are rendered in batches in the writer thread and cost the reactor no time.
    """

    def __len__() -> int:
        """About how many bytes the rendered line will have."""

    def __call__() -> bytes:
        """Renders the line. Called once, in the thread that writes all calls.

        It must be quick, must not wait, and must not read state that another thread may change. If it raises, the
        exception is logged, and written to the journal in place of the line.

        :returns: one line of JSON; see :meth:`IDraft.add_entry`.
        """


class IDraft(Interface):
    """A recording that is being written. See :mod:`audiohookd.spool`.

    If a write fails, the audio of that write is lost. As soon as the disk can be written again, silence of the same
    length replaces it, and the sidecar lists it as a gap with the cause ``disk``. Until then the draft accepts data
    as usual. One call raises OSError when such a failure, or a stall of the disk, begins.

    After ``finish`` every call raises ValueError.
    """

    id = Attribute("UUID of the recording; the name of its files.")

    def audio(data: bytes) -> Any:
        """Appends audio. The draft keeps a reference to ``data`` until it is written.

        :param data: whole samples of all channels, interleaved.
        :returns: None; or a Deferred if too much data waits for the disk. The caller should send no more until the
            Deferred fires.
        :raises OSError: a disk error or a stall began since the last call of ``audio`` or ``add_entry``. The draft
            has accepted ``data`` nevertheless, and accepts further data.
        """

    def add_entry(line: "bytes | IJournalEntry") -> Any:
        """Appends one line of JSON to the journal: an object with ``timestamp``, ``type`` and ``data``.

        The lines become the body of the sidecar, with two exceptions: ``data`` of the type ``recording`` is merged
        into the sidecar's ``recording``, and ``data`` of the type ``gap`` is added to its list of gaps.

        :returns: as :meth:`audio`.
        :raises OSError: as :meth:`audio`; the draft has accepted ``line``.
        :raises TypeError: ``line`` is neither bytes nor an IJournalEntry.
        :raises ValueError: ``line`` is more than one line.
        """

    def finish(recording: Mapping[str, Any]) -> Any:
        """Ends the draft and makes it a ready recording.

        :param recording: added to the ``recording`` object of the sidecar.
        :returns: a Deferred with the path of the audio file, or of the sidecar if there was no audio. It fails with
            OSError if the disk does; the files then remain a draft, which the daemon recovers as after a crash.
        """


class ISpool(Interface):
    """Recordings on disk."""

    def begin(recording_id: str, started_at: float, media: Media | None) -> IDraft:
        """Begins a recording.

        :param recording_id: UUID; the name of its files.
        :param started_at: seconds since the epoch.
        :param media: format of the audio; None for a recording that has only a sidecar.
        """


class IRecording(Interface):
    """A ready recording. Plugins must not change its files.

    The methods read the disk: call them only in worker threads.
    """

    id = Attribute("UUID of the recording; the name of its files.")
    day = Attribute("The day on which it started, in UTC: ``2026-01-31``.")
    audio = Attribute(
        "Path of the audio file. The file is missing if the recording has no audio, or if it was uploaded and deleted"
        " and only its notifications are pending."
    )
    sidecar = Attribute("Path of the sidecar.")

    def read() -> Mapping[str, Any]:
        """Reads the ``recording`` object of the sidecar, in bounded memory for a sidecar of any size.

        :returns: the object with at most 10,000 ``gaps``; ``omittedGaps`` counts the others.
        :raises OSError: the sidecar cannot be read.
        :raises ValueError: the file is not a sidecar.
        """

    def receipts() -> Mapping[str, Mapping[str, Any]]:
        """Reads the receipts of the carriers that have stored the recording.

        :returns: each carrier's receipt (the result of :meth:`ICarrier.carry`), by the name of its table in the
            configuration.
        """
