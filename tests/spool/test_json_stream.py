"""The JSON parser that reads block by block."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.format import json_stream
from audiohookd.spool.format.json_stream import BLOCK, JsonStream, NotJson, TooLarge, decode

LIMIT = 1 << 20

texts = st.text() | st.text(alphabet='"\\[]{},: \n')
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)
indents = st.sampled_from([None, 0, 3])


def reader(text: bytes, size: int) -> Callable[[int], bytes]:
    """A read function that returns ``size`` bytes at a time, whatever the caller asks for."""
    stream = BytesIO(text)
    return lambda _: stream.read(size)


def walked(stream: JsonStream) -> Any:
    """Parses the text by entering every object and array."""
    first = stream.peek()
    if first == b"{":
        return {name: walked(stream) for name in stream.members()}
    if first == b"[":
        return [walked(stream) for _ in stream.elements()]
    return json.loads(stream.value(LIMIT))


@given(values, indents, st.integers(1, 40), st.booleans())
def test_a_text_that_is_entered_reads_as_json_loads_does(
    value: Any, indent: int | None, size: int, is_ascii: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    stream = JsonStream(reader(text, size))
    assert walked(stream) == value
    stream.end()


@given(st.dictionaries(texts, values, max_size=6), indents, st.integers(1, 40), st.data())
def test_a_member_is_taken_verbatim_and_others_are_skipped(
    value: dict[str, Any], indent: int | None, size: int, data: st.DataObject
) -> None:
    wanted = data.draw(st.sets(st.sampled_from(sorted(value)))) if value else set()
    stream = JsonStream(reader(json.dumps(value, indent=indent).encode(), size))
    taken = {name: json.loads(stream.value(LIMIT)) for name in stream.members() if name in wanted}
    assert taken == {name: member for name, member in value.items() if name in wanted}
    stream.end()


@given(st.lists(values, max_size=6), st.integers(1, 40), st.data())
def test_elements_that_are_not_taken_are_skipped(value: list[Any], size: int, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.booleans(), min_size=len(value), max_size=len(value)))
    stream = JsonStream(reader(json.dumps(value).encode(), size))
    steps = zip(wanted, stream.elements(), strict=True)
    taken = [json.loads(stream.value(LIMIT)) for is_wanted, _ in steps if is_wanted]
    assert taken == [element for element, is_wanted in zip(value, wanted, strict=True) if is_wanted]


@given(values.filter(lambda value: not isinstance(value, (int, float))), st.integers(1, 40), st.data())
def test_a_truncated_text_is_rejected(value: Any, size: int, data: st.DataObject) -> None:
    text = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(NotJson):
        decode(JsonStream(reader(text[:cut], size)).value(LIMIT))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"5", b'{"a"', b'{"a" 5}', b"{a:5}", b'{"a":5,}', b'{"a":5 "b":6}', b'{"a":}', b'{"a":5]', b"{5:5}"],
)
def test_a_text_that_is_no_object_is_rejected(text: bytes) -> None:
    with pytest.raises(NotJson):
        list(JsonStream(reader(text, 3)).members())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_byte_order_mark_is_understood(encoding: str, size: int) -> None:
    text = json.dumps({"a": "ä\U0001f600", "b": [1]}, ensure_ascii=False).encode(encoding)
    assert walked(JsonStream(reader(text, size))) == {"a": "ä\U0001f600", "b": [1]}


def test_a_value_above_the_limit_is_not_kept_in_memory() -> None:
    reads: list[int] = []

    def read(size: int) -> bytes:
        reads.append(size)
        return b'"' + b"y" * size if len(reads) == 1 else b"y" * size

    with pytest.raises(TooLarge):
        JsonStream(read).value(LIMIT)
    assert sum(reads) <= LIMIT + 2 * BLOCK


def test_data_after_the_end_is_rejected() -> None:
    stream = JsonStream(reader(b"{} {", 2))
    stream.skip()
    with pytest.raises(NotJson):
        stream.end()


def test_a_value_of_another_type_is_rejected() -> None:
    with pytest.raises(NotJson):
        json_stream.decode(b"5", str)
