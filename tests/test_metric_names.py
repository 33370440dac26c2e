"""The documents name only metrics that exist."""

import re
from pathlib import Path

import pytest

from audiohookd.observe.counters import CATALOGUE, MAXIMA
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
