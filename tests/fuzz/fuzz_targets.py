"""The targets of the fuzzers: each takes bytes, and raises if they break a promise of the code."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.fuzz import fuzz_frames, fuzz_heads, fuzz_messages, fuzz_proxy_headers, fuzz_signatures


class Target(NamedTuple):
    """The function to feed, its seeds, and the words of its dictionary."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...]


TARGETS = {
    "signatures": Target(
        fuzz_signatures.check,
        fuzz_signatures.seeds,
        (b"sig1=", b'("x-api-key")', b";created=", b';nonce="', b';keyid="', b":AA==:", b"?1", b'%"', b"\n", b"@1"),
    ),
    "messages": Target(
        fuzz_messages.check,
        fuzz_messages.seeds,
        (b'"version":"2"', b'"parameters":', b'"position":"PT', b"\naudio\n", b"\ntick\n", b"1e999", b"\\ud800"),
    ),
    "frames": Target(
        fuzz_frames.check,
        fuzz_frames.seeds,
        (b"\x82\x85", b"\x81\x85", b"\x82\xfe\x00\x7e", b"\x82\xff", b"\x88\x80", b"\x89\x80", b"close", b"abort"),
    ),
    "proxy-headers": Target(
        fuzz_proxy_headers.check,
        fuzz_proxy_headers.seeds,
        (b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"\r\n", b"\r\n\r\n\x00\r\nQUIT\n", b"\x21\x11\x00\x0c", b"::1 "),
    ),
    "heads": Target(
        fuzz_heads.check,
        fuzz_heads.seeds,
        (b"\r\n\r\n", b"\r\n", b"Host: ", b"\x85", b"\x0b", b"\x1c", b" HTTP/1.1", b"Content-Length: 0", b"GET //a/"),
    ),
}
