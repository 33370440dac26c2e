"""Units of the numbers in the configuration: what to write in place of "1GiB" or "7d" (pure).

Every number with decimals is a duration in seconds. Of whole numbers, those below have a unit.
"""

import math
import re
from collections.abc import Mapping

#: Key -> unit, of all tables, those of the shipped plugins included.
WHOLE_NUMBERS: Mapping[str, str] = {
    "min_free": "MiB",
    "max_spool": "MiB",
    "multipart_threshold": "MiB",
    "part_size": "MiB",
    "max_messages": "MiB",
    "handshakes_per_second": "per second",
    "handshakes_per_second_total": "per second",
    "messages_per_second": "per second",
    "message_bytes_per_second": "per second",
    "frames_per_second": "per second",
    "audio_bytes_per_second": "per second",
    "control_frames_per_second": "per second",
    "fragments_per_second": "per second",
}
#: What one of these is, in the unit of the key.
_SECONDS: Mapping[str, float] = {
    **dict.fromkeys(("ms", "msec", "millisecond"), 0.001),
    **dict.fromkeys(("", "s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3_600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
    **dict.fromkeys(("w", "week"), 604_800.0),
}
_MEBIBYTES: Mapping[str, float] = {
    **dict.fromkeys(("", "m", "mi", "mib"), 1.0),
    **dict.fromkeys(("b", "byte"), 2.0**-20),
    **dict.fromkeys(("k", "ki", "kib"), 2.0**-10),
    **dict.fromkeys(("g", "gi", "gib"), 2.0**10),
    **dict.fromkeys(("t", "ti", "tib"), 2.0**20),
    **{f"{prefix}b": 10.0**power / 2**20 for prefix, power in (("k", 3), ("m", 6), ("g", 9), ("t", 12))},
}
_RATES: Mapping[str, float] = {"": 1.0, "/s": 1.0, "ps": 1.0, "/sec": 1.0, "/second": 1.0}
_TABLES: Mapping[str, Mapping[str, float]] = {"MiB": _MEBIBYTES, "s": _SECONDS, "per second": _RATES}

_quantity = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z/]*)\s*")
_assignment = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*([0-9][0-9_.]*\s*[A-Za-z/][A-Za-z0-9/ ]*?)\s*(?:#.*)?")


def number_wanted(key: str, is_whole: bool, written: str) -> str | None:
    """What to write in place of the text ``written``: ``expected a number of seconds, got "7d"; write 604800``.

    :param key: the name of the key, without its table.
    :returns: None for a key that has no unit.
    """
    unit = WHOLE_NUMBERS.get(key) if is_whole else "s"
    if unit is None:
        return None
    expected = {"MiB": "a whole number of MiB", "s": "a number of seconds"}.get(unit, f"a whole number {unit}")
    found = amount(written, unit)
    if found is None or not math.isfinite(found):
        return f"expected {expected}, without quotes"
    number = f"{max(1, math.ceil(found))}" if is_whole else f"{found:.12g}"
    return f'expected {expected}, got "{written}"; write {number}'


def amount(written: str, unit: str) -> float | None:
    """``written`` in the ``unit`` ("MiB", "s" or "per second"); None when it is no such quantity.

    Several are added: ``1h30m``. ``1GB`` is 1,000,000,000 bytes, ``1GiB`` and ``1G`` are 1,073,741,824.
    """
    factors, total, position = _TABLES[unit], 0.0, 0
    while position < len(written) or not position:
        found = _quantity.match(written, position)
        if found is None:
            return None
        name = found[2].lower()
        factor = factors.get(name, factors.get(name.removesuffix("s")))
        if factor is None:
            return None
        total += float(found[1].replace("_", "")) * factor
        position = found.end()
    return total


def unquoted(line: str) -> str | None:
    """As :func:`number_wanted`, of a line that is no TOML: ``min_free = 1GiB``; None when that is not the reason."""
    found = _assignment.fullmatch(line)
    if found is None:
        return None
    said = number_wanted(found[1], found[1] in WHOLE_NUMBERS, found[2][:40])
    return f"{found[1]}: {said}" if said and "got" in said else None
