"""PROXY headers: valid ones are parsed from pieces of any size, invalid ones are rejected early."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.edge.proxy_header import MAX_V1, MAX_V2, ProxyHeader, ProxyHeaderReader
from tests.proxy_headers import LOCAL, PROXY, SIGNATURE, TCP4, TCP6, UDP4, UNIX, UNSPECIFIED, outcome, v1, v2, v2_of

CLIENT = IPv4Address("192.0.2.1")
ADDRESSES = st.ip_addresses()
PORTS = st.integers(0, 65_535)
TLVS = st.binary(max_size=200)
#: Data that may begin as a header does.
BEGINNINGS = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ::1 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11\x00"]
)
ANYTHING = st.builds(lambda beginning, rest: beginning + rest, BEGINNINGS, st.binary(max_size=300))


def read(data: bytes) -> ProxyHeader | None:
    return ProxyHeaderReader().feed(data)


def error_of(data: bytes) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the test checks the text
        read(data)
    return str(caught.value)


class TestValidHeader:
    @given(ADDRESSES, PORTS, st.binary(max_size=50))
    def test_version_1_is_parsed(self, source: IPv4Address | IPv6Address, port: int, rest: bytes) -> None:
        assert read(v1(source, port) + rest) == ProxyHeader(source, port, rest)

    @given(ADDRESSES, PORTS, TLVS, st.binary(max_size=50))
    def test_version_2_is_parsed(
        self, source: IPv4Address | IPv6Address, port: int, tlvs: bytes, rest: bytes
    ) -> None:
        assert read(v2(source, port, tlvs) + rest) == ProxyHeader(source, port, rest)

    def test_the_longest_headers_are_parsed(self) -> None:
        full = "ffff:" * 7 + "ffff"
        line = f"PROXY UNKNOWN {full} {full} 65535 65535\r\n".encode()
        assert len(line) == MAX_V1
        assert read(line + b"x") == ProxyHeader(None, 0, b"x")
        block = v2(CLIENT, 1, bytes(MAX_V2 - 16 - 12))
        assert len(block) == MAX_V2
        assert read(block + b"x") == ProxyHeader(CLIENT, 1, b"x")

    def test_a_datagram_header_names_the_client(self) -> None:
        assert read(v2_of(PROXY, UDP4, CLIENT.packed * 2 + b"\x00\x07\x00\x09")) == ProxyHeader(CLIENT, 7, b"")

    @pytest.mark.parametrize(
        "header",
        [
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
            b"PROXY UNKNOWN \x00\xff\r\r\n",
            v2_of(LOCAL, UNSPECIFIED),
            v2_of(LOCAL, TCP4, bytes(12)),
            v2_of(LOCAL, 0xFF, b"whatever"),
            v2_of(PROXY, UNSPECIFIED, b"\x04\x00\x01a"),
            v2_of(PROXY, UNIX, bytes(216)),
            v2_of(PROXY, 0x10, bytes(12)),
            v2_of(PROXY, 0x01),
        ],
    )
    def test_a_header_without_an_address_names_no_client(self, header: bytes) -> None:
        assert read(header + b"GET") == ProxyHeader(None, 0, b"GET")


class TestInvalidHeader:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"GET / HTTP/1.1\r\n", "no PROXY header"),
            (b"\x16\x03\x01", "no PROXY header"),
            (b"PROXY\r\n", "no PROXY header"),
            (b"proxy UNKNOWN\r\n", "no PROXY header"),
            (SIGNATURE[:-1] + b"\r", "no PROXY header"),
            (b"PROXY \r\n", "bad PROXY header"),
            (b"PROXY UNKNOWNS\r\n", "bad PROXY header"),
            (b"PROXY TCP4\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 x 443\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443 \r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1  192.0.2.2 1 443\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\n\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 443\r\n", "bad PROXY header"),
            (b"PROXY TCP4 192.0.2.1 ::1 1 443\r\n", "bad PROXY header"),
            (b"PROXY TCP6 192.0.2.1 ::1 1 443\r\n", "bad PROXY header"),
            (b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n", "bad PROXY header"),
            (b"PROXY UNKNOWN " + b"x" * MAX_V1 + b"\r\n", "PROXY header too long"),
            (SIGNATURE + b"\x11\x11\x00\x00", "bad PROXY header"),
            (v2_of(2, TCP4, bytes(12)), "bad PROXY header"),
            (v2_of(PROXY, TCP4, bytes(11)), "bad PROXY header"),
            (v2_of(PROXY, TCP6, bytes(35)), "bad PROXY header"),
            (v2_of(PROXY, UNIX, bytes(215)), "bad PROXY header"),
            (v2_of(PROXY, 0x13, bytes(12)), "bad PROXY header"),
            (v2_of(PROXY, 0x41, bytes(216)), "bad PROXY header"),
            (SIGNATURE + b"\x21\x11\xff\xff", "PROXY header too long"),
        ],
    )
    def test_an_invalid_header_is_rejected(self, data: bytes, expected: str) -> None:
        assert error_of(data) == expected

    def test_a_line_that_is_one_byte_too_long_is_rejected(self) -> None:
        line = b"PROXY UNKNOWN ".ljust(MAX_V1 - 1, b"x")
        assert read(line) is None
        assert error_of(line + b"\r") == "PROXY header too long"


@given(st.one_of(ANYTHING, ADDRESSES.map(v1), ADDRESSES.map(v2)), st.lists(st.integers(0, 400), max_size=8))
@example(b"PROXY UNKNOWN\r\n" + b"x" * 200, [14, 100])
@example(v2(CLIENT) + b"rest", [11, 12, 13, 15, 16])
def test_the_result_does_not_depend_on_the_pieces(data: bytes, places: list[int]) -> None:
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    at_once, _ = outcome([data])
    in_pieces, fed = outcome(pieces)
    if isinstance(at_once, ProxyHeader) and isinstance(in_pieces, ProxyHeader):
        at_once = ProxyHeader(at_once.source, at_once.port, at_once.rest[: len(at_once.rest) - len(data) + fed])
    assert in_pieces == at_once


@given(ANYTHING)
def test_the_buffer_is_bounded(data: bytes) -> None:
    data += bytes(MAX_V2)
    found, fed = outcome([data[at : at + 1] for at in range(len(data))])
    assert found is not None
    assert fed <= (MAX_V2 if data.startswith(SIGNATURE) else MAX_V1)
