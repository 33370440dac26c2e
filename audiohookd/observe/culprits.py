"""Finds the plugin, callback, file and line that keep a thread busy, from its stack."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from msgspec import Struct

from audiohookd.observe.unhandled import plugins_of

#: Labels for code that is not a plugin's. Names of plugin tables have no parentheses, unless they are quoted.
DAEMON: Final = "(daemon)"
COLLECTOR: Final = "(garbage collector)"
PROCESS: Final = "(process)"
UNKNOWN: Final = "(unknown)"
LABELS: Final = (DAEMON, COLLECTOR, PROCESS, UNKNOWN)
#: How many of the innermost frames are logged.
STACK_LIMIT: Final = 8
#: How many of the innermost frames are examined: an endless recursion has a thousand.
DEPTH_LIMIT: Final = 100

_ROOT: Final = Path(__file__).parents[1]

#: Returns the plugin and its callback if a frame is one of the daemon's that calls a plugin; else None.
PluginCall = Callable[[FrameType], tuple[str, str] | None]


class Culprit(Struct, frozen=True):
    """The code that keeps a thread busy.

    :param plugin: its name, or :data:`DAEMON`.
    :param callback: of the plugin, or the function that a timer or a Deferred called; "" for the daemon.
    :param function: the innermost of the plugin's, or of the daemon's.
    :param stack: the innermost frames, innermost first, for the log.
    """

    plugin: str
    callback: str = ""
    function: str = ""
    file: str = ""
    line: int = 0
    stack: str = ""


def culprit_of(innermost: FrameType | None, places: Mapping[Path, Sequence[str]], plugin_call: PluginCall) -> Culprit:
    """The culprit of a stack.

    Our frame that called the plugin says most: two tables of the configuration may have the same module. Without one
    (timers, ``callFromThread``, Deferreds) it is the plugin that has the innermost frame, or ``a or b`` where two
    tables have its module.

    :param places: as of :func:`audiohookd.observe.unhandled.places_of`.
    """
    frames = _frames_of(innermost)
    stack = " < ".join(_shown(frame) for frame in frames[:STACK_LIMIT])
    owned: list[FrameType] = []
    owner = None
    for frame in frames:
        if (call := plugin_call(frame)) is not None:
            return _culprit(*call, [*owned, *frames][0], stack)
        if plugins := plugins_of(frame.f_code.co_filename, places):
            owner = owner or " or ".join(plugins)
            owned.append(frame)
    if owner is not None:
        return _culprit(owner, owned[-1].f_code.co_qualname, owned[0], stack)
    ours = [frame for frame in frames if _ROOT in Path(frame.f_code.co_filename).parents]
    place = next(iter([*ours, *frames]), None)
    return Culprit(UNKNOWN) if place is None else _culprit(DAEMON, "", place, stack)


def _frames_of(innermost: FrameType | None) -> list[FrameType]:
    frames: list[FrameType] = []
    while innermost is not None and len(frames) < DEPTH_LIMIT:
        frames.append(innermost)
        innermost = innermost.f_back
    return frames


def _culprit(plugin: str, callback: str, frame: FrameType, stack: str) -> Culprit:
    code = frame.f_code
    return Culprit(plugin, callback, code.co_qualname, code.co_filename, frame.f_lineno or 0, stack)


def _shown(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{'/'.join(path.parts[-2:])}:{frame.f_lineno} {frame.f_code.co_name}"
