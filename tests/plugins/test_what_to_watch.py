"""The metrics that the documents recommend to watch exist; an alarm on a missing name would never fire."""

import re
from pathlib import Path

import pytest

from audiohookd.observe.counters import CATALOGUE, LABELS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("document", ["s3.rst", "notifications.rst"])
def test_each_of_the_names_is_counted(document: str) -> None:
    named = re.findall(r"``audiohookd_(\w+)_total(?:\{(\w+)=)?", (DOCS / document).read_text())
    assert len(named) >= 4
    assert [name for name, _ in named if name not in CATALOGUE] == []
    assert [(name, label) for name, label in named if label and LABELS.get(name) != label] == []
