"""Who may wait, and who has to go."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.edge.pending_connections import PendingConnections


def test_the_one_that_waits_longest_has_to_go() -> None:
    gone: list[str] = []
    lobby: PendingConnections[str] = PendingConnections(2, gone.append)
    for name in "abcd":
        lobby.add(name)
    assert gone == ["a", "b"]
    lobby.discard("c")
    for name in "ef":
        lobby.add(name)
    assert gone == ["a", "b", "d"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=50), st.integers(1, 5))
def test_it_is_never_overfull_and_loses_nobody(steps: list[tuple[bool, int]], limit: int) -> None:
    gone: list[int] = []
    lobby: PendingConnections[int] = PendingConnections(limit, gone.append)
    waiting: list[int] = []
    for comes, who in steps:
        if comes and who not in waiting:
            waiting.append(who)
            lobby.add(who)
            assert gone == ([waiting.pop(0)] if len(waiting) > limit else [])
            gone.clear()
        elif not comes:
            lobby.discard(who)
            waiting = [one for one in waiting if one != who]
        assert len(lobby) == len(waiting) <= limit
