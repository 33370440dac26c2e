"""An S3 store in memory that imitates other stores than Amazon's; each :class:`Trait` is one difference.

It checks no signatures. Without traits it verifies Content-MD5 and SHA-256, honours ``If-None-Match``, and returns
all headers.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit


class Trait(Enum):
    """Behaviour seen in stores and proxies. A trait with ``ONCE`` affects the first request of its kind."""

    VERIFIES_NOTHING = auto()
    """moto: keeps the checksums that a request names."""
    VERIFIES_MD5_ONLY = auto()
    """rclone serve s3."""
    REJECTS_CHECKSUMS = auto()
    """Backblaze B2, until 2025: 400 to all x-amz-checksum headers, with a message for PUT, without one for HEAD."""
    REJECTS_CHECKSUMS_OF_PARTS = auto()
    """The same for parts only."""
    NO_CHECKSUMS = auto()
    """Ceph RGW 16, rclone for parts: accepts the headers, and forgets them."""
    NO_METADATA = auto()
    """Gateways to storage without metadata."""
    METADATA_IN_TITLE_CASE = auto()
    """Proxies in Go; rclone serve s3."""
    NO_PARTS_SUFFIX = auto()
    """The checksum of parts does not end in -2, and has no type."""
    HEAD_WITHOUT_LENGTH = auto()
    HEAD_IN_CHUNKS = auto()
    """Proxies that compress, or do not know the length."""
    UPLOADS_ARE_A_PAGE = auto()
    """Responds with 200 and HTML to unknown requests."""
    IGNORES_CONDITION = auto()
    """rclone serve s3."""
    IGNORES_CONDITION_OF_PARTS = auto()
    """Ceph RGW 16."""
    REJECTS_ABORT = auto()
    """A policy without s3:AbortMultipartUpload."""
    REJECTS_PROBE = auto()
    """A policy that allows only *.wav and *.json."""
    HANGS_PROBE = auto()
    """CreateMultipartUpload is not answered until :attr:`MemoryStore.release` is set."""
    NO_MULTIPART = auto()
    NO_GET = auto()
    """A gateway that accepts objects, but does not return them."""
    PUT_FAILS_IN_200_ONCE = auto()
    COMPLETE_FAILS_IN_200_ONCE = auto()
    CONFLICT_ONCE = auto()
    PUT_LOSES_ITS_ANSWER_ONCE = auto()
    NO_UPLOAD_ID = auto()
    NO_ETAG = auto()
    WANTS_A_LENGTH = auto()
    """411 for chunked requests."""


class Object(NamedTuple):
    """A stored object; ``headers`` are of the request that created it, in lower case."""

    data: bytes
    headers: Mapping[str, str]
    sha256: str | None


class Upload(NamedTuple):
    """An unfinished multipart upload."""

    headers: Mapping[str, str]
    parts: dict[int, bytes]


class MemoryStore(ThreadingHTTPServer):
    """Serves ``objects`` by path, as in ``/bucket/key``, and lists ``requests`` as method and path."""

    daemon_threads = True

    def __init__(self, *traits: Trait) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.traits = set(traits)
        self.objects: dict[str, Object] = {}
        self.uploads: dict[str, Upload] = {}
        self.requests: list[tuple[str, str]] = []
        #: For :attr:`Trait.HANGS_PROBE`: set when the probe has arrived, and to let the store respond.
        self.probed, self.release = Event(), Event()

    @property
    def port(self) -> int:
        """The port on loopback."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The URL for ``endpoint_url``."""
        return f"http://127.0.0.1:{self.port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that disconnect, and connections that a fault ends."""

    def has(self, trait: Trait) -> bool:
        """Whether the store has this trait, for this request."""
        found = trait in self.traits
        if trait.name.endswith("_ONCE"):
            self.traits.discard(trait)
        return found

    def count(self, method: str, path: str = "") -> int:
        """How many requests have arrived; ``path`` is a regular expression."""
        return sum(method == seen and re.search(path, where) is not None for seen, where in self.requests)

    def only(self, suffix: str) -> Object:
        """The one object with a key that ends in ``suffix``."""
        (found,) = [stored for key, stored in self.objects.items() if key.endswith(suffix)]
        return found


@contextmanager
def memory_store(*traits: Trait) -> Iterator[MemoryStore]:
    """Serves requests inside the block."""
    with MemoryStore(*traits) as store:
        thread = Thread(target=store.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield store
        finally:
            store.shutdown()
            thread.join()


class _Error(Exception):
    def __init__(self, status: int, code: str, words: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.words = status, code, words


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MemoryStore

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden one
        """Logs nothing."""

    def handle_request(self) -> None:
        where = urlsplit(self.path)
        self.key, self.query = unquote(where.path), parse_qs(where.query, keep_blank_values=True)
        self.given = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path))
        self.data = self.rfile.read(int(self.given.get("content-length", "0")))
        try:
            self._check_headers()
            getattr(self, f"_{self.command.lower()}")()
        except _Error as fault:
            said = f"<Error><Code>{fault.code}</Code><Message>{fault.words}</Message></Error>"
            self._answer(said.encode(), {}, fault.status)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

    def _has(self, trait: Trait) -> bool:
        return self.server.has(trait)

    def _check_headers(self) -> None:
        named = [name for name in self.given if re.match("x-amz-(sdk-)?checksum", name)]
        rejects = self._has(Trait.REJECTS_CHECKSUMS)
        if self.command == "PUT" and "uploadId" in self.query:
            rejects = rejects or self._has(Trait.REJECTS_CHECKSUMS_OF_PARTS)
        if named and rejects:
            raise _Error(400, "InvalidArgument", f"Unsupported header '{named[0]}' received for this API call.")
        if "transfer-encoding" in self.given and self._has(Trait.WANTS_A_LENGTH):
            raise _Error(411, "MissingContentLength")

    # ---- objects ---------------------------------------------------------------------------------

    def _put(self) -> None:
        if "uploadId" in self.query:
            self._put_part()
            return
        self._check_condition(Trait.IGNORES_CONDITION)
        if "if-none-match" in self.given and self._has(Trait.CONFLICT_ONCE):
            raise _Error(409, "ConditionalRequestConflict")
        self._verify()
        if self._has(Trait.PUT_FAILS_IN_200_ONCE):
            raise _Error(200, "InternalError")
        named = self.given.get("x-amz-checksum-sha256")
        self.server.objects[self.key] = Object(self.data, self.given, named)
        if self._has(Trait.PUT_LOSES_ITS_ANSWER_ONCE):
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self._answer(b"", _etag(self.data))

    def _check_condition(self, ignores: Trait) -> None:
        is_conditional = self.given.get("if-none-match") == "*" and not self._has(ignores)
        if is_conditional and self.key in self.server.objects:
            raise _Error(412, "PreconditionFailed")

    def _verify(self) -> None:
        if self._has(Trait.VERIFIES_NOTHING):
            return
        if self.given.get("content-md5", _md5(self.data)) != _md5(self.data):
            raise _Error(400, "BadDigest")
        is_lax = self._has(Trait.VERIFIES_MD5_ONLY) or self._has(Trait.NO_CHECKSUMS)
        if not is_lax and self.given.get("x-amz-checksum-sha256", _sha256(self.data)) != _sha256(self.data):
            raise _Error(400, "BadDigest")

    def _head(self) -> None:
        found = self._found()
        headers = _etag(found.data) | self._told(found)
        if self._has(Trait.HEAD_WITHOUT_LENGTH):
            headers["Connection"] = "close"
        elif self._has(Trait.HEAD_IN_CHUNKS):
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(found.data))
        self._answer(None, headers)

    def _told(self, found: Object) -> dict[str, str]:
        told = {}
        has_checksum = found.sha256 is not None and not self._has(Trait.NO_CHECKSUMS)
        if has_checksum and "x-amz-checksum-mode" in self.given:
            told["x-amz-checksum-sha256"] = str(found.sha256)
        if not self._has(Trait.NO_METADATA):
            told |= {name: value for name, value in found.headers.items() if name.startswith("x-amz-meta-")}
        if self._has(Trait.METADATA_IN_TITLE_CASE):
            return {name.title(): value for name, value in told.items()}
        return told

    def _get(self) -> None:
        if "uploads" in self.query:
            is_page = self._has(Trait.UPLOADS_ARE_A_PAGE)
            self._answer(b"<html><body>Welcome</body>" if is_page else b"<ListMultipartUploadsResult/>", {})
            return
        if self._has(Trait.NO_GET):
            raise _Error(405, "MethodNotAllowed")
        found = self._found()
        first, last = (int(number) for number in self.given["range"].removeprefix("bytes=").split("-"))
        piece = found.data[first : last + 1]
        self._answer(piece, {"Content-Range": f"bytes {first}-{first + len(piece) - 1}/{len(found.data)}"}, 206)

    def _found(self) -> Object:
        if self.key not in self.server.objects:
            raise _Error(404, "NoSuchKey")
        return self.server.objects[self.key]

    def _delete(self) -> None:
        if "uploadId" not in self.query or self._has(Trait.REJECTS_ABORT):
            raise _Error(403, "AccessDenied")
        self.server.uploads.pop(self.query["uploadId"][0], None)
        self._answer(None, {}, 204)

    # ---- multipart uploads -----------------------------------------------------------------------

    def _post(self) -> None:
        if "uploadId" in self.query:
            upload_id = self.query["uploadId"][0]
            self._complete(self.server.uploads[upload_id])
            del self.server.uploads[upload_id]
            return
        if self.key.endswith("audiohookd-probe"):
            self._answer_probe()
        if self._has(Trait.NO_MULTIPART):
            raise _Error(501, "NotImplemented")
        name = f"upload-{len(self.server.requests)}"
        self.server.uploads[name] = Upload(self.given, {})
        said = "" if self._has(Trait.NO_UPLOAD_ID) else f"<UploadId>{name}</UploadId>"
        self._answer(f"<InitiateMultipartUploadResult>{said}</InitiateMultipartUploadResult>".encode(), {})

    def _answer_probe(self) -> None:
        if self._has(Trait.REJECTS_PROBE):
            raise _Error(403, "AccessDenied")
        if self._has(Trait.HANGS_PROBE):
            self.server.probed.set()
            self.server.release.wait()

    def _put_part(self) -> None:
        self._verify()
        self.server.uploads[self.query["uploadId"][0]].parts[int(self.query["partNumber"][0])] = self.data
        self._answer(b"", {} if self._has(Trait.NO_ETAG) else _etag(self.data))

    def _complete(self, upload: Upload) -> None:
        self._check_condition(Trait.IGNORES_CONDITION_OF_PARTS)
        if self._has(Trait.COMPLETE_FAILS_IN_200_ONCE):
            raise _Error(200, "InternalError")
        parts = [upload.parts[number] for number in sorted(upload.parts)]
        suffix = "" if self._has(Trait.NO_PARTS_SUFFIX) else f"-{len(parts)}"
        composite = _sha256(b"".join(hashlib.sha256(part).digest() for part in parts)) + suffix
        is_told = "x-amz-checksum-algorithm" in upload.headers
        self.server.objects[self.key] = Object(b"".join(parts), upload.headers, composite if is_told else None)
        self._answer(b"<CompleteMultipartUploadResult/>", {})

    def _answer(self, body: bytes | None, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None and self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if headers.get("Connection") == "close":
            self.close_connection = True
        if body is not None and self.command != "HEAD":
            self.wfile.write(body)


def _etag(data: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'}


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
