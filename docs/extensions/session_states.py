"""Finds the transitions of a session's states: each message of ``states.LEGAL`` is sent to a real session."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from audiohookd.protocol.session import Session
from audiohookd.protocol.states import LEGAL, State
from audiohookd.protocol.timeouts import Timeouts

SESSION = "e160e428-53e2-487c-977d-96989bf5c99d"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
_PARTICIPANT = {"id": SESSION, "ani": "", "aniName": "", "dnis": ""}
_NO_TIME = {"start": "PT0S", "discarded": "PT0S"}
#: The parameters of a client's messages, by type. A type of ``LEGAL`` that is missing here stops the build.
PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "open": {"organizationId": ORGANIZATION, "conversationId": SESSION, "participant": _PARTICIPANT, "media": []},
    "ping": {},
    "close": {"reason": "end"},
    "error": {"code": 500, "message": ""},
    "update": {},
    "paused": {},
    "resumed": _NO_TIME,
    "discarded": _NO_TIME,
    "dtmf": {"digit": "1"},
    "barge_in": {},
    "playback_started": {},
    "playback_completed": {},
}
#: The other causes of a change, by their label in the diagram.
ACTIONS: Final[Mapping[str, Callable[[Session], object]]] = {
    "opened sent": lambda session: session.accept(None),
    "disconnect sent": lambda session: session.disconnect("completed"),
    "closed sent": lambda session: session.finish(),
    "connection lost": lambda session: session.connection_lost(),
}


class Step(NamedTuple):
    """An edge of the diagram. With the same state twice: a message that has an effect, and changes no state."""

    state: State
    label: str
    next_state: State
    is_message: bool


def _replay(labels: Sequence[str]) -> list[State]:
    """The states of a new session at its start and after each of these steps."""
    session = Session(SESSION, ORGANIZATION, Timeouts(), lambda: 0.0)
    states, sequence = [session.state], 0
    for label in labels:
        if label in ACTIONS:
            ACTIONS[label](session)
        else:
            sequence += 1
            message = {
                "version": "2",
                "id": SESSION,
                "type": label,
                "seq": sequence,
                "serverseq": 0,
                "position": "PT0S",
            }
            session.receive_text(json.dumps(message | {"parameters": PARAMETERS[label]}).encode())
        states.append(session.state)
    return states


def steps() -> list[Step]:
    """All edges, in the order of the states.

    What a message does may depend on the states before: ``close`` is answered at once if the session was never open.
    So each set of visited states is explored once.
    """
    found: set[Step] = set()
    known: set[tuple[State, frozenset[State]]] = set()
    ways: list[tuple[str, ...]] = [()]
    for way in ways:
        visited = _replay(way)
        state = visited[-1]
        if (state, frozenset(visited)) in known:
            continue
        known.add((state, frozenset(visited)))
        messages = [type_ for legal_in, type_ in LEGAL if legal_in is state]
        for label in [*messages, *ACTIONS]:
            next_state = _replay([*way, label])[-1]
            if label in messages or next_state is not state:
                found.add(Step(state, label, next_state, label in messages))
                ways.append((*way, label))
    order = list(State)
    return sorted(found, key=lambda step: (order.index(step.state), order.index(step.next_state), step.label))
