"""Durations and sizes as the configuration writes them: ``"500 ms"``, ``"1 GiB"`` (pure)."""

import math
import re
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

#: Key of ``Meta.extra`` for fields with a unit.
UNIT = "unit"
#: Type of a field in the options of a plugin: a duration, in seconds. ``"1h 30min"`` or 5400 in the file are 5400.0.
Duration = Annotated[float, Meta(extra={UNIT: "s"})]
#: Type of a field in the options of a plugin: a size, in bytes. ``"1 GiB"`` in the file is 1,073,741,824.
Size = Annotated[int, Meta(extra={UNIT: "B"})]

#: Seconds of each unit, and the names that it has besides.
_SECONDS: Mapping[str, float] = {
    **dict.fromkeys(("ms", "msec", "millisecond"), 0.001),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3_600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
    **dict.fromkeys(("w", "week"), 604_800.0),
}
#: Bytes of each unit. ``1G`` is 1 GiB, as for systemd and nginx.
_BYTES: Mapping[str, float] = {
    **dict.fromkeys(("b", "byte"), 1.0),
    **dict.fromkeys(("k", "ki", "kib"), 2.0**10),
    **dict.fromkeys(("m", "mi", "mib"), 2.0**20),
    **dict.fromkeys(("g", "gi", "gib"), 2.0**30),
    **dict.fromkeys(("t", "ti", "tib"), 2.0**40),
    **{f"{prefix}b": 10.0**power for prefix, power in (("k", 3), ("m", 6), ("g", 9), ("t", 12))},
}
_FACTORS: Mapping[str, Mapping[str, float]] = {"s": _SECONDS, "B": _BYTES}
#: The units to write a number in, the largest first, and the number of base units in each.
_WRITTEN: Mapping[str, Mapping[str, float]] = {
    "s": {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0, "ms": 0.001},
    "B": {"TiB": 2.0**40, "GiB": 2.0**30, "MiB": 2.0**20, "KiB": 2.0**10, "B": 1.0},
}
EXAMPLES: Mapping[str, str] = {
    "s": 'a duration such as "500 ms", "5 s", "10 min", "2 h" or "7 d"',
    "B": 'a size such as "64 KiB", "16 MiB" or "1 GiB"',
}

_quantity = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")
_assignment = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*([0-9][0-9_.]*\s*[A-Za-z][A-Za-z0-9 ]*?)\s*(?:#.*)?")


def parse(text: str, unit: str) -> float:
    """The number of seconds (``unit`` is ``"s"``) or bytes (``"B"``) that ``text`` says.

    Several quantities are added: ``1h 30min``. ``1 GB`` is 10^9 bytes, ``1 GiB`` and ``1G`` are 2^30 bytes.

    :raises ValueError: it is no such quantity.
    """
    total, position = 0.0, 0
    while position < len(text) or not position:
        found = _quantity.match(text, position)
        name = found[2].lower() if found else ""
        factor = _FACTORS[unit].get(name, _FACTORS[unit].get(name.removesuffix("s")))
        if found is None or factor is None:
            raise ValueError(f"{text[:40]!r} is not {EXAMPLES[unit]}")
        total += float(found[1].replace("_", "")) * factor
        position = found.end()
    if not math.isfinite(total):
        raise ValueError(f"{text[:40]!r} is too large")
    return total


def written(number: float, unit: str) -> str:
    """``number`` seconds or bytes in the largest unit of which it is a whole number: ``15 min``, ``1500 ms``."""
    for name, factor in _WRITTEN[unit].items():
        count = round(number / factor)
        if count and math.isclose(number, count * factor, rel_tol=1e-9):
            return f"{count} {name}"
    return f"{number:g} {unit}"


def unquoted(line: str) -> str | None:
    """What to write in place of a ``line`` that is not TOML since a quantity is not in quotes: ``min_free = 1GiB``.

    :returns: None where that is not the reason.
    """
    found = _assignment.fullmatch(line)
    return f'{found[1]}: put it in quotes: {found[1]} = "{found[2][:40]}"' if found else None
