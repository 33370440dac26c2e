"""A session as one of its plugins sees it: what one plugin does to it, and how much it sends, concerns no other."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import msgspec
from zope.interface import implementer

from audiohookd.interfaces import ISession
from audiohookd.protocol.entities import Entity
from audiohookd.server.rates import Bucket, Rate

#: Events, and their bytes, that one plugin may send in one session. 2,000 events of 3 KB in one callback made the
#: daemon drop the connection, since no client reads that quickly, and filled the queue of the recorder.
EVENTS: Final = Rate(20.0, 100)
EVENT_BYTES: Final = Rate(65_536.0, 262_144)
#: Requests to pause, and to resume. A resume after a pause of the same plugin needs no token: its loss is lost audio.
PAUSES: Final = Rate(1.0, 20)


@implementer(ISession)
class SessionView:
    """See :class:`ISession`. What is assigned here is seen by the plugin only.

    :param seconds: from any origin, never going back.
    :param limited: called for each message that is not sent because it is beyond the limit, with True the first time.
    """

    def __init__(self, session: Any, seconds: Callable[[], float], limited: Callable[[bool], None]) -> None:
        self._session = session
        self._seconds = seconds
        self._limited = limited
        self._events = Bucket(EVENTS, seconds())
        self._event_bytes = Bucket(EVENT_BYTES, seconds())
        self._pauses = Bucket(PAUSES, seconds())
        self._resumes = Bucket(PAUSES, seconds())
        self._owes_resume = False
        self._has_refused = False
        self.missed_messages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @cached_property
    def custom_config(self) -> Mapping[str, object]:
        """A copy: what is nested in it can be changed."""
        return MappingProxyType(deepcopy(dict(self._session.custom_config)))

    @cached_property
    def input_variables(self) -> Mapping[str, object]:
        """A copy, as ``custom_config``."""
        return MappingProxyType(deepcopy(dict(self._session.input_variables)))

    def send_event(self, entities: Sequence[Entity]) -> bool:
        """See :class:`ISession`."""
        now, size = self._seconds(), _size(entities)
        if not (self._events.take(now) and self._event_bytes.take_all(now, size)):
            return self._refuse()
        return bool(self._session.send_event(entities))

    def pause(self) -> bool:
        """See :class:`ISession`."""
        if not self._pauses.take(self._seconds()):
            return self._refuse()
        self._owes_resume = bool(self._session.pause())
        return self._owes_resume

    def resume(self) -> bool:
        """See :class:`ISession`."""
        owed, self._owes_resume = self._owes_resume, False
        if not owed and not self._resumes.take(self._seconds()):
            return self._refuse()
        return bool(self._session.resume())

    def _refuse(self) -> bool:
        self._limited(not self._has_refused)
        self._has_refused = True
        return False


def _size(entities: Sequence[Entity]) -> int:
    """Bytes of JSON; 0 for what cannot be encoded, which the session rejects."""
    try:
        return len(msgspec.json.encode(entities))
    except (TypeError, ValueError, RecursionError):
        return 0
