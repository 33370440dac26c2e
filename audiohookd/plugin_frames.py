"""Maps stack frames of the daemon that call a plugin to the plugin and its callback.

Read off their variables when something blocks. A note at each call would cost more: 500 calls send audio 25,000 times
a second.
"""

from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, Final

from audiohookd.delivery.worker import DestinationWorker
from audiohookd.runtime import foreign_code
from audiohookd.session.fanout import Fanout
from audiohookd.session.observer_queue import ObserverQueue
from audiohookd.session.opening import Asking

_Variables = Mapping[str, Any]

#: Functions that call a plugin directly, or spend no time on anything else.
_CALLS: Final[Mapping[CodeType, Callable[[_Variables], tuple[str, str]]]] = {
    ObserverQueue.audio.__code__: lambda found: (found["self"].plugin, "audio"),
    ObserverQueue._deliver.__code__: lambda found: (found["self"].plugin, found["method"]),
    Fanout._observe.__code__: lambda found: (found["watcher"].name, "observe"),
}
#: Functions that call a plugin by :func:`foreign_code.outcome_of`.
_WAITING_CALLS: Final[Mapping[CodeType, Callable[[_Variables], tuple[str, str]]]] = {
    Asking._ask.__code__: lambda found: (found["watcher"].name, "admit"),
    DestinationWorker._call_plugin.__code__: lambda found: _delivery(found["self"].outlet),
}


def plugin_call(frame: FrameType) -> tuple[str, str] | None:
    """The name and the callback of the plugin that ``frame`` calls; None for other frames. For any thread."""
    read, caller = _CALLS.get(frame.f_code), frame
    if frame.f_code is foreign_code.outcome_of.__code__ and frame.f_back is not None:
        caller = frame.f_back
        read = _WAITING_CALLS.get(caller.f_code)
    return None if read is None else read(caller.f_locals)


def _delivery(outlet: Any) -> tuple[str, str]:
    return outlet.name, "carry" if outlet.is_carrier else "notify"
