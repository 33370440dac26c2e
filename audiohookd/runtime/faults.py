"""Exceptions in words for the operator (pure). Where in the source they were raised belongs into a traceback."""

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


def is_mistake(fault: BaseException) -> bool:
    """Whether ``fault`` is a mistake of a program, and not what may happen to a right one."""
    return isinstance(fault, _MISTAKES) and type(fault).__module__ == "builtins"


def in_words(fault: BaseException) -> str:
    """``fault`` in words: what the system says and of which file, or else its name and its text."""
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.strerror} ({fault.filename})" if fault.filename else fault.strerror
    text = str(fault)
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__
