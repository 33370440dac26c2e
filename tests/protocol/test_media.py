"""Offers: which of them are supported, and the arithmetic of frames."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.protocol.media import Format, Media, MediaPreference, parse_offers

FORMATS = ["PCMU", "L16"]
CHANNELS = [["external"], ["internal"], ["external", "internal"], ["internal", "external"]]
EVERY_OFFER = list(itertools.product(FORMATS, CHANNELS))


def offer(encoding: str = "PCMU", channels: Any = ("external",), rate: Any = 8000, **more: Any) -> dict[str, Any]:
    return {"type": "audio", "format": encoding, "channels": channels, "rate": rate} | more


def read(*offers: Any) -> tuple[Media, ...]:
    """The supported offers, computed in the simplest way."""
    return parse_offers(tuple(msgspec.Raw(msgspec.json.encode(each)) for each in offers))


media = st.builds(
    Media, st.sampled_from(Format), st.sampled_from([tuple(channels) for channels in CHANNELS]), st.just(8000)
)


@pytest.mark.parametrize(("encoding", "channels"), EVERY_OFFER)
def test_every_offer_of_today_is_understood(encoding: str, channels: tuple[str, ...]) -> None:
    (found,) = read(offer(encoding, channels))
    assert (found.format, found.channels, found.rate) == (encoding, tuple(channels), 8000)


@pytest.mark.parametrize(("encoding", "channels"), EVERY_OFFER)
def test_a_frame_is_one_sample_of_every_channel(encoding: str, channels: tuple[str, ...]) -> None:
    (found,) = read(offer(encoding, channels))
    assert found.frame_bytes == {"PCMU": 1, "L16": 2}[encoding] * len(channels)


STRANGE: list[Any] = [
    offer("OPUS"), offer("pcmu"), offer(rate=16_000), offer(rate="8000"), offer(channels=[]),
    offer(channels=["external", "external"]), offer(channels=["external", "internal", "external"]),
    offer(channels=["supervisor"]), offer(channels="external"), offer() | {"type": "video"}, {}, [], None, 7, "audio",
]  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_a_strange_offer_is_skipped_and_takes_no_other_with_it(strange: Any) -> None:
    assert read(strange) == ()
    assert read(offer("L16"), strange, offer()) == (*read(offer("L16")), *read(offer()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
offers = st.builds(offer, st.sampled_from([*FORMATS, "OPUS"]), st.sampled_from(CHANNELS), st.just(8000))


adornments = st.dictionaries(st.text(), json_values, max_size=3)
adorned_offers = st.builds(lambda known, more: more | known, offers, adornments)


@given(st.lists(json_values | offers | adorned_offers, max_size=6))
def test_anything_may_be_offered(listed: Any) -> None:
    raws = tuple(msgspec.Raw(msgspec.json.encode(each)) for each in listed)
    known = [
        bytes(raw)
        for raw, each in zip(raws, listed, strict=True)
        if isinstance(each, dict) and each.get("type") == "audio" and each.get("format") in FORMATS
    ]
    assert [bytes(found.to_wire()) for found in parse_offers(raws)] == known


@given(st.binary())
def test_broken_offers_are_skipped(data: bytes) -> None:
    found = parse_offers((msgspec.Raw(data), msgspec.Raw(msgspec.json.encode(offer()))))
    assert found == (Media(Format.PCMU, ("external",)),)


@given(media)
def test_a_medium_of_our_own_is_understood_again(medium: Media) -> None:
    assert parse_offers((medium.to_wire(),)) == (medium,)
    assert hash(parse_offers((medium.to_wire(),))[0]) == hash(medium)


def test_media_are_equal_when_their_audio_is() -> None:
    (plain,), (adorned,) = read(offer()), read(offer(ptime=20))
    assert plain == adorned
    assert plain != read(offer("L16"))[0]
    assert plain != read(offer(channels=["internal"]))[0]
    assert (plain == "PCMU") is False


@given(media, st.integers(0, 10_000))
def test_silence_has_the_length_it_is_asked_for(medium: Media, samples: int) -> None:
    silence = medium.silence(samples)
    assert len(silence) == samples * medium.frame_bytes
    assert set(silence) <= {0xFF if medium.format is Format.PCMU else 0x00}


def best(*offers: dict[str, Any], **preference: Any) -> Media | None:
    chosen = msgspec.convert(preference, MediaPreference)
    return chosen.best(chosen.accepted(read(*offers)))


def test_mu_law_is_preferred_to_an_undocumented_byte_order() -> None:
    assert best(offer("L16"), offer(channels=["internal"]), offer()) == Media(Format.PCMU, ("internal",))


def test_without_mu_law_the_first_is_preferred() -> None:
    assert best(offer("L16", ["internal"]), offer("L16")) == Media(Format.L16, ("internal",))


def test_of_nothing_nothing_is_preferred() -> None:
    assert best() is None


BOTH = ["external", "internal"]


@pytest.mark.parametrize(
    ("preference", "chosen"),
    [
        ({}, Media(Format.PCMU, ("external", "internal"))),
        ({"channels": ["internal", "both"]}, Media(Format.PCMU, ("internal",))),
        ({"formats": ["L16", "PCMU"]}, Media(Format.L16, ("external", "internal"))),
        ({"formats": ["L16"], "channels": ["external"]}, Media(Format.L16, ("external",))),
        ({"formats": ["L16"], "channels": ["internal"]}, None),
        ({"audio": False}, None),
    ],
)
def test_a_route_chooses_formats_and_channels(preference: dict[str, Any], chosen: Media | None) -> None:
    offers = offer(channels=BOTH), offer("L16", BOTH), offer("L16"), offer(), offer(channels=["internal"])
    assert best(*offers, **preference) == chosen


def test_inverted_channels_are_both() -> None:
    assert best(offer(), offer(channels=BOTH[::-1]), channels=["both"]) == Media(
        Format.PCMU, ("internal", "external")
    )


def test_only_the_first_offers_count() -> None:
    """An `open` of 30,000 offers held the reactor for 0.4 s."""
    last = msgspec.Raw(msgspec.json.encode(offer()))
    assert parse_offers((msgspec.Raw(b"1"),) * 63 + (last,)) == (Media(Format.PCMU, ("external",)),)
    assert parse_offers((msgspec.Raw(b"1"),) * 64 + (last,)) == ()
