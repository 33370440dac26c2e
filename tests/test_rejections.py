"""docs/rejections.rst explains exactly the reasons in the code, and the drops without a reason."""

import re
from pathlib import Path

from audiohookd.auth.rejection import RejectionReason
from audiohookd.edge.rejection_log import BEYOND

DOCUMENT = Path(__file__).parents[1] / "docs/rejections.rst"


def test_every_reason_is_explained() -> None:
    assert sorted(terms(0)) == sorted(RejectionReason)


def test_every_status_is_explained() -> None:
    assert terms(1) == ["400", "403", "429", "404", "405", "426", "505", "431", "503"]


def test_every_drop_is_explained() -> None:
    lines = {*BEYOND.values(), *(f"above limits.handshakes_per_second{which}" for which in ("", "_total"))}
    assert lines <= set(terms(2))


def terms(chapter: int) -> list[str]:
    """The terms that a chapter explains: reasons, statuses, or log lines of connections without a response."""
    text = re.split(r"^=+$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)[2 + chapter]
    found = re.findall(r"^(\S.*)\n    \S", text, re.MULTILINE)
    return [term for line in found for term in line.split(", ")]
