"""Redirects, to a bucket elsewhere or by a proxy: the log line says what to check."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.loaders import Loader

from audiohookd.interfaces import Unavailable
from audiohookd_plugins.s3.config import S3Config
from audiohookd_plugins.s3.connection import Connection
from audiohookd_plugins.s3.errors import UploadRejected
from tests.plugins.s3.s3_rig import MIB, Carrier, spooled
from tests.plugins.webhook_rig import certificate
from tests.stores.rude_server import Answer, RudeServer, Visit, rude_server


def says(status: str, code: str, *headers: str) -> Answer:
    """An S3 error response; without a body for a HEAD."""
    body = f"<Error><Code>{code}</Code><Message>words</Message></Error>".encode()

    def answer(visit: Visit) -> None:
        is_head = visit.server.heads[-1].startswith("HEAD")
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        visit.say("\r\n".join(lines).encode() + (b"" if is_head else body))
        visit.leave()

    return answer


@pytest.fixture
def server() -> Iterator[RudeServer]:
    with rude_server() as one:
        yield one


@pytest.fixture
def to(loader: Loader, server: RudeServer) -> Iterator[Carrier]:
    one = Carrier(loader, bucket="recordings", endpoint_url=server.url, path_style=True, multipart_threshold=5 << 20)
    yield one
    one.plugin.stopService()


@pytest.mark.parametrize("size", [10, 6 * MIB], ids=["small", "large"])
@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        ("301 Moved Permanently", "PermanentRedirect", ["x-amz-bucket-region: eu-west-1"]),
        ("301 Moved Permanently", "PermanentRedirect", []),
        ("307 Temporary Redirect", "TemporaryRedirect", ["Location: http://127.0.0.1:9/recordings"]),
        ("400 Bad Request", "AuthorizationHeaderMalformed", ["x-amz-bucket-region: eu-west-1"]),
        ("400 Bad Request", "IllegalLocationConstraintException", []),
    ],
)
def test_a_bucket_in_another_region_is_named(
    status: str, code: str, headers: list[str], size: int, to: Carrier, server: RudeServer, tmp_path: Path
) -> None:
    server.answer = says(status, code, *headers)
    with pytest.raises(Unavailable) as caught:
        to.carry(spooled(tmp_path, bytes(size)))
    assert str(caught.value).startswith("bucket recordings: ")
    advice = "check name and region" if status.startswith("400") else "set region and endpoint_url"
    is_without_words = size > MIB and status.startswith("400")  # the first request is a HEAD
    assert (advice in str(caught.value)) != is_without_words
    assert len(server.heads) < 10


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", [None, "itself", "http://127.0.0.1:9/recordings"])
@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_a_request_that_is_redirected_is_sent_at_most_three_times(
    status: int, target: str | None, region: str | None, loader: Loader, server: RudeServer
) -> None:
    lines = [f"Location: {server.url if target == 'itself' else target}"] if target else []
    lines += [f"x-amz-bucket-region: {region}"] if region else []
    server.answer = says(f"{status} Elsewhere", str(status), *lines)
    config = S3Config(bucket="recordings", endpoint_url=server.url, region="us-east-1", path_style=True)
    connection = Connection(config, config, loader)
    for operation in ("put_object", "head_object", "get_object", "head_bucket"):
        server.heads.clear()
        wanted = {"Bucket": "recordings"} | ({} if operation == "head_bucket" else {"Key": "key"})
        with pytest.raises(Unavailable, match="the store redirects") as caught, connection.requests() as client:
            getattr(client, operation)(**wanted)
        assert f"endpoint_url {server.url}, region us-east-1" in str(caught.value)
        assert len(server.heads) <= 3
    connection.close()


@pytest.mark.parametrize(
    ("status", "code"), [("411 Length Required", "MissingContentLength"), ("501 Not Implemented", "NotImplemented")]
)
def test_a_header_that_is_not_taken_is_named(
    status: str, code: str, to: Carrier, server: RudeServer, tmp_path: Path
) -> None:
    server.answer = says(status, code)
    with pytest.raises(UploadRejected, match="see the table of stores in"):
        to.carry(spooled(tmp_path))


@pytest.mark.parametrize("checksum", ["sha256", "crc32", "none"])
@pytest.mark.parametrize("size", [10, MIB])
def test_over_tls_no_body_is_in_chunks(
    checksum: str, size: int, loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore's default is a trailer with a checksum, which Ceph RGW 16 answers with 411."""
    files = certificate(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "chain.pem"))
    with rude_server(*files) as server:
        server.answer = says("503 Slow Down", "SlowDown")
        one = Carrier(loader, bucket="recordings", endpoint_url=server.url, path_style=True, checksum=checksum)
        with pytest.raises(Unavailable, match="SlowDown"):
            one.carry(spooled(tmp_path, bytes(size)))
        one.plugin.stopService()
    heads = [head.lower() for head in server.heads if head.startswith("PUT")]
    assert heads
    for head in heads:
        assert f"content-length: {size}\r\n" in head
        assert "content-md5: " in head
        assert "chunked" not in head
        assert "trailer" not in head
        assert ("expect: 100-continue" in head) == (size > 256 << 10), "small bodies wait for nothing"
        assert ("x-amz-checksum" in head) == (checksum != "none")
