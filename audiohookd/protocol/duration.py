"""Durations of the wire (``PT1.25S``) and positions in samples, in integers (protocol section 4).

Floats have no place here: 1.005 s read as a float is 1004999999.9999999 ns, and a position that has
lost one sample never finds it again.
"""

import re

NANOSECONDS = 1_000_000_000

#: Decimal seconds and nothing else: no hours, no minutes, no exponent. ``PT.5S`` is legal, ``PT5.S`` is not.
#: The bounds on the digits keep a stranger from making us parse megabytes of them; a double written out in full has
#: 17 decimals and more.
DURATION_PATTERN = r"\APT(?:[0-9]{0,16}\.[0-9]{1,64}|[0-9]{1,16})S\Z"

_duration = re.compile(r"PT(?:([0-9]{0,16})\.([0-9]{1,64})|([0-9]{1,16}))S", re.ASCII)


def parse_duration(text: str) -> int:
    """Nanoseconds in ``text``; digits beyond the ninth decimal are cut off.

    :raises ValueError: ``text`` is not a duration as AudioHook writes it.
    """
    match = _duration.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration: {text[:48]!r}")
    before, decimals, whole = match.groups()
    if whole is not None:
        return int(whole) * NANOSECONDS
    return int(before or "0") * NANOSECONDS + int(decimals[:9].ljust(9, "0"))


def format_duration(nanoseconds: int) -> str:
    """``nanoseconds`` (not negative) as plain decimal seconds, without trailing zeros."""
    if nanoseconds < 0:
        raise ValueError(f"a duration cannot be negative: {nanoseconds} ns")
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    if not rest:
        return f"PT{seconds}S"
    decimals = str(NANOSECONDS + rest)[1:].rstrip("0")
    return f"PT{seconds}.{decimals}S"


def duration_to_samples(text: str, rate: int) -> int:
    """The whole number of samples nearest to the duration ``text``.

    Nearest and not next lower: a client that computes in floats writes ``PT10.299999999S``.

    :param rate: samples per second and channel.
    :raises ValueError: ``text`` is not a duration.
    """
    return (parse_duration(text) * rate + NANOSECONDS // 2) // NANOSECONDS


def samples_to_duration(samples: int, rate: int) -> str:
    """The duration of ``samples`` (per channel); exact for every rate that divides 10⁹, so for 8,000."""
    return format_duration(samples * NANOSECONDS // rate)
