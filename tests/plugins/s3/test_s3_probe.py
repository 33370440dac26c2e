"""The probe of checksum verification: when it is sent, how often, and what is logged."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from botocore.loaders import Loader
from twisted.internet.task import Clock

from audiohookd.interfaces import Unavailable
from audiohookd_plugins.s3 import Interrupted, S3Config
from audiohookd_plugins.s3.bucket import Bucket
from audiohookd_plugins.s3.capabilities import UNKNOWN, Capabilities, ChecksumSupport
from audiohookd_plugins.s3.checksum import algorithm
from audiohookd_plugins.s3.config import Fallback
from audiohookd_plugins.s3.naming import Naming
from audiohookd_plugins.s3.object_upload import PROBE
from audiohookd_plugins.s3.probe import PAUSE
from tests.plugins.s3.s3_rig import Carrier, Moto, Stores, carry, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer, Lose
from tests.stores.memory_store import MemoryStore, Trait

AUDIO = b"0123456789abcdef" * 100


def probes(store: MemoryStore) -> int:
    return store.count("POST", PROBE)


class TestAtTheStart:
    @pytest.mark.parametrize(
        ("traits", "config"),
        [
            ((), {}),
            ((Trait.VERIFIES_MD5_ONLY,), {"checksum": "none", "confirm": "size"}),
            ((Trait.REJECTS_CHECKSUMS,), {"checksum": "none", "confirm": "size"}),
        ],
    )
    def test_a_store_that_verifies_is_not_probed_again(
        self, traits: tuple[Trait, ...], config: dict[str, Any], stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store = stores(*traits)
        uploader = to(store.url, **config)
        assert uploader.start() == []
        assert probes(store) == 1
        assert carry(uploader, spooled(tmp_path, AUDIO)) == []
        assert (probes(store), store.count("GET"), store.uploads) == (1, 0, {})

    def test_the_log_warns_of_a_store_that_does_not_verify(self, stores: Stores, to: Any, tmp_path: Path) -> None:
        store = stores(Trait.VERIFIES_NOTHING)
        uploader = to(store.url, key="calls/{recording}", tags={"route": "{route}"}, metadata={"a": "{language}"})
        (line,) = uploader.start()
        assert f"the store does not verify checksums: it accepted a part of s3://recordings/calls/{PROBE}" in line
        assert (store.objects, store.uploads) == ({}, {})
        assert carry(uploader, spooled(tmp_path, AUDIO)) == []
        assert (probes(store), store.count("GET", r"\.wav$")) == (1, 1)

    def test_the_log_warns_of_moto(self, moto: Moto, to: Any) -> None:
        (line,) = to(f"http://127.0.0.1:{moto.port}").start()
        assert "the store does not verify checksums" in line
        objects = moto.client.list_objects_v2(Bucket="recordings").get("Contents", ())
        assert PROBE not in [there["Key"] for there in objects]
        assert "Uploads" not in moto.client.list_multipart_uploads(Bucket="recordings")

    def test_the_fallback_is_probed_too(self, stores: Stores, to: Any) -> None:
        fallback = stores(Trait.VERIFIES_NOTHING)
        there = Fallback(bucket="second", endpoint_url=fallback.url, path_style=True)
        (line,) = to(stores().url, concurrency=1, fallback=there).start()
        assert "bucket second: the store does not verify checksums" in line

    @pytest.mark.parametrize(
        "trait", [Trait.REJECTS_CHECKSUMS, Trait.REJECTS_CHECKSUMS_OF_PARTS], ids=lambda trait: trait.name.lower()
    )
    def test_a_store_that_rejects_checksum_headers_is_found(self, trait: Trait, stores: Stores, to: Any) -> None:
        """Its 400 does not show whether it verifies checksums."""
        store = stores(trait, Trait.VERIFIES_NOTHING)
        rejects, verifies = to(store.url).start()
        assert 'set checksum = "none"' in rejects
        assert "the store does not verify checksums" in verifies
        assert store.uploads == {}

    def test_a_store_that_is_down_is_probed_with_the_first_upload(
        self, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store = stores(Trait.VERIFIES_NOTHING)
        with FaultProxy(store.port) as proxy:
            proxy.refuse()
            uploader = to(proxy.endpoint)
            (line,) = uploader.start()
            assert "bucket recordings: it is unknown whether the store verifies checksums" in line
            assert "Could not connect" in line
            assert "the first upload sends another probe" in line
            proxy.accept()
            (line,) = carry(uploader, spooled(tmp_path, AUDIO))
        assert "the store does not verify checksums" in line
        assert probes(store) == 1

    def test_a_bucket_that_is_not_there_yet_is_probed_with_the_first_upload(
        self, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store = stores()
        with FaultProxy(store.port) as proxy:
            proxy.fault(Answer(404, "NoSuchBucket"), method="POST")
            uploader = to(proxy.endpoint)
            (line,) = uploader.start()
            assert "NoSuchBucket" in line
            assert carry(uploader, spooled(tmp_path, AUDIO)) == []
        assert store.count("GET") == 0

    def test_a_client_that_cannot_be_made_is_logged(self, to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The AWS configuration is invalid, and may be corrected later."""
        monkeypatch.setenv("AWS_PROFILE", "not-there")
        (line,) = to("http://127.0.0.1:1").start()
        assert "not-there" in line
        assert "the first upload sends another probe" in line

    def test_no_probe_is_sent_where_all_is_read_back(self, stores: Stores, to: Any) -> None:
        store = stores()
        assert to(store.url, confirm="read").start() == []
        assert store.requests == []

    def test_nothing_is_sent_before_the_reactor_runs(self, stores: Stores, to: Any) -> None:
        carrier: Carrier = to(stores().url)
        carrier.plugin.startService()
        assert len(carrier.daemon.pool) == 0

    def test_a_stop_right_after_it_sends_nothing(self, stores: Stores, to: Any) -> None:
        store = stores()
        carrier: Carrier = to(store.url)
        carrier.plugin.startService()
        carrier.wait(0)
        carrier.plugin.stopService()
        carrier.daemon.pool.run()
        assert store.requests == []


class TestWithAnUpload:
    @pytest.mark.parametrize("trait", [None, Trait.VERIFIES_NOTHING])
    def test_it_is_sent_once_and_leaves_nothing(
        self, trait: Trait | None, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store, recordings = stores(*filter(None, [trait])), [spooled(tmp_path / str(number)) for number in range(3)]
        uploader = to(store.url, key="calls/{date}/{recording}", tags={"a": "b"})
        for recording in recordings:
            carry(uploader, recording)
        assert store.count("POST", f"/recordings/calls/{PROBE}") == 1
        assert len(store.objects) == 6
        assert store.uploads == {}

    def test_of_a_store_that_verifies_is_no_news(self, stores: Stores, to: Any, tmp_path: Path) -> None:
        store = stores()
        assert carry(to(store.url), spooled(tmp_path, AUDIO)) == []
        assert store.count("GET") == 0

    def test_of_a_store_that_verifies_nothing_is_logged_once(self, stores: Stores, to: Any, tmp_path: Path) -> None:
        store = stores(Trait.VERIFIES_NOTHING)
        uploader = to(store.url)
        (line,) = carry(uploader, spooled(tmp_path / "1", AUDIO))
        assert "bucket recordings: the store does not verify checksums" in line
        assert "read back" in line
        assert carry(uploader, spooled(tmp_path / "2", AUDIO)) == []
        assert store.count("GET", r"\.wav$") == 2

    @pytest.mark.parametrize("trait", [Trait.REJECTS_PROBE, Trait.NO_MULTIPART])
    def test_that_is_denied_says_nothing_of_the_store(
        self, trait: Trait, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        """Then the object is read back, and the operator can correct the policy."""
        store = stores(trait)
        uploader = to(store.url)
        (line,) = carry(uploader, spooled(tmp_path / "1", AUDIO))
        assert f"unknown whether the store verifies checksums (a multipart upload of s3://recordings/{PROBE}" in line
        assert ("AccessDenied" if trait is Trait.REJECTS_PROBE else "NotImplemented") in line
        uploader.wait(2 * PAUSE)
        carry(uploader, spooled(tmp_path / "2", AUDIO))
        assert (probes(store), store.count("GET", r"\.wav$")) == (1, 2)

    def test_that_cannot_be_aborted_does_no_harm(self, stores: Stores, to: Any, tmp_path: Path) -> None:
        store = stores(Trait.REJECTS_ABORT)
        assert carry(to(store.url), spooled(tmp_path, AUDIO)) == []
        assert store.count("GET") == 0

    @pytest.mark.parametrize("fault", [Answer(503, "SlowDown"), Lose()], ids=str)
    def test_that_fails_is_sent_again_after_a_pause(
        self, fault: Any, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store = stores()
        with FaultProxy(store.port) as proxy:
            proxy.fault(fault, times=None, method="POST", path=PROBE)
            uploader = to(proxy.endpoint)
            (line,) = carry(uploader, spooled(tmp_path / "1", AUDIO))
            assert "an upload after 60 s sends another probe" in line
            assert carry(uploader, spooled(tmp_path / "2", AUDIO)) == []
            sent = proxy.count("POST", PROBE)
            assert (sent, store.count("GET")) == (2, 4), "botocore's two attempts, and all objects read back"
            proxy.heal()
            uploader.wait(PAUSE - 1)
            carry(uploader, spooled(tmp_path / "3", AUDIO))
            assert (proxy.count("POST", PROBE), store.count("GET")) == (sent, 6)
            uploader.wait(1)
            carry(uploader, spooled(tmp_path / "4", AUDIO))
            assert (proxy.count("POST", PROBE), store.count("GET")) == (sent + 1, 6)

    def test_a_warning_that_it_is_unknown_does_not_hide_the_next(
        self, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store = stores(Trait.VERIFIES_NOTHING)
        with FaultProxy(store.port) as proxy:
            proxy.fault(Answer(503, "SlowDown"), times=2, method="POST", path=PROBE)
            uploader = to(proxy.endpoint)
            (first,) = carry(uploader, spooled(tmp_path / "1", AUDIO))
            uploader.wait(PAUSE)
            (second,) = carry(uploader, spooled(tmp_path / "2", AUDIO))
        assert "it is unknown whether" in first
        assert "the store does not verify checksums" in second

    def test_uploads_do_not_wait_for_it(self, stores: Stores, loader: Loader, tmp_path: Path) -> None:
        """CreateMultipartUpload hangs, and PUT works."""
        store = stores(Trait.HANGS_PROBE)
        config = S3Config(bucket="recordings", endpoint_url=store.url, path_style=True, concurrency=8)
        bucket = Bucket(config, config, Naming(config), lambda: None, Clock().seconds, loader)
        recordings = [spooled(tmp_path / str(number), AUDIO) for number in range(8)]
        with ThreadPoolExecutor(8) as threads:
            try:
                probing = threads.submit(bucket.probe)
                assert store.probed.wait(30)
                for recording in recordings:
                    threads.submit(bucket.carry, recording).result(30)
                assert not probing.done()
            finally:
                store.release.set()
            probing.result(30)
        bucket.close()
        assert (len(store.objects), probes(store), store.count("GET")) == (16, 1, 16)


class TestCapabilities:
    """Without a store."""

    def make(self) -> tuple[Capabilities, Clock]:
        clock = Clock()
        return Capabilities("recordings", algorithm("sha256"), clock.seconds), clock

    def test_another_thread_does_not_wait(self) -> None:
        store, _ = self.make()
        has_begun, may_end = Event(), Event()
        final = ChecksumSupport(verifies=True)

        def probe() -> ChecksumSupport:
            has_begun.set()
            assert may_end.wait(30)
            return final

        def never() -> ChecksumSupport:
            raise AssertionError("a second probe")

        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(store.verdict, probe)
            assert has_begun.wait(30)
            assert store.verdict(never) == UNKNOWN
            may_end.set()
            assert first.result(30) == final
        assert store.verdict(never) == final

    @pytest.mark.parametrize("fault", [Interrupted("the daemon stops"), Unavailable("is down")], ids=str)
    def test_a_probe_that_raises_is_over(self, fault: Exception) -> None:
        store, _ = self.make()

        def fail() -> ChecksumSupport:
            raise fault

        with pytest.raises(type(fault)):
            store.verdict(fail)
        assert store.verdict(lambda: ChecksumSupport(verifies=True)).verifies


def test_the_daemon_that_stops_sends_no_more_of_it(stores: Stores, loader: Loader) -> None:
    store = stores()
    config = S3Config(bucket="recordings", endpoint_url=store.url, path_style=True)

    def check() -> None:
        if store.requests:
            raise Interrupted("the daemon stops")

    bucket = Bucket(config, config, Naming(config), check, Clock().seconds, loader)
    with pytest.raises(Interrupted):
        bucket.probe()
    bucket.close()
    assert [method for method, _ in store.requests] == ["POST", "DELETE"]
    assert store.uploads == {}
