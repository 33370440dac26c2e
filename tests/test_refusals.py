"""docs/refusals.rst tells of every reason there is, and of no other."""

import re
from pathlib import Path

from audiohookd.auth.refusal import Refusal

DOCUMENT = Path(__file__).parents[1] / "docs/refusals.rst"


def test_every_reason_is_explained() -> None:
    terms = re.findall(r"^(\S.*)\n    \S", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    explained = [reason for term in terms for reason in term.split(", ")]
    assert sorted(explained) == sorted(Refusal)
