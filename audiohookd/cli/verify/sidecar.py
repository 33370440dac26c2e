"""Reads a sidecar entry by entry. Everything except its body, which may be of any size, is held in memory."""

from typing import Any

from audiohookd.cli.verify.checking import Stream
from audiohookd.cli.verify.sidecar_claims import Malformed
from audiohookd.spool.format.json_stream import JsonStream, NotJson, TooLarge, decode
from audiohookd.spool.format.sidecar_reader import MAX_GAPS, MAX_RECORDING, recording_of

#: Maximum bytes of an entry of the body: a journal line of 1 MiB with every byte escaped.
MAX_ENTRY = 8 << 20


def read_sidecar(text: Stream) -> dict[str, Any]:
    """Reads a sidecar, and checks its body. The body of the returned sidecar is empty.

    :raises Malformed: the text is not a sidecar, or is too large to check.
    :raises OSError: the sidecar cannot be read.
    """
    try:
        return _read(JsonStream(text.read))
    except NotJson as error:
        raise Malformed([f"the sidecar is not JSON: {error}"]) from error
    except TooLarge as error:
        raise Malformed([f"the sidecar cannot be checked: {error}"]) from error


def _read(stream: JsonStream) -> dict[str, Any]:
    if stream.peek() != b"{":
        decode(stream.value(MAX_ENTRY))
        raise Malformed(["the sidecar is not a JSON object"])
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
            raise Malformed([f"body: entry {number} is not an object"])


def _recording(stream: JsonStream) -> dict[str, Any]:
    members, omitted, _ = recording_of(stream)
    if omitted:
        raise Malformed([f"recording.gaps has {MAX_GAPS + omitted:,} elements, but only {MAX_GAPS:,} can be checked"])
    return members
