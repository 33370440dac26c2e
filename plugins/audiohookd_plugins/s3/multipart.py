"""A large file, in parts. The object is there when all of them are, or it is not there at all."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from audiohookd_plugins.s3.checksum import Sum, algorithm, encoded
from audiohookd_plugins.s3.config import MIB
from audiohookd_plugins.s3.faults import EXISTS, code_of
from audiohookd_plugins.s3.target import Target

#: S3 takes no more of them.
PARTS = 10_000


def send(target: Target) -> Sum:
    """Sends the file; the checksum of the object that is there then.

    What could not be completed is aborted if possible; what a crash left behind, when the same file is sent again.

    :raises ClientError: PreconditionFailed when there is an object already; and others.
    :raises Undeliverable: the file is not what its sidecar says.
    """
    _abort_left_over(target)
    sums = target.rules.algorithm
    created = target.ask(
        "create_multipart_upload", ChecksumAlgorithm=sums.name, ChecksumType=sums.type, **target.arguments()
    )
    try:
        return _Upload(target, created["UploadId"]).run()
    except BaseException:
        _abort(target, created["UploadId"])
        raise


def part_size(size: int, wanted: int) -> int:
    """Bytes of a part of a file of ``size`` bytes: as ``wanted``, or more when there would be too many."""
    least = -(-size // PARTS)
    return max(wanted, -(-least // MIB) * MIB)


class _Upload:
    def __init__(self, target: Target, upload_id: str) -> None:
        self._target = target
        self._id = upload_id
        self._sums = target.rules.algorithm
        self._sha256 = algorithm("sha256").start()
        self._whole = self._sha256 if self._sums.is_composite else self._sums.start()
        self._digests: list[bytes] = []

    def run(self) -> Sum:
        """The checksum of the object that is there then.

        Whoever sends parts for an hour does not send them again because one answer is missing: so the store is asked
        whether it has the object. What it has there is compared in any case.
        """
        parts = [self._part(number, start, size) for number, (start, size) in enumerate(self._windows(), 1)]
        self._target.item.check_sha256(self._sha256.digest())
        own = self._own()
        try:
            self._complete(parts, own)
        except (ClientError, BotoCoreError) as fault:
            if code_of(fault) in EXISTS or not _is_there(self._target):
                raise
        return own

    def _complete(self, parts: list[dict[str, Any]], own: Sum) -> None:
        target = self._target
        of_whole = {} if own.is_composite else {self._sums.member: own.value}
        target.ask(
            "complete_multipart_upload",
            UploadId=self._id,
            MultipartUpload={"Parts": parts},
            ChecksumType=self._sums.type,
            **of_whole,
            **target.rules.condition,
        )

    def _windows(self) -> Iterator[tuple[int, int]]:
        size = self._target.item.size
        step = part_size(size, self._target.rules.part_size)
        return ((start, min(step, size - start)) for start in range(0, size, step))

    def _part(self, number: int, start: int, size: int) -> dict[str, Any]:
        digest = self._read(start, size)
        self._digests.append(digest)
        own = Sum(encoded(digest))
        told = self._sums.told(own)
        answer = self._target.send("upload_part", start, size, UploadId=self._id, PartNumber=number, **told)
        return {"PartNumber": number, "ETag": answer["ETag"], self._sums.member: own.value}

    def _read(self, start: int, size: int) -> bytes:
        part = self._sums.start()
        running = {part, self._sha256, self._whole}
        with self._target.window(start, size) as window:
            for block in window.blocks():
                for one in running:
                    one.update(block)
        return part.digest()

    def _own(self) -> Sum:
        if self._sums.is_composite:
            return self._sums.of_parts(self._digests)
        return Sum(encoded(self._whole.digest()))


def _is_there(target: Target) -> bool:
    with suppress(ClientError, BotoCoreError):
        return target.look() is not None
    return False


def _abort_left_over(target: Target) -> None:
    """Who may not list them, leaves them to the bucket's lifecycle."""
    uploads = []
    with suppress(ClientError):
        uploads = target.uploads()
    for upload_id in uploads:
        _abort(target, upload_id)


def _abort(target: Target, upload_id: str) -> None:
    """It is for the bill alone; and why the upload failed is what counts."""
    with suppress(ClientError, BotoCoreError):
        target.ask("abort_multipart_upload", UploadId=upload_id)
