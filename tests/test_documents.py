"""README.rst and docs/index.rst list all documents."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = {path.name for path in (ROOT / "docs").glob("*.rst")} - {"index.rst"}
#: Pages that ``make docs`` fills in: they say nothing to a reader of the repository.
GENERATED = {"diagrams.rst", "reference.rst"}


@pytest.mark.parametrize(
    ("document", "expected"), [("README.rst", DOCUMENTS - GENERATED), ("docs/index.rst", DOCUMENTS)]
)
def test_a_list_of_documents_is_complete(document: str, expected: set[str]) -> None:
    linked = set(re.findall(r"<(?:docs/)?([\w-]+\.rst)>`", (ROOT / document).read_text("utf-8")))
    assert expected <= linked


@pytest.mark.parametrize("document", ["CONTRIBUTING.rst", "ARCHITECTURE.rst"])
def test_a_document_names_files_that_exist(document: str) -> None:
    names = re.findall(r"``((?:audiohookd|plugins|tests|docs|etc)/[\w./]+)``", (ROOT / document).read_text("utf-8"))
    names = [name for name in names if name != "docs/NAME.rst"]
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.rst").read_text("utf-8").splitlines()) < 200
