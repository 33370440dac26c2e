"""Computes the required size of a machine from the measurements (pure).

Network and disk follow from the format: stereo PCMU is 16,000 bytes per second. A frame of 200 ms has 3,200 bytes of
audio, 8 of WebSocket and, with TLS terminated at the proxy, 66 per packet of TCP/IP and Ethernet, in three packets.
"""

from collections.abc import Iterable

from bench.result import Report

#: Bytes per second of one call.
AUDIO = 16_000
#: Bytes of a frame of 200 ms on the wire besides its audio: WebSocket, and three packets.
_AROUND = 8 + 3 * 66
_FRAMES = 5  # per second
#: The share of a processor that a busy hour may use: above it, latencies grow.
HEADROOM = 0.6


def sizing(reports: Iterable[Report]) -> list[tuple[str, str]]:
    """The rows of a table; none if the required scenarios were not run."""
    values = {result.key: result.value for report in reports for result in report.findings}
    rows = []
    if "daemon-200" in values:
        rows += _processor(values["daemon-200"])
    if "memory" in values:
        rows.append(("memory, besides the idle daemon's", f"{values['memory'] * 1000 / 1024:.0f} MiB"))
    if rows:
        rows += _format()
    return rows


def calls_per_core(microseconds: float) -> int:
    """The calls that one processor carries with headroom, in hundreds.

    :param microseconds: processor time per frame of 200 ms.
    """
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
        ("network, out, if recordings are uploaded to a bucket", f"{disk * 8:.0f} Mbit/s"),
        ("disk, written", f"{disk:.0f} MB/s"),
        ("disk, for each hour in which the store is unavailable", f"{disk * 3.6:.1f} GB"),
    ]
