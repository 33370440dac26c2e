"""Errors in [plugins.s3] are reported before a port opens, and without network access."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.loaders import Loader
from twisted.application.service import IService
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from audiohookd.interfaces import ICarrier, IPlugin, IPluginFactory, Unavailable
from audiohookd.plugin_host import Daemon
from audiohookd.testing import FakeDaemon, FakeSession
from audiohookd_plugins.s3 import S3Config, S3Plugin
from audiohookd_plugins.s3.config import Fallback
from tests.plugins.s3.s3_rig import Carrier, spooled
from tests.stores.ports import free_ports

KEY_ID = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"


def build(**table: Any) -> S3Plugin:
    settings = {"bucket": "recordings", "region": "eu-central-1"} | table
    return S3Plugin(msgspec.convert(settings, S3Config), FakeDaemon())


def mistake(**table: Any) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        build(**table)
    (line,) = str(caught.value).splitlines()
    return line


def test_it_keeps_the_contract() -> None:
    plugin = build()
    assert verifyObject(IPlugin, plugin)
    assert verifyObject(ICarrier, plugin)
    assert verifyObject(IService, plugin)
    assert IPluginFactory.providedBy(S3Plugin)


def test_it_observes_no_session() -> None:
    assert build().observe(FakeSession()) is None


@pytest.mark.parametrize(("fallback", "threads"), [(None, 4), (Fallback(bucket="another"), 5)])
def test_the_pool_has_a_thread_for_each_upload_and_each_probe(fallback: Fallback | None, threads: int) -> None:
    uploader = Carrier(bucket="a-bucket", concurrency=3, fallback=fallback)
    assert uploader.plugin.concurrency == 3
    assert uploader.daemon.asked == [("upload", threads, 3)]
    assert uploader.daemon.claims == ["s3 bucket a-bucket"]


def test_buckets_of_one_name_may_be_in_two_stores() -> None:
    daemon = Daemon(Clock(), lambda: 0.0, None)  # type: ignore[arg-type]
    for table, endpoint in enumerate((None, "https://a.example", "https://b.example/s3")):
        S3Plugin(S3Config(bucket="recordings", endpoint_url=endpoint), daemon.of_plugin(f"s{table}"))
    assert len(daemon.pools) == 3


def test_two_tables_with_one_bucket_are_a_mistake() -> None:
    daemon = Daemon(Clock(), lambda: 0.0, None)  # type: ignore[arg-type]
    S3Plugin(S3Config(bucket="recordings", endpoint_url="https://a.example"), daemon.of_plugin("s3"))
    told = r"^bucket: another .* recordings at https://a.example already: \[plugins.s3\] has claimed it"
    with pytest.raises(ValueError, match=told):
        S3Plugin(
            S3Config(bucket="recordings", endpoint_url="https://a.example", key="x/{recording}"),
            daemon.of_plugin("copy"),
        )


@pytest.mark.parametrize(
    "table",
    [
        {"sse": "aws:kms", "kms_key_id": KEY_ID},
        {"sse": "aws:kms"},
        {"fallback": {"bucket": "elsewhere", "region": "eu-west-1"}},
        {"fallback": {"bucket": "recordings", "endpoint_url": "https://other.example"}},
        {"sse": "aws:kms", "fallback": {"bucket": "elsewhere", "kms_key_id": KEY_ID}},
        {"endpoint_url": "http://[::1]:9000", "path_style": True},
        {"endpoint_url": "https://store.example/storage/v1/s3/", "path_style": True},
        {"bucket": "arn:aws:s3:eu-west-1:111122223333:accesspoint/recordings"},
        {"tags": {"conversation": "{conversation}", "kind": "call audio"}},
        {"metadata": {"organization": "{organization}"}},
        {"checksum": "crc64nvme"},
    ],
    ids=str,
)
def test_a_valid_table_is_accepted(table: dict[str, Any]) -> None:
    assert build(**table).concurrency == 2


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"bucket": ""}, "bucket: must be given"),
        ({"bucket": "a/b"}, "bucket: 'a/b' is no valid bucket name"),
        ({"bucket": "ab"}, "bucket: 'ab' is no valid bucket name"),
        ({"region": "eu west"}, "region: 'eu west' is no region"),
        ({"endpoint_url": "store:9000"}, "endpoint_url: must be like https://store.example"),
        ({"endpoint_url": "https://me:secret@store.example"}, "endpoint_url: must be like"),
        ({"endpoint_url": "https://store.example/s3?x=y"}, "endpoint_url: must be like"),
        ({"endpoint_url": "https://store.example/s3#x"}, "endpoint_url: must be like"),
        ({"endpoint_url": "https://store.example/s%203"}, "endpoint_url: must be like"),
        ({"endpoint_url": "https://store.example//s3"}, "endpoint_url: must be like"),
        ({"endpoint_url": "https://store.example:99999"}, "endpoint_url: must be like"),
        ({"endpoint_url": "https://[::1"}, "endpoint_url: must be like"),
        ({"kms_key_id": KEY_ID}, 'kms_key_id: is valid only with sse = "aws:kms"'),
        ({"kms_key_id": KEY_ID, "sse": "AES256"}, 'kms_key_id: is valid only with sse = "aws:kms"'),
        ({"storage_class": "cold one"}, "storage_class: 'cold one' is no storage class"),
        ({"key": "{date}"}, "key: '{date}': must contain {recording}"),
        ({"key": "../{recording}"}, "key: '../{recording}': must not begin"),
        ({"key": "{caller}/{recording}"}, "key: '{caller}/{recording}': {caller} is no field"),
        ({"tags": {"a": "{caller}"}}, "tags.a: '{caller}': {caller} is no field"),
        ({"tags": {"a": "ü"}}, "tags.a: 'ü': 'ü' cannot stand in it"),
        ({"tags": {"a": "{conversation}" * 3}}, "tags.a: '{conversation}{conversation}{conversation}': could get"),
        ({"tags": {"a,b": "c"}}, "tags.a,b: cannot be the name of a tag"),
        ({"tags": {"aws:x": "c"}}, "tags.aws:x: cannot be the name of a tag"),
        ({"tags": {"": "c"}}, "tags.: cannot be the name of a tag"),
        ({"tags": {f"t{number}": "x" for number in range(11)}}, "tags: 11 of them; S3 allows 10"),
        ({"metadata": {"a b": "c"}}, "metadata.a b: must be of a-z"),
        ({"metadata": {"audiohookd-sha256": "c"}}, "metadata.audiohookd-sha256: must be of"),
        ({"metadata": {"a": "line\nbreak"}}, "metadata.a: "),
        ({"metadata": {"a": "x" * 900, "b": "x" * 900}}, "metadata: could get longer than 1792 bytes"),
        ({"fallback": {"bucket": "recordings"}}, "fallback: is the primary bucket itself"),
        ({"fallback": {"bucket": "!"}}, "fallback.bucket: '!' is no valid bucket name"),
        ({"fallback": {"bucket": "abc", "endpoint_url": "x"}}, "fallback.endpoint_url: must be"),
        ({"fallback": {"bucket": "abc", "kms_key_id": "x"}}, "fallback.kms_key_id: is valid only"),
        ({"fallback": {}}, "Object missing required field `bucket` - at `$.fallback`"),
        ({"part_size": 4 << 20}, "Expected `int` >= 5242880 - at `$.part_size`"),
        ({"multipart_threshold": 5121 << 20}, "Expected `int` <= 5368709120 - at `$.multipart_threshold`"),
        ({"concurrency": 0}, "Expected `int` >= 1 - at `$.concurrency`"),
        ({"checksum": "md5"}, "Invalid enum value 'md5' - at `$.checksum`"),
        ({"bukkit": "x"}, "Object contains unknown field `bukkit`"),
    ],
    ids=str,
)
def test_an_invalid_table_is_rejected(table: dict[str, Any], reason: str) -> None:
    assert mistake(**table).startswith(reason)


def test_a_checksum_that_cannot_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awscrt.checksums", None)
    assert mistake(checksum="crc64nvme") == 'checksum: "crc64nvme" needs awscrt: pip install awscrt'


class CountingLoader(Loader):
    """Counts reads of service descriptions, which block all threads."""

    read = 0

    def load_service_model(self, *arguments: Any, **options: Any) -> Any:
        self.read += 1
        return super().load_service_model(*arguments, **options)


def test_service_descriptions_are_read_at_start(tmp_path: Path) -> None:
    """Not during a call, when the first recording is uploaded."""
    loader = CountingLoader()
    (port,) = free_ports(1)
    uploader = Carrier(loader, bucket="recordings", endpoint_url=f"http://127.0.0.1:{port}", path_style=True)
    read_at_start = loader.read
    with pytest.raises(Unavailable, match="Could not connect"):
        uploader.carry(spooled(tmp_path))
    assert read_at_start > 0
    assert loader.read == read_at_start


def test_nothing_remote_is_needed_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a valid AWS configuration: it may be corrected later."""
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    assert build(region="no-such-region-1").concurrency == 2
