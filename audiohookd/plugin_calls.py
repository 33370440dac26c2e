"""The frames of ours that call plugins, and which callback of which plugin they call.

Read off their variables when something blocks. A note at each call would cost more: 500 calls send audio 25,000 times
a second.
"""

from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, Final

from audiohookd.delivery.courier import Courier
from audiohookd.runtime import foreign_code
from audiohookd.server.admission import Asking
from audiohookd.server.dispatch import Fanout
from audiohookd.server.mailbox import Mailbox

_Variables = Mapping[str, Any]

#: Functions of ours that call a plugin themselves, or in which nothing else takes time.
_CALLS: Final[Mapping[CodeType, Callable[[_Variables], tuple[str, str]]]] = {
    Mailbox.audio.__code__: lambda found: (found["self"].plugin, "audio"),
    Mailbox._deliver.__code__: lambda found: (found["self"].plugin, found["method"]),
    Fanout._observe.__code__: lambda found: (found["watcher"].name, "observe"),
}
#: Functions that do so by :func:`foreign_code.outcome_of`.
_WAITING_CALLS: Final[Mapping[CodeType, Callable[[_Variables], tuple[str, str]]]] = {
    Asking._ask.__code__: lambda found: (found["watcher"].name, "admit"),
    Courier._attempt.__code__: lambda found: _delivery(found["self"].outlet),
}


def plugin_call(frame: FrameType) -> tuple[str, str] | None:
    """The plugin's name and its callback, where ``frame`` is one in which a plugin is called; in any thread."""
    read, caller = _CALLS.get(frame.f_code), frame
    if frame.f_code is foreign_code.outcome_of.__code__ and frame.f_back is not None:
        caller = frame.f_back
        read = _WAITING_CALLS.get(caller.f_code)
    return None if read is None else read(caller.f_locals)


def _delivery(outlet: Any) -> tuple[str, str]:
    return outlet.name, "carry" if outlet.is_carrier else "notify"
