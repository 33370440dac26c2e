"""The limit on pending connections, and the eviction of the oldest."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.edge.pending_connections import PendingConnections


def test_the_oldest_connection_is_evicted() -> None:
    evicted: list[str] = []
    pending: PendingConnections[str] = PendingConnections(2, evicted.append)
    for name in "abcd":
        pending.add(name)
    assert evicted == ["a", "b"]
    pending.discard("c")
    for name in "ef":
        pending.add(name)
    assert evicted == ["a", "b", "d"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=50), st.integers(1, 5))
def test_the_limit_holds_and_no_connection_is_lost(steps: list[tuple[bool, int]], limit: int) -> None:
    evicted: list[int] = []
    pending: PendingConnections[int] = PendingConnections(limit, evicted.append)
    waiting: list[int] = []
    for is_new, connection in steps:
        if is_new and connection not in waiting:
            waiting.append(connection)
            pending.add(connection)
            assert evicted == ([waiting.pop(0)] if len(waiting) > limit else [])
            evicted.clear()
        elif not is_new:
            pending.discard(connection)
            waiting = [other for other in waiting if other != connection]
        assert len(pending) == len(waiting) <= limit
