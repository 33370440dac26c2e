"""Uploads recordings to one bucket."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from botocore.loaders import Loader

from audiohookd.interfaces import IRecording, Undeliverable
from audiohookd_plugins.s3 import probe, upload
from audiohookd_plugins.s3.config import Fallback, S3Config
from audiohookd_plugins.s3.connection import Connection
from audiohookd_plugins.s3.naming import AUDIO, SIDECAR, Naming
from audiohookd_plugins.s3.object_upload import Item, ObjectUpload, UploadSettings
from audiohookd_plugins.s3.template import FIELDS, MISSING, values


class AudioGone(Undeliverable):
    """The audio is neither on this machine nor in the bucket."""


class Bucket:
    """One bucket. For worker threads, any number at a time.

    :param check: called repeatedly while files are read; an exception from it ends the upload.
    :param now: monotonic, in seconds.
    :param loader: see :class:`Connection`.
    """

    def __init__(
        self,
        place: S3Config | Fallback,
        config: S3Config,
        naming: Naming,
        check: Callable[[], None],
        now: Callable[[], float],
        loader: Loader,
    ) -> None:
        self.name = place.bucket
        self._is_fallback = isinstance(place, Fallback)
        self._endpoint = {"endpoint_url": place.endpoint_url} if place.endpoint_url else {}
        self._naming = naming
        self._settings = UploadSettings(place, config, check, now)
        self._connection = Connection(place, config, loader)

    def carry(self, recording: IRecording) -> dict[str, Any]:
        """Stores audio and sidecar, in this order, and returns the receipt.

        :raises Unavailable: the bucket is unavailable.
        :raises Undeliverable: the recording can never be stored.
        :raises Exception: another error; the upload is retried.
        """
        audio, sidecar = _items(recording, self._naming)
        with self._connection.requests() as client:
            stored = None if audio is None else self._carry_audio(ObjectUpload(client, self._settings, audio))
            stored_sidecar = upload.store(ObjectUpload(client, self._settings, sidecar))
        return {
            "bucket": self.name,
            "key": None if audio is None else audio.key,
            "sidecar": sidecar.key,
            "bytes": None if audio is None else audio.size,
            "sha256": None if audio is None else audio.sha256,
            "fallback": self._is_fallback,
            **self._endpoint,
            **_version("version", stored),
            **_version("sidecar_version", stored_sidecar),
        }

    def probe(self) -> None:
        """Tests whether the store verifies checksums, unless each object is read back anyway.

        :raises Unavailable: no client could be created.
        :raises Exception: from ``check``.
        """
        if self._settings.confirm == "read":
            return
        with self._connection.requests() as client:
            target = ObjectUpload(client, self._settings, _sample(self._naming))
            self._settings.store.verdict(partial(probe.at_start, target))

    def take_warnings(self) -> list[str]:
        """New findings about the store, for the log; each once."""
        return self._settings.store.take_warnings()

    def close(self) -> None:
        """Closes idle connections."""
        self._connection.close()

    def _carry_audio(self, target: ObjectUpload) -> Mapping[str, Any]:
        if target.item.path.exists():
            return upload.store(target)
        found = upload.find(target)
        if found is None:
            raise AudioGone(f"{target.item.path.name} is neither in the spool nor at {target}")
        return found


def _items(recording: IRecording, naming: Naming) -> tuple[Item | None, Item]:
    """The files to upload: the audio, if there is any, and the sidecar."""
    try:
        members = recording.read()
        fields = values(recording.id, members)
        audio = members["audio"]
        size, sha256 = (0, "") if audio is None else (int(audio["bytes"]), bytes.fromhex(audio["sha256"]).hex())
    except (ValueError, KeyError, TypeError) as error:
        raise Undeliverable(f"{recording.sidecar.name} is no sidecar: {error}") from error
    key, extras = naming.key(fields), (naming.tagging(fields), naming.metadata(fields))
    first = None if audio is None else Item(recording.audio, key + AUDIO, size, sha256, "audio/wav", *extras)
    return first, Item(recording.sidecar, key + SIDECAR, *_describe(recording.sidecar), "application/json", *extras)


def _sample(naming: Naming) -> Item:
    """An item with the attributes of an audio file; the templates have no values for their fields."""
    fields = dict.fromkeys(FIELDS, MISSING)
    sha256 = hashlib.sha256(b"").hexdigest()
    return Item(Path(), "", 0, sha256, "audio/wav", naming.tagging(fields), naming.metadata(fields))


def _describe(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return (path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _version(name: str, head: Mapping[str, Any] | None) -> dict[str, str]:
    """The member for the object's version, if the bucket has versions."""
    return {name: head["VersionId"]} if head is not None and "VersionId" in head else {}
