"""Multipart upload of a large file. The object exists only after all parts have been joined."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from audiohookd_plugins.s3.checksum import Algorithm, Sent, Sum, algorithm, encoded, is_md5_etag, md5
from audiohookd_plugins.s3.config import MIB
from audiohookd_plugins.s3.errors import EXISTS, FAILURES, code_of
from audiohookd_plugins.s3.object_upload import ObjectUpload

#: The most parts that S3 accepts.
PARTS = 10_000


def send(target: ObjectUpload, sums: Algorithm) -> Sent | None:
    """Uploads the file, and returns its checksums; None when another object with this key came first.

    An upload that fails is aborted if possible. An upload left by a crash is aborted when the same file is sent
    again.

    :param sums: the checksum algorithm to send.
    :raises ClientError: PreconditionFailed if there is an object already; and others.
    :raises Undeliverable: the file does not match its sidecar.
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
    """Bytes per part for a file of ``size`` bytes: ``wanted``, or more if there would be too many parts."""
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
        """Sends all parts and joins them; None when another object with this key came first.

        Ceph RGW 16 honours the condition on a PUT, but ignores it when parts are joined, so a HEAD precedes that
        request, too.

        If the response to that request is lost, another HEAD shows whether the object exists, so that the parts need
        not be sent again. The object is verified in any case.
        """
        parts = [self._part(number, start, size) for number, (start, size) in enumerate(self._windows(), 1)]
        self._target.item.check_sha256(self._sha256.digest())
        own = self._own()
        if not self._target.replaces and _is_there(self._target):
            return None
        try:
            self._complete(parts, own)
        except FAILURES as error:
            if code_of(error) in EXISTS or not _is_there(self._target):
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
        step = part_size(size, self._target.settings.part_size)
        return ((start, min(step, size - start)) for start in range(0, size, step))

    def _part(self, number: int, start: int, size: int) -> dict[str, Any]:
        digest, content_md5 = self._read(start, size)
        self._digests.append(digest)
        own = Sum(encoded(digest))
        arguments = {
            "UploadId": self._id,
            "PartNumber": number,
            "ContentMD5": content_md5,
            **self._sums.request_members(own),
        }
        answer = self._target.send("upload_part", start, size, **arguments)
        self._has_md5_etags = self._has_md5_etags and is_md5_etag(answer, content_md5)
        etag = self._target.member("upload_part", "ETag", answer)
        return {"PartNumber": number, "ETag": etag, **self._sums.of_part(own)}

    def _read(self, start: int, size: int) -> tuple[bytes, str]:
        part, md5_sum = self._sums.start(), md5()
        running = {part, md5_sum, self._sha256, self._whole}
        with self._target.window(start, size) as window:
            for block in window.blocks():
                for checksum in running:
                    checksum.update(block)
        return part.digest(), encoded(md5_sum.digest())

    def _own(self) -> Sum:
        if self._sums.is_composite:
            return self._sums.of_parts(self._digests)
        return Sum(encoded(self._whole.digest()))


def _is_there(target: ObjectUpload) -> bool:
    with suppress(*FAILURES):
        return target.head(asks_for_checksum=False) is not None
    return False


def _abort_left_over(target: ObjectUpload) -> None:
    """Aborts uploads that a crash left. Without the permission to list them, the bucket's lifecycle rules must."""
    uploads = []
    with suppress(ClientError, ResponseParserError):
        uploads = target.uploads()
    for upload_id in uploads:
        _abort(target, upload_id)


def _abort(target: ObjectUpload, upload_id: str) -> None:
    """Only saves storage costs, so an error here must not hide why the upload failed."""
    with suppress(*FAILURES):
        target.ask("abort_multipart_upload", UploadId=upload_id)
