"""Exceptions in words for the operator (pure). Where in the source they were raised belongs into a traceback."""

from audiohookd.escaping import TEXT_LIMIT, loggable

#: What only a mistake in a program raises; a traceback is needed to mend it.
_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
)


class InWords(Exception):
    """Its text is in words for the operator: no name of an exception goes before it."""


def is_mistake(fault: BaseException) -> bool:
    """Whether ``fault`` is a mistake of a program, and not what may happen to a right one."""
    return isinstance(fault, _MISTAKES) and type(fault).__module__ == "builtins"


def in_words(fault: BaseException, limit: int = TEXT_LIMIT) -> str:
    """``fault`` in words: what the system says and of which file, or else its name and its text. Raises nothing."""
    if isinstance(fault, OSError) and fault.strerror:
        where = f" ({fault.filename})" if fault.filename else ""
        return _joined(f"{fault.strerror}{where}", limit)
    text = text_of(fault, limit)
    if isinstance(fault, InWords):
        return text
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def text_of(fault: BaseException | None, limit: int = TEXT_LIMIT) -> str:
    """What ``fault`` says of itself, on one line. Raises nothing, whatever its ``__str__`` does.

    It may hold the answer of a server: its lines are joined, it is escaped, and cut after ``limit`` characters.
    """
    try:
        return _joined(str(fault), limit)
    except BaseException as mistake:  # it may be a plugin's SystemExit as well
        return f"(its text cannot be shown: {type(mistake).__name__})"


def _joined(text: str, limit: int) -> str:
    """The lines of ``text`` as one."""
    head, rest = text[: 2 * limit], text[2 * limit :]  # all of a text of megabytes is not to be split
    return loggable(" ".join(head.split()) + rest, limit)
