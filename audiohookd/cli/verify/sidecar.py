"""Reads and checks a sidecar entry by entry: all but its body, which may be of any size, is held in memory."""

from typing import Any

from audiohookd.cli.verify.checking import Stream
from audiohookd.cli.verify.sidecar_claims import Malformed
from audiohookd.spool.format.json_stream import JsonStream, NotJson, TooLarge, decode
from audiohookd.spool.format.sidecar_reader import MAX_GAPS, MAX_RECORDING, recording_of

#: Bytes of an entry of the body: a journal line of 1 MiB, every byte of it escaped.
MAX_ENTRY = 8 << 20


def read_sidecar(text: Stream) -> dict[str, Any]:
    """The sidecar, with an empty body if the body is as it should be.

    :raises Malformed: the text is no sidecar, or a sidecar too large to check.
    :raises OSError: it cannot be read.
    """
    try:
        return _read(JsonStream(text.read))
    except NotJson as fault:
        raise Malformed([f"the sidecar is not JSON: {fault}"]) from fault
    except TooLarge as fault:
        raise Malformed([f"the sidecar cannot be checked: {fault}"]) from fault


def _read(stream: JsonStream) -> dict[str, Any]:
    if stream.peek() != b"{":
        decode(stream.value(MAX_ENTRY))
        raise Malformed(["the sidecar is no JSON object"])
    sidecar: dict[str, Any] = {}
    for name in stream.members():
        following = stream.peek()
        if name == "body" and following == b"[":
            _check_body(stream)
            sidecar[name] = []
        elif name == "recording" and following == b"{":
            sidecar[name] = _recording(stream)
        else:
            sidecar[name] = decode(stream.value(MAX_RECORDING))
    stream.end()
    return sidecar


def _check_body(stream: JsonStream) -> None:
    for number, _ in enumerate(stream.elements()):
        if not isinstance(decode(stream.value(MAX_ENTRY)), dict):
            raise Malformed([f"body: entry {number} is no object"])


def _recording(stream: JsonStream) -> dict[str, Any]:
    members, omitted, _ = recording_of(stream)
    if omitted:
        raise Malformed([f"recording.gaps has {MAX_GAPS + omitted:,} elements, and {MAX_GAPS:,} can be checked"])
    return members
