"""JSON as RFC 8259 allows it: any spelling of strings, numbers and white space, duplicate and empty names."""

from hypothesis import strategies as st

SPACE = st.text(" \t\r\n", max_size=2)
ESCAPES = st.one_of(
    st.sampled_from(['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u2028", "\\u0085"]),
    st.sampled_from(["\\ud800", "\\uDFFF", "\\udc00", "\\ud83d\\ude00", "\\\\ud800", "\\ud800\\ud800", "\\ufeff"]),
    st.integers(0, 0xFFFF).map("\\u{:04x}".format),
)
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\\', min_codepoint=0x20), max_size=4)
STRINGS = st.lists(PLAIN | ESCAPES | st.sampled_from(["1e999", "[[", "}", '\\":1.0']), max_size=6).map(
    lambda parts: '"' + "".join(parts) + '"'
)
NUMBERS = st.one_of(
    st.sampled_from(["0", "-0", "-0.0", "1.0", "12.50", "1e2", "1E+2", "1e-2", "1e999", "-1e999", "1e-999", "0e999"]),
    st.sampled_from(["1.7976931348623159e308", "9" * 400, "-" + "9" * 310, "9" * 310 + ".5", "9" * 400 + "e-399"]),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
LITERALS = st.sampled_from(["null", "true", "false"])


def _spaced(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(SPACE, parts, SPACE).map("".join)


def _within(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = st.one_of(STRINGS, st.sampled_from(['""', '"a"', '"a"', '"\\u0061"']))
    members = st.tuples(_spaced(names), _spaced(values)).map(":".join)
    arrays = st.lists(_spaced(values), max_size=4).map(lambda parts: "[" + ",".join(parts) + "]")
    objects = st.lists(members, max_size=4).map(lambda parts: "{" + ",".join(parts) + "}")
    return arrays | objects


#: Any legal JSON, as text.
VALUES = st.recursive(STRINGS | NUMBERS | LITERALS, _within, max_leaves=12)
OBJECTS = _within(VALUES).filter(lambda text: text.startswith("{"))
