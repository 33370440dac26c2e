"""The queue of pending recordings."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from audiohookd.delivery.pending_queue import PendingQueue, RecordingKey


def key(number: int) -> RecordingKey:
    return RecordingKey("2026-01-01", f"{number:03}")


def filled(*numbers: int) -> PendingQueue:
    queue = PendingQueue(limit=8, deferred_limit=4, new_limit=3)
    assert all(queue.add(key(number)) for number in numbers)
    return queue


class TestWaiting:
    def test_takes_the_oldest_first(self) -> None:
        queue = filled(3, 1, 2)
        assert [queue.take(0.0) for _ in range(4)] == [key(3), key(1), key(2), None]

    def test_takes_the_newest_on_demand(self) -> None:
        assert filled(1, 2, 3).take(0.0, newest=True) == key(3)

    def test_a_known_recording_is_not_added_again(self) -> None:
        queue = filled(1, 2, 3)
        queue.take(0.0)
        queue.take(0.0)
        queue.defer(key(2), due=9.0)
        assert all(queue.add(key(number)) for number in (1, 2, 3))
        assert (queue.waiting, queue.in_flight, queue.deferred) == (1, 1, 1)

    def test_adds_no_more_than_the_limit(self) -> None:
        queue = filled(*range(8))
        assert not queue.add(key(8))
        queue.take(0.0)
        assert not queue.add(key(8)), "recordings in flight may be requeued"
        queue.forget(key(0))
        assert queue.add(key(8))

    def test_low_means_a_quarter(self) -> None:
        queue = filled(*range(8))
        low = []
        while queue.take(0.0) is not None:
            low.append(queue.is_low)
        assert low == [False] * 8, "all is in flight: there is no room for more"
        for number in range(8):
            queue.forget(key(number))
        assert queue.is_low
        assert [queue.add(key(number)) and queue.is_low for number in range(4)] == [True, True, False, False]

    def test_a_requeued_recording_comes_first_and_keeps_its_failures(self) -> None:
        queue = filled(1, 2)
        queue.take(0.0)
        queue.requeue(key(1))
        assert queue.take(0.0) == key(1)
        assert queue.failures(key(1)) == 0


class TestNew:
    def test_ones_have_places_of_their_own(self) -> None:
        queue = filled(*range(8))
        assert [queue.add_new(key(number)) for number in (20, 21, 22, 23)] == [True, True, True, False]
        assert queue.waiting == 11
        assert not queue.add(key(23))

    def test_ones_take_turns_with_the_others(self) -> None:
        queue = filled(1, 2, 3, 11, 12, 13)
        for number in (1, 2, 3):
            queue.take(0.0)
            queue.defer(key(number), due=float(number))
        assert all(queue.add_new(key(number)) for number in (21, 22, 23))
        taken = [queue.take(9.0) for _ in range(9)]
        assert taken == [key(number) for number in (1, 21, 11, 2, 22, 12, 3, 23, 13)]

    def test_ones_are_the_newest(self) -> None:
        queue = filled(1, 2)
        assert all(queue.add_new(key(number)) for number in (21, 22))
        assert [queue.take(0.0, newest=True) for _ in range(4)] == [key(22), key(21), key(2), key(1)]

    def test_ones_that_are_requeued_free_their_places(self) -> None:
        queue = filled(1)
        queue.add_new(key(21))
        assert queue.take(0.0, newest=True) == key(21)
        queue.requeue(key(21))
        assert queue.take(0.0, newest=True) == key(1)
        assert queue.take(0.0) == key(21)

    def test_ones_are_in_it_once(self) -> None:
        queue = filled(1)
        assert queue.add_new(key(1))
        assert queue.add_new(key(2))
        assert queue.add(key(2))
        assert queue.waiting == 2


class TestDeferral:
    def test_lasts_until_the_due_time(self) -> None:
        queue = filled(1)
        queue.take(0.0)
        queue.defer(key(1), due=5.0)
        assert queue.next_due() == 5.0
        assert queue.take(4.9) is None
        assert queue.take(5.0) == key(1)
        assert queue.next_due() is None

    def test_failures_add_up(self) -> None:
        queue = filled(1)
        for failures in range(5):
            assert queue.take(0.0) == key(1)
            assert queue.failures(key(1)) == failures
            queue.defer(key(1), due=0.0)

    def test_deferred_and_waiting_recordings_take_turns(self) -> None:
        queue = filled(1, 2, 3, 11, 12, 13)
        for number in (1, 2, 3):
            queue.take(0.0)
            queue.defer(key(number), due=float(number))
        taken = [queue.take(9.0) for _ in range(6)]
        assert taken == [key(number) for number in (1, 11, 2, 12, 3, 13)]

    def test_the_newest_on_demand_is_one_that_has_not_failed(self) -> None:
        queue = filled(1, 2, 3)
        queue.take(0.0)
        queue.defer(key(1), due=0.0)
        assert [queue.take(0.0, newest=True) for _ in range(3)] == [key(3), key(2), key(1)]

    def test_a_recording_beyond_the_limit_is_forgotten(self) -> None:
        queue = filled(*range(5))
        for number in range(5):
            queue.take(0.0)
            queue.defer(key(number), due=9.0)
        assert queue.deferred == 4
        assert key(4) not in queue.known()

    def test_can_be_dropped_for_all(self) -> None:
        queue = filled(1)
        queue.take(0.0)
        queue.defer(key(1), due=9.0)
        queue.drop_deferred()
        assert queue.known() == frozenset()
        assert queue.next_due() is None


class AnyOrder(RuleBasedStateMachine):
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.queue = PendingQueue(limit=6, deferred_limit=3, new_limit=2)
        self.in_flight: set[RecordingKey] = set()
        self.now = 0.0

    @rule(number=st.integers(0, 30))
    def add(self, number: int) -> None:
        room = self.queue.room
        known = key(number) in self.queue.known()
        assert self.queue.add(key(number)) == (known or room > 0)

    @rule(number=st.integers(0, 30))
    def announce(self, number: int) -> None:
        known = key(number) in self.queue.known()
        waiting = self.queue.waiting
        assert self.queue.add_new(key(number)) or waiting >= 2
        assert self.queue.waiting - waiting <= (not known)

    @rule(seconds=st.integers(0, 5), newest=st.booleans())
    def take(self, seconds: int, newest: bool) -> None:
        self.now += seconds
        taken = self.queue.take(self.now, newest)
        due = self.queue.next_due()
        if taken is None:
            assert self.queue.waiting == 0
            assert due is None or due > self.now
        else:
            assert taken not in self.in_flight
            self.in_flight.add(taken)

    @rule(data=st.data(), what=st.sampled_from(["forget", "put back", "rest"]), seconds=st.integers(0, 9))
    def end(self, data: st.DataObject, what: str, seconds: int) -> None:
        if not self.in_flight:
            return
        ended = data.draw(st.sampled_from(sorted(self.in_flight)))
        self.in_flight.remove(ended)
        if what == "forget":
            self.queue.forget(ended)
        elif what == "put back":
            self.queue.requeue(ended)
        else:
            self.queue.defer(ended, self.now + seconds)

    @rule()
    def wake(self) -> None:
        self.queue.drop_deferred()

    @invariant()
    def bounded_and_each_once(self) -> None:
        queue = self.queue
        assert queue.in_flight == len(self.in_flight)
        assert queue.waiting <= 6 + 2
        assert queue.deferred <= 3
        assert len(queue.known()) == queue.waiting + queue.in_flight + queue.deferred


TestInAnyOrder = AnyOrder.TestCase
