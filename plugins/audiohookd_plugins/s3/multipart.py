"""A large file, in parts. The object is there when all of them are, or it is not there at all."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from audiohookd_plugins.s3.checksum import Algorithm, Sent, Sum, algorithm, encoded, is_md5_etag, md5
from audiohookd_plugins.s3.config import MIB
from audiohookd_plugins.s3.errors import EXISTS, FAILURES, code_of
from audiohookd_plugins.s3.object_upload import ObjectUpload

#: S3 takes no more of them.
PARTS = 10_000


def send(target: ObjectUpload, sums: Algorithm) -> Sent | None:
    """Sends the file; what the object that is there then was sent with. None when another one came first.

    What could not be completed is aborted if possible; what a crash left behind, when the same file is sent again.

    :param sums: what the store is told.
    :raises ClientError: PreconditionFailed when there is an object already; and others.
    :raises Undeliverable: the file is not what its sidecar says.
    """
    _abort_left_over(target)
    arguments = target.arguments() | sums.announced()
    upload_id = target.need("create_multipart_upload", "UploadId", **arguments)
    sent = None
    try:
        sent = _Upload(target, sums, upload_id).run()
        return sent
    finally:
        if sent is None:
            _abort(target, upload_id)


def part_size(size: int, wanted: int) -> int:
    """Bytes of a part of a file of ``size`` bytes: as ``wanted``, or more when there would be too many."""
    least = -(-size // PARTS)
    return max(wanted, -(-least // MIB) * MIB)


class _Upload:
    def __init__(self, target: ObjectUpload, sums: Algorithm, upload_id: str) -> None:
        self._target = target
        self._id = upload_id
        self._sums = sums
        self._sha256 = algorithm("sha256").start()
        self._whole = self._sha256 if self._sums.is_composite else self._sums.start()
        self._digests: list[bytes] = []
        self._has_md5_etags = True

    def run(self) -> Sent | None:
        """What the object that is there then was sent with; None when another one came first.

        Ceph RGW 16 honours the condition on a PUT, and ignores it when parts are joined; so the store is asked right
        before that, too.

        Whoever sends parts for an hour does not send them again because one answer is missing: so the store is asked
        whether it has the object. What it has there is compared in any case.
        """
        parts = [self._part(number, start, size) for number, (start, size) in enumerate(self._windows(), 1)]
        self._target.item.check_sha256(self._sha256.digest())
        own = self._own()
        if not self._target.replaces and _is_there(self._target):
            return None
        try:
            self._complete(parts, own)
        except FAILURES as fault:
            if code_of(fault) in EXISTS or not _is_there(self._target):
                raise
        return Sent(own, self._has_md5_etags)

    def _complete(self, parts: list[dict[str, Any]], own: Sum) -> None:
        self._target.ask(
            "complete_multipart_upload",
            UploadId=self._id,
            MultipartUpload={"Parts": parts},
            **self._sums.of_whole(own),
            **self._target.condition,
        )

    def _windows(self) -> Iterator[tuple[int, int]]:
        size = self._target.item.size
        step = part_size(size, self._target.rules.part_size)
        return ((start, min(step, size - start)) for start in range(0, size, step))

    def _part(self, number: int, start: int, size: int) -> dict[str, Any]:
        digest, content_md5 = self._read(start, size)
        self._digests.append(digest)
        own = Sum(encoded(digest))
        told = {"UploadId": self._id, "PartNumber": number, "ContentMD5": content_md5, **self._sums.told(own)}
        answer = self._target.send("upload_part", start, size, **told)
        self._has_md5_etags = self._has_md5_etags and is_md5_etag(answer, content_md5)
        etag = self._target.member("upload_part", "ETag", answer)
        return {"PartNumber": number, "ETag": etag, **self._sums.of_part(own)}

    def _read(self, start: int, size: int) -> tuple[bytes, str]:
        part, md5_sum = self._sums.start(), md5()
        running = {part, md5_sum, self._sha256, self._whole}
        with self._target.window(start, size) as window:
            for block in window.blocks():
                for one in running:
                    one.update(block)
        return part.digest(), encoded(md5_sum.digest())

    def _own(self) -> Sum:
        if self._sums.is_composite:
            return self._sums.of_parts(self._digests)
        return Sum(encoded(self._whole.digest()))


def _is_there(target: ObjectUpload) -> bool:
    with suppress(*FAILURES):
        return target.look(asks_for_checksum=False) is not None
    return False


def _abort_left_over(target: ObjectUpload) -> None:
    """Who may not list them, leaves them to the bucket's lifecycle."""
    uploads = []
    with suppress(ClientError, ResponseParserError):
        uploads = target.uploads()
    for upload_id in uploads:
        _abort(target, upload_id)


def _abort(target: ObjectUpload, upload_id: str) -> None:
    """It is for the bill alone; and why the upload failed is what counts."""
    with suppress(*FAILURES):
        target.ask("abort_multipart_upload", UploadId=upload_id)
