"""Formats sizes, durations and counts for people."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int) -> str:
    """Formats a number of bytes in a suitable unit: ``3.1 MiB``."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{count} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def span(seconds: float) -> str:
    """Formats a duration in seconds as hours, minutes and seconds: ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def counted(count: int, singular: str, plural: str = "") -> str:
    """Formats a count with its noun: ``1 draft``, ``1,200 drafts``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
