"""Reads an object back from the store and compares its SHA-256, in bounded memory."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from urllib3.exceptions import HTTPError

from audiohookd.interfaces import Unavailable
from audiohookd_plugins.s3.file_slice import BLOCK
from audiohookd_plugins.s3.object_upload import ObjectUpload

#: Bytes per GET. The connection bounds each response, so a large object is read in ranges.
RANGE = 8 << 20
#: Seconds for one GET.
READING = 600.0

_CONTENT_RANGE = re.compile(r"bytes \d+-\d+/(\d+)", re.ASCII)


def difference(target: ObjectUpload) -> str | None:
    """How the bytes in the store differ from the file; None if they do not.

    :raises Unavailable: a response is cut off or invalid.
    """
    item = target.item
    digest = hashlib.sha256()
    for start in range(0, item.size, RANGE):
        length = min(RANGE, item.size - start)
        answer = target.ask("get_object", Range=f"bytes={start}-{start + length - 1}")
        size = _size(answer)
        if size != item.size:
            return f"a GET says that it has {size} bytes instead of {item.size}"
        for block in _blocks(target, answer["Body"]):
            digest.update(block)
    found = digest.hexdigest()
    return None if found == item.sha256 else f"read back, it has the SHA-256 {found} instead of {item.sha256}"


def _size(answer: Mapping[str, Any]) -> int | None:
    """Bytes of the whole object. A store that ignores ranges sends all of it."""
    if "ContentRange" not in answer:
        return answer.get("ContentLength")
    match = _CONTENT_RANGE.fullmatch(answer["ContentRange"])
    return None if match is None else int(match[1])


def _blocks(target: ObjectUpload, body: Any) -> Any:
    with closing(body):
        try:
            while block := body.read(BLOCK):
                target.settings.check()
                yield block
        except HTTPError as error:  # not translated by botocore
            raise Unavailable(f"bucket {target.settings.bucket}: GetObject: {error}") from error
