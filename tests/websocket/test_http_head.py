"""The guard before the request head."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.websocket.http_head import MAX_HEAD, HeadState, RequestHeadValidator

GENESYS = (
    b"GET /api/v1/audiohook/ws?bot=7 HTTP/1.1\r\n"
    b"Host: audiohook.example.com\r\n"
    b"Connection: Upgrade\r\n"
    b"Upgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
    b"User-Agent: GenesysCloud-AudioHook-Client\r\n"
    b"Audiohook-Organization-Id: d7934305-0972-4844-938e-9060eef73d05\r\n"
    b"Audiohook-Correlation-Id: e160e428-53e2-487c-977d-96989bf5c99d\r\n"
    b"Audiohook-Session-Id: 30b0e395-84d3-4570-ac13-9a62d8f514c0\r\n"
    b"X-API-KEY: SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh\r\n"
    b'Signature-Input: sig1=("@request-target" "@authority");keyid="k";nonce="n";alg="hmac-sha256";created=1\r\n'
    b"Signature: sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:\r\n"
    b"\r\n"
)


def verdict(data: bytes) -> HeadState:
    return RequestHeadValidator().feed(data)


def with_line(line: bytes) -> bytes:
    return GENESYS[:-2] + line + b"\r\n\r\n"


def test_a_head_of_genesys_is_good() -> None:
    assert verdict(GENESYS) is HeadState.GOOD


def test_a_head_that_is_not_whole_is_incomplete() -> None:
    assert verdict(GENESYS[:-1]) is HeadState.INCOMPLETE
    assert verdict(b"") is HeadState.INCOMPLETE


def test_all_that_came_is_kept_also_what_follows_the_head() -> None:
    guard = RequestHeadValidator()
    guard.feed(GENESYS[:100])
    assert guard.feed(GENESYS[100:] + b"\x81\x80") is HeadState.GOOD
    assert guard.data == GENESYS + b"\x81\x80"


@pytest.mark.parametrize("line", [b"X-Empty:", b"X-Tab:\ta\tb", b"X~!#$%&'*+.^_`|-0: any ~ thing", b"x:y"])
def test_a_line_that_http_allows_is_good(line: bytes) -> None:
    assert verdict(with_line(line)) is HeadState.GOOD


CONTROL = [*range(9), *range(0x0A, 0x20), 0x7F]
OBS_TEXT = range(0x80, 0x100)


@pytest.mark.parametrize("octet", CONTROL, ids=hex)
def test_a_control_character_in_a_value_is_bad(octet: int) -> None:
    assert verdict(with_line(b"X-A: foo" + bytes([octet]) + b"X-Forwarded-For: 192.0.2.1")) is HeadState.BAD


@pytest.mark.parametrize("octet", OBS_TEXT, ids=hex)
def test_obs_text_in_a_value_is_good_and_opaque(octet: int) -> None:
    value = b"foo" + bytes([octet]) + b"X-Forwarded-For: 192.0.2.1"
    guard = RequestHeadValidator()
    assert guard.feed(with_line(b"X-A:" + value + bytes([octet, 0x20]))) is HeadState.GOOD
    assert guard.request is not None
    assert guard.request.headers["x-a"].encode("latin-1") == value + bytes([octet])
    assert "x-forwarded-for" not in guard.request.headers


def test_a_good_head_is_read() -> None:
    guard = RequestHeadValidator()
    guard.feed(with_line(b"X-A: b\r\nx-a:\t c \r\nX-Empty:") + b"\x81")
    assert guard.request is not None
    assert (guard.request.method, guard.request.version) == ("GET", "1.1")
    assert guard.request.target == "/api/v1/audiohook/ws?bot=7"
    assert guard.request.headers["x-a"] == "b, c"
    assert guard.request.headers["x-empty"] == ""
    assert guard.request.headers["host"] == "audiohook.example.com"
    assert guard.rest == b"\x81"


@pytest.mark.parametrize("octet", [*CONTROL, *OBS_TEXT, 0x09, 0x20], ids=hex)
def test_nor_in_a_name(octet: int) -> None:
    assert verdict(with_line(b"X" + bytes([octet]) + b"A: foo")) is HeadState.BAD


@pytest.mark.parametrize(
    "line",
    [
        b" folded: value",
        b"\tfolded",
        b"Name : value",
        b"Name\t: value",
        b"no colon at all",
        b": no name",
        b"X-A: a\nX-B: b",
        b"X-A: a\rX-B: b",
    ],
)
def test_lines_that_smuggle_are_bad(line: bytes) -> None:
    assert verdict(with_line(line)) is HeadState.BAD


@pytest.mark.parametrize(
    "first",
    [
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/1.10",
        b"GET  / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /",
        b"G(T / HTTP/1.1",
        b"GET /\x0b HTTP/1.1",
        b"GET /\xe4 HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"\x16\x03\x01\x02",
    ],
)
def test_request_lines_that_are_none(first: bytes) -> None:
    assert verdict(first + b"\r\nHost: a\r\n\r\n") is HeadState.BAD


def test_an_empty_line_before_the_request_line_is_skipped() -> None:
    guard = RequestHeadValidator()
    assert guard.feed(b"\r\n" + GENESYS) is HeadState.GOOD
    assert guard.data == GENESYS


@pytest.mark.parametrize("lines", [b"\r\n\r\n", b"\n", b"\r", b"\n\r\n", b"\r\r\n", b" \r\n"])
def test_but_no_other_lines(lines: bytes) -> None:
    assert verdict(lines + GENESYS) is HeadState.BAD


def test_two_empty_lines_are_bad_as_soon_as_they_came() -> None:
    assert verdict(b"\r\n") is HeadState.INCOMPLETE
    assert verdict(b"\r\n\r\n") is HeadState.BAD


def of_size(size: int) -> bytes:
    return with_line(b"X-Long: " + b"a" * (size - len(with_line(b"X-Long: "))))


def test_a_head_of_16_kib_is_good_and_one_byte_more_is_too_large() -> None:
    assert len(of_size(MAX_HEAD)) == MAX_HEAD == 16_384
    assert verdict(of_size(MAX_HEAD)) is HeadState.GOOD
    assert verdict(of_size(MAX_HEAD + 1)) is HeadState.TOO_LARGE


def test_a_head_without_an_end_is_too_large_as_soon_as_it_is() -> None:
    guard = RequestHeadValidator()
    assert guard.feed(b"a" * MAX_HEAD) is HeadState.INCOMPLETE
    assert guard.feed(b"a") is HeadState.TOO_LARGE


def test_data_after_a_good_head_does_not_make_it_too_large() -> None:
    assert verdict(GENESYS + b"a" * 100_000) is HeadState.GOOD


SAMPLES = st.one_of(
    st.just(GENESYS),
    st.binary(max_size=200).map(with_line),
    st.binary(max_size=200).map(lambda data: data + b"\r\n\r\n"),
    st.integers(MAX_HEAD - 5, MAX_HEAD + 5).map(of_size),
    st.binary(max_size=50).map(lambda rest: GENESYS + rest),
    st.tuples(st.integers(0, 3), st.sampled_from([GENESYS, of_size(MAX_HEAD)])).map(
        lambda two: b"\r\n" * two[0] + two[1]
    ),
)


@given(SAMPLES, st.lists(st.integers(1, 5_000), max_size=40))
@example(GENESYS, [len(GENESYS) - 3, 1, 1, 1])
@example(of_size(MAX_HEAD + 1), [1] * 40)
def test_the_verdict_does_not_depend_on_how_the_bytes_are_cut(data: bytes, sizes: list[int]) -> None:
    guard = RequestHeadValidator()
    rest = data
    outcome = HeadState.INCOMPLETE
    for size in [*sizes, len(data)]:
        piece, rest = rest[:size], rest[size:]
        outcome = guard.feed(piece)
        if outcome is not HeadState.INCOMPLETE:
            break
    assert outcome is verdict(data)


@given(SAMPLES)
def test_nor_when_they_come_one_by_one(data: bytes) -> None:
    guard = RequestHeadValidator()
    outcomes = iter(guard.feed(bytes([octet])) for octet in data)
    assert next((one for one in outcomes if one is not HeadState.INCOMPLETE), HeadState.INCOMPLETE) is verdict(data)
