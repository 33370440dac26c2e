"""Stores other than Amazon's: a recording arrives there complete, or waits with a log line that says why."""

from pathlib import Path
from typing import Any

import pytest

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd_plugins.s3.object_upload import PROBE
from audiohookd_plugins.s3.upload import Unconfirmed
from tests.plugins.s3.s3_rig import DAY, MIB, Stores, carry, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Corrupt
from tests.stores.memory_store import Trait

AUDIO = b"0123456789abcdef" * 100
LARGE = b"0123456789abcdef" * (5 * MIB // 16 + 99)
#: Some stores compute the checksum of parts, but store that of a whole object as sent.
DAMAGED = r"was stored, but (read back, it has the SHA-256|its SHA256 is)"


ONCE = [
    (),
    (Trait.METADATA_IN_TITLE_CASE,),
    (Trait.NO_PARTS_SUFFIX,),
    (Trait.HEAD_IN_CHUNKS,),
    (Trait.HEAD_WITHOUT_LENGTH,),
    (Trait.UPLOADS_ARE_A_PAGE,),
    (Trait.IGNORES_CONDITION,),
    (Trait.IGNORES_CONDITION_OF_PARTS,),
    (Trait.PUT_FAILS_IN_200_ONCE,),
    (Trait.COMPLETE_FAILS_IN_200_ONCE,),
    (Trait.CONFLICT_ONCE,),
    (Trait.PUT_LOSES_ITS_ANSWER_ONCE,),
    (Trait.REJECTS_CHECKSUMS,),
    (Trait.REJECTS_CHECKSUMS, Trait.PUT_LOSES_ITS_ANSWER_ONCE, Trait.NO_METADATA),
    (Trait.NO_CHECKSUMS,),
    (Trait.NO_CHECKSUMS, Trait.NO_METADATA),
    (Trait.NO_CHECKSUMS, Trait.NO_METADATA, Trait.PUT_LOSES_ITS_ANSWER_ONCE),
    (Trait.NO_CHECKSUMS, Trait.NO_METADATA, Trait.HEAD_WITHOUT_LENGTH, Trait.PUT_LOSES_ITS_ANSWER_ONCE),
    (Trait.VERIFIES_MD5_ONLY,),
    (Trait.VERIFIES_NOTHING, Trait.PUT_LOSES_ITS_ANSWER_ONCE),
    (Trait.VERIFIES_NOTHING,),
    (Trait.REJECTS_PROBE,),
    (Trait.VERIFIES_NOTHING, Trait.NO_GET),
    (Trait.VERIFIES_NOTHING, Trait.NO_GET, Trait.PUT_LOSES_ITS_ANSWER_ONCE),
]


def name_of(traits: Any) -> str:
    return "+".join(trait.name.lower() for trait in traits) or "none"


@pytest.mark.parametrize("audio", [AUDIO, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("traits", ONCE, ids=name_of)
def test_a_recording_arrives(
    traits: tuple[Trait, ...], audio: bytes, stores: Stores, to: Any, tmp_path: Path
) -> None:
    store, recording = stores(*traits), spooled(tmp_path, audio)
    carry(to(store.url), recording)
    assert store.only(".wav").data == audio
    assert store.only(".json").data == recording.sidecar.read_bytes()
    assert store.uploads == {}


@pytest.mark.parametrize("audio", [AUDIO, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "config",
    [
        {"checksum": "none"},
        {"checksum": "none", "confirm": "read"},
        {"checksum": "none", "confirm": "size"},
        {"checksum": "none", "confirm": "size", "overwrite_protection": "head"},
        {"checksum": "sha256", "confirm": "size"},
        {"checksum": "sha256", "overwrite_protection": "head"},
    ],
    ids=str,
)
def test_a_store_that_rejects_checksum_headers_is_sent_none(
    config: dict[str, Any], audio: bytes, stores: Stores, to: Any, tmp_path: Path
) -> None:
    store, uploader = stores(Trait.REJECTS_CHECKSUMS), to
    lines = carry(uploader(store.url, **config), spooled(tmp_path, audio))
    assert store.only(".wav").data == audio
    advised = [line for line in lines if 'set checksum = "none"' in line]
    assert len(advised) == (config["checksum"] != "none")
    assert all("Unsupported header 'x-amz-" in line for line in advised)


class TestAByteThatChangesOnTheWay:
    """The store must notice it, or the daemon, before it deletes the only good copy."""

    @pytest.mark.parametrize("confirm", ["checksum", "size", "read"])
    @pytest.mark.parametrize("audio", [AUDIO, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize("traits", [(), (Trait.VERIFIES_MD5_ONLY,), (Trait.NO_CHECKSUMS,)], ids=name_of)
    def test_a_store_that_verifies_rejects_it(
        self, traits: tuple[Trait, ...], confirm: str, audio: bytes, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store, recording = stores(*traits), spooled(tmp_path, audio)
        with FaultProxy(store.port) as proxy:
            proxy.fault(Corrupt(1000), method="PUT")
            uploader = to(proxy.endpoint, confirm=confirm)
            with pytest.raises(Exception, match="BadDigest"):
                uploader.carry(recording)
            assert store.objects == {}
            uploader.carry(recording)
        assert store.only(".wav").data == audio

    @pytest.mark.parametrize("confirm", ["checksum", "size", "read"])
    @pytest.mark.parametrize("audio", [AUDIO, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize("extra", [(), (Trait.NO_METADATA,)], ids=name_of)
    def test_the_daemon_finds_it_where_the_store_verifies_nothing(
        self, extra: tuple[Trait, ...], confirm: str, audio: bytes, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store, recording = stores(Trait.VERIFIES_NOTHING, *extra), spooled(tmp_path, audio)
        with FaultProxy(store.port) as proxy:
            proxy.fault(Corrupt(1000), method="PUT")
            uploader = to(proxy.endpoint, confirm=confirm)
            with pytest.raises(Unconfirmed, match=DAMAGED):
                uploader.carry(recording)
            assert store.count("PUT", r"\.json") == 0
            if Trait.NO_METADATA in extra:
                with pytest.raises(Undeliverable, match=r"another object is at .*: read back"):
                    uploader.carry(recording)
                return
            uploader.carry(recording)  # the object's metadata names the right SHA-256, but its bytes differ
        assert store.only(".wav").data == audio

    @pytest.mark.parametrize("confirm", ["checksum", "size"])
    @pytest.mark.parametrize("audio", [AUDIO, LARGE], ids=["small", "large"])
    def test_the_etag_shows_it_where_nothing_can_be_read_back(
        self, confirm: str, audio: bytes, stores: Stores, to: Any, tmp_path: Path
    ) -> None:
        store, recording = stores(Trait.VERIFIES_NOTHING, Trait.NO_GET), spooled(tmp_path, audio)
        with FaultProxy(store.port) as proxy:
            proxy.fault(Corrupt(1000), method="PUT")
            uploader = to(proxy.endpoint, confirm=confirm)
            with pytest.raises(Unconfirmed, match=r"was stored, but (it cannot be read back|its SHA256 is)"):
                uploader.carry(recording)
            uploader.carry(recording)
        assert store.only(".wav").data == audio

    @pytest.mark.parametrize("confirm", ["checksum", "size"])
    @pytest.mark.parametrize("audio", [AUDIO, LARGE], ids=["small", "large"])
    def test_the_daemon_finds_it_in_moto(
        self, confirm: str, audio: bytes, moto: Any, to: Any, tmp_path: Path
    ) -> None:
        recording = spooled(tmp_path, audio)
        with FaultProxy(moto.port) as proxy:
            uploader = to(proxy.endpoint, confirm=confirm)
            proxy.fault(Corrupt(1000), method="PUT", path=r"\.wav")
            with pytest.raises(Unconfirmed, match=DAMAGED):
                uploader.carry(recording)
            receipt = uploader.carry(recording)
        assert moto.client.get_object(Bucket="recordings", Key=receipt["key"])["Body"].read() == audio
        assert PROBE not in [entry["Key"] for entry in moto.client.list_objects_v2(Bucket="recordings")["Contents"]]
        assert "Uploads" not in moto.client.list_multipart_uploads(Bucket="recordings")

    def test_the_daemon_finds_it_in_an_unconfirmed_object(self, stores: Stores, to: Any, tmp_path: Path) -> None:
        """The daemon died before the confirmation."""
        store, recording = stores(Trait.VERIFIES_NOTHING), spooled(tmp_path, AUDIO)
        to(store.url).carry(recording)
        key = f"/recordings/{DAY}/{recording.id}.wav"
        store.objects[key] = store.objects[key]._replace(data=b"?" + AUDIO[1:])
        to(store.url).carry(recording)
        assert store.only(".wav").data == AUDIO


@pytest.mark.parametrize(
    ("trait", "words"),
    [
        (Trait.HEAD_WITHOUT_LENGTH, "the answer to a HEAD has no Content-Length"),
        (Trait.NO_CHECKSUMS, "the answer to a HEAD has no x-amz-checksum-..."),
    ],
)
def test_a_missing_header_is_logged_once_with_advice(
    trait: Trait, words: str, stores: Stores, to: Any, tmp_path: Path
) -> None:
    store = stores(trait)
    uploader = to(store.url, confirm="size" if trait is Trait.HEAD_WITHOUT_LENGTH else "checksum")
    (line,) = carry(uploader, spooled(tmp_path / "1", AUDIO))
    assert words in line
    assert 'confirm = "read"' in line
    assert carry(uploader, spooled(tmp_path / "2", AUDIO)) == []


@pytest.mark.parametrize(
    ("trait", "words"),
    [
        (Trait.NO_UPLOAD_ID, "bucket recordings: the answer to create_multipart_upload has no UploadId"),
        (Trait.NO_ETAG, "bucket recordings: the answer to upload_part has no ETag"),
    ],
)
def test_a_missing_member_of_an_upload_is_named(
    trait: Trait, words: str, stores: Stores, to: Any, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match=words):
        to(stores(trait).url).carry(spooled(tmp_path, LARGE))


def test_confirm_read_reads_all_of_each_object(stores: Stores, to: Any, tmp_path: Path) -> None:
    store, audio = stores(), LARGE * 4
    lines = carry(to(store.url, confirm="read"), spooled(tmp_path, audio))
    assert lines == []
    assert (store.count("GET", r"\.wav$"), store.count("GET", r"\.json$")) == (-(-len(audio) // (8 * MIB)), 1)
    assert store.count("PUT", PROBE) == 0


def test_parts_do_not_replace_what_came_first(stores: Stores, to: Any, tmp_path: Path) -> None:
    """Another object appeared while the parts were sent; Ceph RGW 16 would join them all the same."""
    store, recording = stores(Trait.IGNORES_CONDITION_OF_PARTS), spooled(tmp_path, LARGE)
    key = f"/recordings/{DAY}/{recording.id}.wav"
    other = spooled(tmp_path / "other", LARGE)
    to(store.url).carry(other)
    theirs = store.only(f"{other.id}.wav")._replace(data=b"theirs")

    class Late(dict[str, Any]):
        def __setitem__(self, name: str, upload: Any) -> None:
            super().__setitem__(name, upload)
            store.objects[key] = theirs

    store.uploads = Late()
    with pytest.raises(Undeliverable, match="another object"):
        to(store.url).carry(recording)
    assert store.objects[key] is theirs
    assert store.uploads == {}
