"""The sidecar contains any valid JSON, each message on one line."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.recorded_call import STARTED_AT, Call
from tests.protocol.json_values import VALUES


@pytest.mark.parametrize("outgoing", [False, True], ids=["in", "out"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{\n  "type": "opened",\r\n  "x": [\n]\n}', {"type": "opened", "x": []}),
        (b'{"x":"\\ud800"}', {"x": "\N{REPLACEMENT CHARACTER}"}),
        (b'{"x":1e999}', {"x": "1e999"}),
        (b'\xef\xbb\xbf{"x":1}', {"x": 1}),
        ('{"x":"\u2028\x85"}'.encode(), {"x": "\u2028\x85"}),
        (b'{"x":"\\u0000","":1}', {"x": "\0", "": 1}),
        (b"[" * 250 + b"]" * 250, "[" * 250 + "]" * 250),
    ],
    ids=["lines", "half a pair", "out of range", "byte order mark", "separators", "nul", "deep"],
)
def test_the_sidecar_holds_any_legal_json(tmp_path: Path, outgoing: bool, data: bytes, message: Any) -> None:
    made = Call(tmp_path / "spool")
    made.sink.message(outgoing, data, STARTED_AT)
    made.close()
    direction = "out" if outgoing else "in"
    assert [entry["data"] for entry in made.entries("audiohook")] == [{"dir": direction, "message": message}]
    assert made.entries("logger") == []


@settings(max_examples=50)
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_the_sidecar_has_each_message_on_one_line(values: list[str]) -> None:
    with TemporaryDirectory() as place:
        made = Call(Path(place) / "spool")
        for value in values:
            data = b'{"x":' + value.encode() + b"}"
            made.sink.message(False, data, STARTED_AT)
            made.sink.message(True, b"\n" + data, STARTED_AT)
        made.close()
        (path,) = Path(place).glob("spool/ready/*/*.json")
        whole = path.read_bytes()
    msgspec.json.decode(whole)
    lines = [line.removesuffix(b",") for line in whole.split(b"\n") if b'"type":"audiohook"' in line]
    messages = [json.loads(line)["data"]["message"] for line in lines]
    assert [list(message) for message in messages] == [["x"]] * 2 * len(values)
