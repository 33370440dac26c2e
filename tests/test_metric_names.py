"""The documents and the code name only metrics that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohookd.observe.counters import CATALOGUE, LABELS, MAXIMA
from audiohookd.observe.gauges import GAUGES

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.rst", ROOT / "SECURITY.rst", *sorted((ROOT / "docs").glob("*.rst"))]
METRICS = {*(f"{name}_total" for name in CATALOGUE), *MAXIMA, *GAUGES}
#: Names that are no metrics.
OTHERS = {"plugins"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_metrics_that_exist(document: Path) -> None:
    named = set(re.findall(r"audiohookd_([a-z_]+[a-z])", document.read_text())) - OTHERS
    assert named - METRICS == set()


def counted_names() -> Iterator[tuple[str, bool]]:
    """The literal names that the code counts, and whether a label is given."""
    for path in [*(ROOT / "audiohookd").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
                continue
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0].value
            if function.strip("_") == "count" and isinstance(name, str) and name:
                yield name, len(node.args) > 1


def test_the_code_counts_names_of_the_catalogue_with_their_labels() -> None:
    counted = dict(counted_names())
    assert len(counted) > len(CATALOGUE) / 2
    assert counted.keys() - CATALOGUE.keys() == set()
    assert {name: name in LABELS for name in counted} == counted
