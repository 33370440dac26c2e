"""All JSON that is legal goes on: in a session, and on one line of a file."""

import json
import re
import time
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.protocol import events
from audiohookd.protocol.codec import decode_client_envelope, decode_parameters, is_close
from audiohookd.protocol.errors import RemoteProtocolError
from audiohookd.protocol.json_text import (
    ANYTHING,
    MAX_DEPTH,
    MAX_NUMBERS,
    _depth,
    _without_halves,
    decode,
    one_line,
)
from audiohookd.protocol.messages import Open, read_object
from audiohookd.protocol.session import Session
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.testing import ORGANIZATION_ID, SESSION_ID
from tests.protocol.json_values import OBJECTS, VALUES

MEDIUM = '"type":"audio","format":"PCMU","channels":["external"],"rate":8000'
OPEN = (
    f'"organizationId":"{ORGANIZATION_ID}","conversationId":"090eaa2f-72fa-480a-83e0-8667ff89c0ec",'
    '"participant":{"id":"883efee8-3d6c-4537-b500-6d7ca4b92fa0","ani":"","aniName":"","dnis":""}'
)


def message(name: str, seq: int | str = 1, parameters: str = "", more: str = "") -> bytes:
    """One of the client's, from texts of JSON; ``more`` are further members."""
    head = f'"version":"2","id":"{SESSION_ID}","type":"{name}","seq":{seq},"serverseq":0,"position":"PT0S"'
    return f'{{{head},"parameters":{{{parameters}}}{more}}}'.encode("utf-8", "surrogatepass")


def happened(*texts: bytes) -> tuple[Session, list[events.Event]]:
    """What a session says of these messages, once it is through with them."""
    session = Session(SESSION_ID, ORGANIZATION_ID, Timeouts(), lambda: 0.0)
    found: list[events.Event] = []
    for text in texts:
        session.receive_text(text)
        while (event := session.next_event()) is not None:
            found.append(event)
            if isinstance(event, events.OpenRequested):
                session.accept(event.offers[0] if event.offers else None)
    return session, found


def python_value(text: bytes) -> Any:
    """As Python reads it, with U+FFFD for halves of pairs and the text of numbers that are none for it."""

    def number(text: str) -> Any:
        return text if abs(float(text)) == float("inf") else float(text)

    def integer(text: str) -> Any:
        return text if abs(float(text)) == float("inf") else int(text)

    value = json.loads(text.decode().removeprefix("\ufeff"), parse_float=number, parse_int=integer)
    return json.loads(
        json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


# ---- properties --------------------------------------------------------------------------------------


@given(VALUES, OBJECTS, st.sampled_from(["", "\ufeff", "\n ", "\ufeff\r\n"]), st.sampled_from(["", " \t\r\n"]))
@example('"\\ud800"', "{}", "", "")
@example("1e999", '{"a":1e999}', "", "")
def test_no_legal_json_ends_a_session(value: str, config: str, before: str, after: str) -> None:
    offers = f'"media":[{{{MEDIUM},"x":{value}}},{value}]'
    parameters = f'{OPEN},{offers},"customConfig":{config},"x":{value},"inputVariables":{{"a":{value}}}'
    texts = [
        message("open", 1, parameters, f',"x":{value},"":{value}'),
        message("x-new", 2, f'"x":{value}', f',"x":{value}'),
        message("ping", 3, f'"x":{value}'),
        message("error", 4, f'"code":400,"message":"","x":{value}'),
        message("close", 5, f'"reason":"end","x":{value}'),
    ]
    session, found = happened(*(before.encode() + text + after.encode() for text in texts))
    assert not any(isinstance(event, events.Fault) for event in found)
    (requested,) = (event for event in found if isinstance(event, events.OpenRequested))
    assert requested.offers
    assert read_object(requested.request.input_variables)
    read_object(requested.request.custom_config)
    assert session.state.name in {"CLOSING", "CLOSED"}
    for outgoing in session.take_outgoing():
        json.loads(outgoing)


@given(OBJECTS)
def test_a_plugin_reads_any_custom_config(config: str) -> None:
    for text in (config, json.dumps(config.encode("utf-8").decode("utf-8"))):
        request = decode_parameters(
            decode_client_envelope(message("open", 1, f'{OPEN},"media":[],"customConfig":{text}'))
        )
        assert isinstance(request, Open)
        assert _plain(read_object(request.custom_config)) == _plain(python_value(config.encode()))


@given(VALUES, st.sampled_from(["", "\ufeff", "\n "]))
@example('{"a":1,\r\n"a":2}', "")
@example('"\\\\ud800\\ud83d\\ude00\\ud83d"', "")
def test_any_value_is_one_line_with_the_same_meaning(value: str, before: str) -> None:
    data = (before + value).encode()
    line = one_line(data)
    assert b"\n" not in line
    assert b"\r" not in line
    ANYTHING.decode(line)
    assert _plain(json.loads(line, parse_int=_integer)) == _plain(python_value(data))


@given(VALUES)
def test_a_line_is_its_own_line(value: str) -> None:
    line = one_line(value.encode())
    assert one_line(line) == line


PIECES = [rb"\\", rb"\"", rb"\u", rb"\ud83d", rb"\ude00", rb"\uD8", rb"\uDbfF", b"\\", b"d83d", b"ude00", b"a", b"\n"]


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
@example(rb"\\\\ud83d\\\ud83d\ud83d\ude00\ude00\ud83d")
def test_only_halves_of_pairs_are_replaced(data: bytes) -> None:
    assert _without_halves(data) == _replaced_one_by_one(data)


@given(st.binary())
def test_text_that_is_not_utf_8_is_not_changed_into_utf_8(data: bytes) -> None:
    text = b'"\\ud800' + data
    try:
        _without_halves(text).decode()
    except UnicodeDecodeError:
        return
    text.decode()


@given(VALUES)
def test_the_depth_of_a_line_is_that_of_its_value(value: str) -> None:
    line = one_line(value.encode())
    members = json.loads(line, object_pairs_hook=lambda pairs: [member for _, member in pairs])
    assert _depth(b"[%b]" % line) == 1 + _levels(members)


_TOKENS = [
    ("pair", rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"),
    ("half", rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"),
    ("other", rb"\\?."),
    ("end", rb"\\"),
]


def _replaced_one_by_one(data: bytes) -> bytes:
    """Halves of pairs as U+FFFD, escape by escape."""
    replaced, at = b"", 0
    while at < len(data):
        matches = ((kind, re.compile(pattern, re.DOTALL).match(data, at)) for kind, pattern in _TOKENS)
        kind, text = next((kind, match[0]) for kind, match in matches if match)
        replaced, at = replaced + (rb"\ufffd" if kind == "half" else text), at + len(text)
    return replaced


def _levels(value: Any) -> int:
    return 1 + max(map(_levels, value), default=0) if isinstance(value, list) else 0


def _integer(text: str) -> int | str:
    return text if abs(float(text)) == float("inf") else int(text)


def _plain(value: Any) -> str:
    """For comparison: 1.0 is 1, and numbers out of range are what their texts are."""
    if isinstance(value, dict):
        return repr({name: _plain(member) for name, member in sorted(value.items())})
    if isinstance(value, list):
        return repr([_plain(member) for member in value])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if abs(value) >= 2**1023 else repr(float(value))
    return repr(value).strip("'") if isinstance(value, str) and value.strip("-")[:1].isdigit() else repr(value)


# ---- one by one --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n  "a": 1.50,\r\n\t"b": [ ]\n}', '{"a":1.50,"b":[]}'),
        ('"\\ud800"', '"\\ufffd"'),
        ('"\\udead\\ud83d\\ude00"', '"\\ufffd\\ud83d\\ude00"'),
        ('"\\\\ud800"', '"\\\\ud800"'),
        ('{"\\ud800":1}', '{"\\ufffd":1}'),
        ('"\u2028\u2029\x85\x7f\uffff"', '"\u2028\u2029\x85\x7f\uffff"'),
        ('"\\u0000"', '"\\u0000"'),
        ("1e999", '"1e999"'),
        ('{"a":-1E+400,"b":"1e999"}', '{"a":"-1E+400","b":"1e999"}'),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("9" * 5000, '"' + "9" * 5000 + '"'),
        ("[12.0,1e2,-0]", "[12.0,1e2,-0]"),
        ('{"a":1,"a":2,"":3}', '{"a":1,"a":2,"":3}'),
        ('\ufeff{"a":1}', '{"a":1}'),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * MAX_DEPTH + "]" * MAX_DEPTH),
        ('["' + "[" * 300 + '",[]]', '["' + "[" * 300 + '",[]]'),
    ],
)
def test_a_text_and_its_line(text: str, line: str) -> None:
    assert one_line(text.encode()) == line.encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nul",
        b"NaN",
        b"-Infinity",
        b"[1 2]",
        b"[1,]",
        b"01",
        b"1.",
        b"1e",
        b"[1e999",
        b'"\x01"',
        b'"\\x"',
        b'"\\ud8zz"',
        b'"\\ud800',
        b'"\\ud800" "\\',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"'a'",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 30_000 + b"]" * 30_000,
    ],
)
def test_invalid_or_too_deep_json_is_no_line(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        one_line(text)


@given(st.binary() | st.lists(st.sampled_from([b'"', b"\\", b"\\ud800", b"[", b"1e999", b",", b"}"])).map(b"".join))
def test_whatever_is_no_json_for_python_is_none_here(data: bytes) -> None:
    try:
        value = one_line(data)
    except ValueError:
        return
    json.loads(data.decode().removeprefix("\ufeff"), parse_constant=lambda _: pytest.fail("a constant"))
    json.loads(value)


def test_a_long_text_with_a_number_out_of_range_is_no_line() -> None:
    text = b'["' + b"a" * MAX_NUMBERS + b'",1e999]'
    for reader in (one_line, partial(decode, ANYTHING)):
        with pytest.raises(ValueError, match="out of range"):
            reader(text)


@pytest.mark.parametrize("unit", [b"1", b"9e1", b"1e999", b"7.1e300", b'"\\ud800"', b'{"a":1}'])
def test_text_that_is_no_message_is_rejected_without_another_look(unit: bytes) -> None:
    """64 KiB of it held the reactor for 30 ms, and a client may send it fifty times a second."""
    text = b"[" + b",".join([unit] * (64_000 // (len(unit) + 1))) + b"]"
    calls: list[int] = []

    class Counting:
        def decode(self, data: bytes) -> object:
            calls.append(len(data))
            return msgspec.json.decode(data, type=dict[str, msgspec.Raw])

    with pytest.raises(ValueError, match="Expected `object`"):
        decode(Counting(), text)  # type: ignore[arg-type]
    assert calls == [len(text)]


@pytest.mark.parametrize("seq", ["1.0", "1.00", " \n1.0 "])
def test_an_integer_may_be_written_as_a_decimal(seq: str) -> None:
    envelope = decode_client_envelope(message("ping", seq))
    assert (envelope.seq, type(envelope.seq)) == (1, int)


@pytest.mark.parametrize("seq", ["1.5", "1e999", '"1"', "-1.0", "1.0e1", "99999999999999999.0"])
def test_but_no_other_number_is_one(seq: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_client_envelope(message("ping", seq))


def test_a_rate_and_a_code_may_be_written_as_decimals() -> None:
    offer = f"{{{MEDIUM.replace('8000', '8000.0')}}}"
    _, found = happened(message("open", "1.0", f'{OPEN},"media":[{offer}]'), message("error", 2, '"code":429.0'))
    (requested,) = (event for event in found if isinstance(event, events.OpenRequested))
    assert [medium.rate for medium in requested.offers] == [8000]
    assert not any(isinstance(event, events.Fault) for event in found)


def test_a_close_with_half_a_pair_is_a_close() -> None:
    assert is_close(b'\xef\xbb\xbf{"x":"\\ud800","t\\u0079pe":"close"}')


def test_text_that_is_not_utf_8_stays_an_error() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_client_envelope(message("ping", more=',"x":"\ud800"'))


HOSTILE = {
    "quotes": b'"' * 60_000,
    "escaped quotes": b'"' + b'\\"' * 30_000,
    "escaped quotes after half a pair": b'"\\ud800",1e999,"' + b'\\"' * 30_000,
    "backslashes": b"\\" * 60_000,
    "half pairs": b'["' + b"\\ud800" * 10_000 + b'"]',
    "broken half pairs": b'["' + b"\\ud800\\ud8zz" * 5_000 + b'"]',
    "large numbers": b"[1" + b",1e999" * 10_000 + b"]",
    "digits": b"1" * 64_000,
    "digits and half a pair": b'["\\ud800",' + b"1" * 60_000 + b".0]",
    "exponents": b"1e" * 30_000,
    "minuses": b"-" * 60_000,
    "brackets": b"[" * 30_000 + b"]" * 30_000,
    "seqs": b'{"\\ud800":1' + b',"seq":1.0' * 6_000 + b"}",
    "spaces": b'{"seq":' + b" " * 60_000 + b"x}",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_takes_time_in_proportion_to_its_length(data: bytes) -> None:
    begun = time.perf_counter()
    for read in (lambda: decode(ANYTHING, data), lambda: one_line(data)):
        try:
            read()
        except ValueError:
            continue
    # Some 3 ms on an idle machine; what grows with the square takes minutes.
    assert time.perf_counter() - begun < 1.0
