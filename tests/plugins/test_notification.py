"""What a notification of a recording contains, and what it never contains."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.interfaces import Undeliverable
from audiohookd_plugins.notifications.payload import Notification, compose
from tests.plugins.notification_rig import ABOUT, CONVERSATION, DAY, ID, IN_S3, PARTICIPANT, a_recording


def said(notice: Notification) -> dict[str, Any]:
    return json.loads(notice.body)


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in ABOUT.items() if key not in keys}


class TestOfARecordingThatWasStored:
    def test_says_all_of_this_and_nothing_else(self, tmp_path: Path) -> None:
        assert said(compose(a_recording(tmp_path))) == {
            "type": "recording.stored",
            "id": ID,
            "timestamp": "2026-01-01T12:05:00.250Z",
            "data": {
                "recording": ID,
                "organization": "d7934305-0972-4844-938e-9060eef73d05",
                "conversation": CONVERSATION,
                "session": "e160e428-53e2-487c-977d-96989bf5c99d",
                "correlation": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
                "route": None,
                "startedAt": "2026-01-01T12:00:00.000Z",
                "duration": "PT300S",
                "samples": 2_400_000,
                "media": {"format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
                "gaps": {"count": 2, "samples": 120},
                "missingSamples": 40,
                "closeReason": "end",
                "recovered": None,
                "audio": {"file": f"{ID}.wav", "bytes": 4_800_058, "sha256": "ab" * 32},
                "stored": {"s3": {"bucket": "calls", "key": f"{DAY}/{ID}.wav"}},
            },
        }

    def test_names_type_id_and_time(self, tmp_path: Path) -> None:
        notice = compose(a_recording(tmp_path))
        assert (notice.type, notice.id, notice.conversation) == ("recording.stored", ID, CONVERSATION)
        assert notice.at.isoformat() == "2026-01-01T12:05:00.250000+00:00"

    def test_stays_the_same_after_the_audio_was_removed(self, tmp_path: Path) -> None:
        recording = a_recording(tmp_path)
        before = compose(recording)
        recording.audio.unlink()
        assert compose(recording) == before

    def test_names_every_store(self, tmp_path: Path) -> None:
        receipts = {"tape": {"reel": 7}, "s3": IN_S3["s3"]}
        assert said(compose(a_recording(tmp_path, receipts=receipts)))["data"]["stored"] == receipts

    def test_says_what_a_crash_cost(self, tmp_path: Path) -> None:
        recovered = {"missingFrom": 800, "journalCut": True}
        recording = a_recording(tmp_path, {**ABOUT, "closeReason": "crash", "recovered": recovered})
        assert said(compose(recording))["data"]["recovered"] == recovered

    def test_says_the_route_where_the_sidecar_does(self, tmp_path: Path) -> None:
        recording = a_recording(tmp_path, {**ABOUT, "route": "/api/v1/audiohook/ws"})
        assert said(compose(recording))["data"]["route"] == "/api/v1/audiohook/ws"


class TestOfARecordingWithoutACarrier:
    def test_says_where_it_is(self, tmp_path: Path) -> None:
        recording = a_recording(tmp_path, receipts={})
        notice = said(compose(recording))
        assert notice["type"] == "recording.ready"
        assert "stored" not in notice["data"]
        assert notice["data"]["files"] == {"audio": str(recording.audio), "sidecar": str(recording.sidecar)}
        assert Path(notice["data"]["files"]["audio"]).read_bytes() == b"RIFF"

    def test_without_media_there_is_a_sidecar_only(self, tmp_path: Path) -> None:
        about = {**ABOUT, "media": None, "audio": None, "samples": 0, "duration": "PT0S"}
        recording = a_recording(tmp_path, about, receipts={}, audio=None)
        data = said(compose(recording))["data"]
        assert data["files"] == {"sidecar": str(recording.sidecar)}
        assert (data["media"], data["audio"]) == (None, None)


class TestWhatItNeverContains:
    MARK = "whoever-it-was"
    PERSON = st.recursive(
        st.text(max_size=5).map(lambda text: f"{text}whoever-it-was{text}"),
        lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(max_size=5), inner, min_size=1),
        max_leaves=5,
    )
    TYPED = ("media", "gaps", "audio")

    @given(person=PERSON, elsewhere=st.text(max_size=9), within=st.sampled_from([*TYPED, "recovered"]))
    def test_the_participant_is_left_out(
        self, tmp_path_factory: pytest.TempPathFactory, person: Any, elsewhere: str, within: str
    ) -> None:
        """Whatever the participant's form, and wherever else it is in the sidecar."""
        about = {f"x{elsewhere}": person, **ABOUT, "recovered": {"missingFrom": 1}, "participant": person}
        part = about[within]
        about[within] = [{**one, "who": person} for one in part] if within == "gaps" else {**part, "who": person}
        recording = a_recording(tmp_path_factory.getbasetemp(), about)
        assert self.MARK in recording.sidecar.read_text()
        body = compose(recording).body.decode()
        assert self.MARK not in body
        assert CONVERSATION in body

    @pytest.mark.parametrize("value", PARTICIPANT.values())
    def test_a_number_a_name_or_an_id(self, tmp_path: Path, value: str) -> None:
        recording = a_recording(tmp_path)
        assert value in recording.sidecar.read_text()
        assert value.encode() not in compose(recording).body


def test_gaps_that_the_sidecar_does_not_list_are_counted(tmp_path: Path) -> None:
    about = {**ABOUT, "omittedGaps": {"since": "PT1S", "count": 5, "samples": 100}}
    listed = said(compose(a_recording(tmp_path / "a", ABOUT)))["data"]["gaps"]
    data = said(compose(a_recording(tmp_path / "b", about)))["data"]
    assert data["gaps"] == {"count": listed["count"] + 5, "samples": listed["samples"] + 100}
    assert "omittedGaps" not in data


class TestWhatIsMissing:
    @pytest.mark.parametrize("key", ["conversation", "route", "media", "audio", "closeReason", "recovered"])
    def test_a_missing_member_is_null(self, tmp_path: Path, key: str) -> None:
        assert said(compose(a_recording(tmp_path, without(key))))["data"][key] is None

    @pytest.mark.parametrize(("key", "value"), [("missingSamples", 0), ("gaps", {"count": 0, "samples": 0})])
    def test_a_missing_member_has_its_default(self, tmp_path: Path, key: str, value: Any) -> None:
        assert said(compose(a_recording(tmp_path, without(key))))["data"][key] == value

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"recording": 1}', "{}", '{"recording": {"samples": "x"}}'])
    def test_without_a_valid_sidecar_there_is_no_notification(self, tmp_path: Path, text: str) -> None:
        recording = a_recording(tmp_path)
        recording.sidecar.write_text(text)
        with pytest.raises(Undeliverable, match="cannot compose a notification"):
            compose(recording)

    def test_without_valid_receipts_there_is_no_notification(self, tmp_path: Path) -> None:
        recording = a_recording(tmp_path)
        recording.path("stored.s3.json").write_text("{")
        with pytest.raises(Undeliverable):
            compose(recording)

    def test_a_disk_error_may_pass(self, tmp_path: Path) -> None:
        recording = a_recording(tmp_path)
        recording.sidecar.unlink()
        with pytest.raises(OSError, match="No such file"):
            compose(recording)


HUGE = {"s3": {"parts": ["x" * 100] * 100}, "tape": {}}


class TestItsSize:
    def test_has_no_limit_by_default(self, tmp_path: Path) -> None:
        notice = compose(a_recording(tmp_path, receipts=HUGE))
        assert len(notice.body) > 10_000
        assert "truncated" not in said(notice)["data"]

    def test_stays_below_the_limit_without_the_receipts(self, tmp_path: Path) -> None:
        notice = compose(a_recording(tmp_path, receipts=HUGE), limit=2000)
        assert len(notice.body) <= 2000
        data = said(notice)["data"]
        assert (data["truncated"], data["stored"]) == (True, {"s3": {}, "tape": {}})
        assert data["audio"]["sha256"] == "ab" * 32

    def test_nothing_is_left_out_without_need(self, tmp_path: Path) -> None:
        recording = a_recording(tmp_path)
        size = len(compose(recording).body)
        assert compose(recording, limit=size) == compose(recording)
        assert said(compose(recording, limit=size - 1))["data"]["truncated"] is True

    @pytest.mark.parametrize("receipts", [IN_S3, {}])
    def test_a_notification_that_stays_too_large_is_undeliverable(self, tmp_path: Path, receipts: Any) -> None:
        with pytest.raises(Undeliverable, match="more than the limit of 100"):
            compose(a_recording(tmp_path, receipts=receipts), limit=100)


@given(conversation=st.text())
def test_the_body_is_ascii_whatever_the_sidecar_contains(
    tmp_path_factory: pytest.TempPathFactory, conversation: str
) -> None:
    """No control characters either: brokers and proxies handle them differently."""
    recording = a_recording(tmp_path_factory.getbasetemp(), {**ABOUT, "conversation": conversation})
    notice = compose(recording)
    assert all(0x20 <= byte <= 0x7F for byte in notice.body)
    assert said(notice)["data"]["conversation"] == conversation
