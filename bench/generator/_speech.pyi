"""Compiled, where there was a C compiler."""

from bench.generator.speech import Ints, Left

def say(
    frames: tuple[bytes, ...], members: Ints, start: int, end: int, files: Ints, turns: Ints
) -> tuple[int, list[Left]]: ...
