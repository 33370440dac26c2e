"""Who may wait, and who has to go."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.server.lobby import Lobby


def test_the_one_that_waits_longest_has_to_go() -> None:
    lobby: Lobby[str] = Lobby(2)
    assert [lobby.enter(name) for name in "abcd"] == [None, None, "a", "b"]
    lobby.leave("c")
    assert [lobby.enter(name) for name in "ef"] == [None, "d"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=50), st.integers(1, 5))
def test_it_is_never_overfull_and_loses_nobody(steps: list[tuple[bool, int]], limit: int) -> None:
    lobby: Lobby[int] = Lobby(limit)
    waiting: list[int] = []
    for comes, who in steps:
        if comes and who not in waiting:
            waiting.append(who)
            assert lobby.enter(who) == (waiting.pop(0) if len(waiting) > limit else None)
        elif not comes:
            lobby.leave(who)
            waiting = [one for one in waiting if one != who]
        assert len(lobby) == len(waiting) <= limit
