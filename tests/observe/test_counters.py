"""The catalogue of counters, and the code that counts, in step."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohookd.observe.counters import CATALOGUE, LABELS, Counters, exposition

PACKAGE = Path(__file__).parents[2] / "audiohookd"


def constants(node: ast.expr) -> list[str] | None:
    """The strings that an expression may be; None if unknown."""
    match node:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.IfExp(body=one, orelse=other):
            names, others = constants(one), constants(other)
            return None if names is None or others is None else names + others
    return None


def labelled() -> Iterator[tuple[str, bool]]:
    """The names that are counted, and whether with a label."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="count" | "_count"), args=[name, *rest]):
                    yield from ((one, bool(rest)) for one in constants(name) or () if one in CATALOGUE)


def counted() -> Iterator[tuple[str, list[str] | None]]:
    """Each call of ``counters.count``, also where that was handed in: where, and the names it may count."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute() as method, args=[name, *_]):
                    names = constants(name)
                    called = ast.unparse(method)
                    # Others are handed the method itself, and keep it as `_count`; some count bytes by that name.
                    if called.endswith("counters.count") or (called == "self._count" and names is not None):
                        yield f"{path.relative_to(PACKAGE)}:{node.lineno}", names


def test_every_count_has_a_name_that_can_be_read_off() -> None:
    assert [where for where, names in counted() if names is None] == []


def test_every_name_that_is_counted_is_in_the_catalogue() -> None:
    found = [(where, name) for where, names in counted() for name in names or ()]
    assert [(where, name) for where, name in found if name not in CATALOGUE] == []


def test_every_name_in_the_catalogue_is_counted() -> None:
    assert {name for _, names in counted() for name in names or ()} == set(CATALOGUE)


def test_every_counter_with_a_label_names_its_label() -> None:
    assert {name for name, has_label in labelled() if has_label} == set(LABELS)
    assert {name for name, has_label in labelled() if not has_label} == set(CATALOGUE) - set(LABELS)


def test_the_catalogue_explains_each() -> None:
    assert all(name.replace("_", "").isalpha() and explanation for name, explanation in CATALOGUE.items())


class TestCounters:
    def test_begin_with_nothing(self) -> None:
        counters = Counters()
        assert counters.value("sessions") == 0
        assert counters.items() == []

    def test_count_adds_and_returns_the_value_before(self) -> None:
        counters = Counters()
        before = [counters.count("sessions"), counters.count("sessions"), counters.count("sessions", amount=40)]
        assert before == [0, 1, 2]
        assert counters.value("sessions") == 42

    def test_keep_labels_apart(self) -> None:
        counters = Counters()
        counters.count("sessions_closed", "end", 2)
        counters.count("sessions_closed", "error")
        assert [counters.value("sessions_closed", label) for label in ("end", "error", "disconnect", "")] == [
            2,
            1,
            0,
            0,
        ]

    def test_are_listed_in_order(self) -> None:
        counters = Counters()
        for name, label in (("sessions", ""), ("sessions_closed", "error"), ("sessions_closed", "end")):
            counters.count(name, label)
        assert counters.items() == [
            ("sessions", "", 1),
            ("sessions_closed", "end", 1),
            ("sessions_closed", "error", 1),
        ]

    def test_that_are_expected_are_listed_with_nothing(self) -> None:
        counters = Counters()
        counters.count("recordings_stored", "s3")
        counters.expect("recordings_stored", ["s3", "other"])
        assert counters.items() == [("recordings_stored", "other", 0), ("recordings_stored", "s3", 1)]

    @pytest.mark.parametrize("name", ["sessions", "nothing"])
    def test_are_expected_by_label_alone(self, name: str) -> None:
        with pytest.raises(KeyError, match=name):
            Counters().expect(name, ["x"])

    def test_asking_does_not_count(self) -> None:
        counters = Counters()
        counters.value("sessions_closed", "end")
        assert counters.items() == []

    def test_refuse_a_name_that_is_not_in_the_catalogue(self) -> None:
        counters = Counters()
        with pytest.raises(KeyError, match="session"):
            counters.count("session")
        assert counters.items() == []


def test_prometheus_reads_them() -> None:
    counters = Counters()
    counters.count("sessions", amount=3)
    counters.count("recordings_stored", "s3")
    counters.count("recordings_stored", 'a\\b"c\nd', 2)
    lines = exposition(counters).splitlines()
    assert "audiohookd_sessions_total 3" in lines
    assert "audiohookd_probes_total 0" in lines
    assert 'audiohookd_recordings_stored_total{carrier="s3"} 1' in lines
    assert r'audiohookd_recordings_stored_total{carrier="a\\b\"c\nd"} 2' in lines
    assert lines.count("# TYPE audiohookd_recordings_stored_total counter") == 1
    counters.count("recordings_stored", "\x1b[2J\u202e\udce9\r")
    assert (
        r'audiohookd_recordings_stored_total{carrier="\\u001b[2J\\u202e\\udce9\\r"} 1'
        in exposition(counters).splitlines()
    )
    assert "# HELP audiohookd_recordings_stored_total recordings stored, by carrier" in lines
