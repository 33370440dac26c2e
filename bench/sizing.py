"""From what was measured to the machine that one needs (pure).

Network and disk follow from the format: stereo PCMU is 16,000 bytes a second. A frame of 200 ms takes 3,200 bytes, 8
of WebSocket and, with TLS off at the proxy, 66 a packet of TCP/IP and Ethernet, of which there are three.
"""

from collections.abc import Iterable

from bench.result import Report

#: Bytes a second of one call.
AUDIO = 16_000
#: Bytes of a frame of 200 ms on the wire, beyond its audio: WebSocket, and three packets.
_AROUND = 8 + 3 * 66
_FRAMES = 5  # a second
#: Part of a processor that a busy hour may take: above it latencies grow.
HEADROOM = 0.6


def sizing(reports: Iterable[Report]) -> list[tuple[str, str]]:
    """Rows of a table; none when what it takes was not measured."""
    values = {one.key: one.value for report in reports for one in report.findings}
    rows = []
    if "daemon-200" in values:
        rows += _processor(values["daemon-200"])
    if "memory" in values:
        rows.append(("memory, besides the idle daemon's", f"{values['memory'] * 1000 / 1024:.0f} MiB"))
    if rows:
        rows += _format()
    return rows


def calls_per_core(microseconds: float) -> int:
    """With so much processor for each frame of 200 ms, and some headroom; in hundreds."""
    return int(HEADROOM * 1e6 / (microseconds * _FRAMES)) // 100 * 100


def _processor(microseconds: float) -> list[tuple[str, str]]:
    return [
        ("processors", f"{microseconds * _FRAMES * 1000 / 1e6:.2f}"),
        (f"calls a core carries at {HEADROOM:.0%}", f"{calls_per_core(microseconds):,}"),
    ]


def _format() -> list[tuple[str, str]]:
    wire = (AUDIO + _FRAMES * _AROUND) * 8 * 1000 / 1e6
    disk = AUDIO * 1000 / 1e6
    return [
        ("network, in", f"{wire:.0f} Mbit/s"),
        ("network, out, where recordings go to a bucket", f"{disk * 8:.0f} Mbit/s"),
        ("disk, written", f"{disk:.0f} MB/s"),
        ("disk, for each hour that the store is away", f"{disk * 3.6:.1f} GB"),
    ]
