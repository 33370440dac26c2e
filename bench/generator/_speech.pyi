"""The compiled loop, if a C compiler was available."""

from bench.generator.audio_sender import Left, Voices

def talk(
    voices: Voices, slot: int, begun: float, until: float, tick: float, epoll: int
) -> tuple[int, list[Left]]: ...
