"""An object read back from the store, and hashed, in bounded memory."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from urllib3.exceptions import HTTPError

from audiohookd.interfaces import Unavailable
from audiohookd_plugins.s3.file_slice import BLOCK
from audiohookd_plugins.s3.object_upload import ObjectUpload

#: Bytes of one GET. The connection bounds each answer, so a large object is read in ranges.
RANGE = 8 << 20
#: Seconds that one GET may take.
READING = 600.0

_CONTENT_RANGE = re.compile(r"bytes \d+-\d+/(\d+)", re.ASCII)


def difference(target: ObjectUpload) -> str | None:
    """How the bytes in the store differ from what they should be; None when they do not.

    :raises Unavailable: the store ends or spoils an answer.
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
                target.rules.check()
                yield block
        except HTTPError as fault:  # what botocore does not translate
            raise Unavailable(f"bucket {target.rules.bucket}: GetObject: {fault}") from fault
