"""How things are put for people: sizes and times."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int) -> str:
    """So many bytes, in the unit that suits them: ``3.1 MiB``."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{count} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def span(seconds: float) -> str:
    """So long: ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 draft``, ``1,200 drafts``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
