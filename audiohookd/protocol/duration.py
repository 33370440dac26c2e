"""Converts durations of the protocol (``PT1.25S``) to nanoseconds and samples, in integers (protocol section 4).

It uses no floats: 1.005 s as a float is 1004999999.9999999 ns, and a position that has lost one sample stays wrong.
"""

import re

NANOSECONDS = 1_000_000_000

#: Decimal seconds only: no hours, no minutes, no exponent. ``PT.5S`` is valid, ``PT5.S`` is not. The limits on the
#: digits bound the work for a hostile client; a double that is written in full has 17 decimals or more.
DURATION_PATTERN = r"\APT(?:[0-9]{0,16}\.[0-9]{1,64}|[0-9]{1,16})S\Z"

_duration = re.compile(r"PT(?:([0-9]{0,16})\.([0-9]{1,64})|([0-9]{1,16}))S", re.ASCII)


def parse_duration(text: str) -> int:
    """Parses a duration. Digits after the ninth decimal are ignored.

    :returns: nanoseconds.
    :raises ValueError: ``text`` is not a duration of AudioHook.
    """
    match = _duration.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration: {text[:48]!r}")
    before, decimals, whole = match.groups()
    if whole is not None:
        return int(whole) * NANOSECONDS
    return int(before or "0") * NANOSECONDS + int(decimals[:9].ljust(9, "0"))


def format_duration(nanoseconds: int) -> str:
    """Formats nanoseconds as a duration in decimal seconds, without trailing zeros.

    :raises ValueError: ``nanoseconds`` is negative.
    """
    if nanoseconds < 0:
        raise ValueError(f"a duration cannot be negative: {nanoseconds} ns")
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    if not rest:
        return f"PT{seconds}S"
    decimals = str(NANOSECONDS + rest)[1:].rstrip("0")
    return f"PT{seconds}.{decimals}S"


def duration_to_samples(text: str, rate: int) -> int:
    """The number of samples nearest to the duration ``text``.

    It rounds to nearest, not down, because a client that computes in floats sends ``PT10.299999999S``.

    :param rate: samples per second and channel.
    :raises ValueError: ``text`` is not a duration.
    """
    return (parse_duration(text) * rate + NANOSECONDS // 2) // NANOSECONDS


def samples_to_duration(samples: int, rate: int) -> str:
    """The duration of ``samples`` (per channel); exact for every rate that divides 10⁹, such as 8,000."""
    return format_duration(samples * NANOSECONDS // rate)
