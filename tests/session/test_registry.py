"""How many sessions there may be, and how they end when the daemon does."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from audiohookd.auth.keys.model import fingerprint
from audiohookd.observe.counters import Counters
from audiohookd.session.quotas import Owner, Quotas
from audiohookd.session.registry import (
    SPARE_CONNECTIONS,
    SPARE_CONNECTIONS_OF_OWNER,
    UNOWNED,
    AdmissionDenied,
    Registry,
)


class Caller:
    """A connection that does what the test says.

    :param polite: ends when it is asked to.
    :param quick: its plugins are done at once when it is aborted.
    :param probe: it asks for a session only to see whether it gets one.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        polite: bool = False,
        quick: bool = True,
        admitted: bool = True,
        probe: bool = False,
        owner: Owner = UNOWNED,
    ) -> None:
        self.finished: Deferred[None] = Deferred()
        self.asked: list[str] = []
        self.unfinished = ["hanging"]
        self.session_id = str(uuid4())
        self.held: list[bool] = []
        self._polite = polite
        self._quick = quick
        registry.add(self, owner)
        self.no_place = registry.admit(self, probe, owner) if admitted else AdmissionDenied("not asked")
        self.answer = None if self.no_place is None else self.no_place.info

    def describe(self) -> dict[str, object]:
        return {"session": self.session_id}

    def start_draining(self) -> None:
        """Its route allows no reconnect."""

    def hold_pause(self, is_held: bool) -> bool:
        self.held.append(is_held)
        return True

    def end(self) -> None:
        if not self.finished.called:
            self.finished.callback(None)

    def abandon(self) -> None:
        self.asked.append("abandon")
        self.end()

    def shut_down(self) -> None:
        self.asked.append("shut_down")
        if self._polite:
            self.end()

    def abort(self) -> None:
        self.asked.append("abort")
        if self._quick:
            self.end()


def registry(clock: Clock, max_sessions: int = 10, obstacle: Callable[[], str | None] = lambda: None) -> Registry:
    service = Registry(clock, max_sessions, drain_timeout=900.0, grace=10.0, obstacle=obstacle)
    service.startService()
    return service


def test_it_counts_sessions_and_knows_connections() -> None:
    sessions = registry(Clock())
    session = Caller(sessions)
    probe = Caller(sessions, admitted=False)
    assert len(sessions) == 1
    assert set(sessions) == {session, probe}
    session.end()
    assert len(sessions) == 0
    assert set(sessions) == {probe}


def test_one_too_many_is_refused_until_another_ends() -> None:
    sessions = registry(Clock(), max_sessions=2)
    first, second = Caller(sessions), Caller(sessions)
    assert (first.answer, second.answer) == (None, None)
    assert sessions.full
    assert Caller(sessions).answer == "too many sessions"
    first.end()
    assert not sessions.full
    assert Caller(sessions).answer is None


def test_a_session_without_room_for_recordings_is_rejected_without_internals() -> None:
    obstacles = ["/var/spool/audiohookd: Read-only file system"]
    sessions = registry(Clock(), obstacle=lambda: obstacles[0] if obstacles else None)
    assert Caller(sessions).answer == "no room for recordings"
    assert len(sessions) == 0
    obstacles.clear()
    assert Caller(sessions).answer is None


def test_calls_that_are_recorded_go_on_when_no_other_could_be() -> None:
    obstacles: list[str] = []
    sessions = registry(Clock(), obstacle=lambda: obstacles[0] if obstacles else None)
    live = Caller(sessions)
    obstacles.append("less than 1024 MiB free")
    assert Caller(sessions).answer == "no room for recordings"
    assert len(sessions) == 1
    assert live.asked == []


def test_a_probe_is_answered_whatever_is_in_the_way_of_calls() -> None:
    sessions = registry(Clock(), max_sessions=1, obstacle=lambda: "less than 1024 MiB free")
    assert Caller(sessions, probe=True).answer is None
    assert len(sessions) == 0
    sessions.start_draining()
    assert Caller(sessions, probe=True).answer == "server is shutting down"


def test_it_is_crowded_by_connections_of_any_kind() -> None:
    sessions = registry(Clock(), max_sessions=2)
    callers = [Caller(sessions, admitted=False) for _ in range(2 * 2 + SPARE_CONNECTIONS - 1)]
    assert not sessions.at_connection_limit
    last = Caller(sessions)
    assert sessions.at_connection_limit
    assert last.answer is None
    callers[0].end()
    assert not sessions.at_connection_limit


def test_an_idle_daemon_stops_at_once() -> None:
    clock = Clock()
    assert registry(clock).stopService().called
    assert clock.getDelayedCalls() == []


def test_a_shutdown_does_not_wait_for_connections_without_a_session() -> None:
    clock = Clock()
    sessions = registry(clock)
    waiting = Caller(sessions, polite=True, admitted=False)
    assert sessions.stopService().called
    assert waiting.asked == ["shut_down"]


def test_calls_go_on_until_they_end() -> None:
    clock = Clock()
    sessions = registry(clock)
    first, second = Caller(sessions), Caller(sessions)
    stopped = sessions.stopService()
    clock.advance(600.0)
    first.end()
    clock.advance(200.0)
    assert not stopped.called
    second.end()
    assert stopped.called
    assert first.asked == second.asked == []
    assert clock.getDelayedCalls() == []


def test_while_draining_nobody_is_admitted() -> None:
    sessions = registry(Clock())
    Caller(sessions)
    sessions.stopService()
    assert sessions.draining
    assert Caller(sessions).answer == "server is shutting down"
    assert len(sessions) == 1


def test_after_the_deadline_all_are_asked_to_close() -> None:
    clock = Clock()
    sessions = registry(clock)
    polite, slow = Caller(sessions, polite=True), Caller(sessions)
    stopped = sessions.stopService()
    clock.advance(899.9)
    assert polite.asked == []
    clock.advance(0.1)
    assert polite.asked == slow.asked == ["shut_down"]
    assert not stopped.called
    slow.end()
    assert stopped.called
    assert clock.getDelayedCalls() == []


def test_a_session_that_does_not_close_is_aborted() -> None:
    clock = Clock()
    sessions = registry(clock)
    polite, rude = Caller(sessions, polite=True), Caller(sessions)
    stopped = sessions.stopService()
    clock.pump([900.0, 9.9])
    assert rude.asked == ["shut_down"]
    clock.advance(0.1)
    assert rude.asked == ["shut_down", "abort"]
    assert polite.asked == ["shut_down"]
    assert stopped.called
    assert clock.getDelayedCalls() == []


def test_plugins_that_are_never_done_do_not_keep_the_daemon() -> None:
    clock = Clock()
    sessions = registry(clock)
    hanging = Caller(sessions, quick=False)
    stopped = sessions.stopService()
    clock.pump([900.0, 10.0])
    assert not stopped.called
    clock.advance(10.0)
    assert stopped.called
    hanging.end()
    assert len(sessions) == 0
    assert clock.getDelayedCalls() == []


def test_the_stop_takes_no_longer_than_it_says() -> None:
    clock = Clock()
    sessions = registry(clock)
    Caller(sessions, quick=False)
    stopped = sessions.stopService()
    clock.pump([1.0] * int(sessions.stop_limit))
    assert sessions.stop_limit == 920.0
    assert stopped.called


def test_a_connection_after_the_drain_is_aborted_with_the_others() -> None:
    clock = Clock()
    sessions = registry(clock)
    Caller(sessions)
    stopped = sessions.stopService()
    clock.advance(900.0)
    late = Caller(sessions)
    assert late.answer == "server is shutting down"
    clock.advance(10.0)
    assert late.asked == ["abort"]
    assert stopped.called


def test_the_state_of_the_drain_names_sessions_and_seconds() -> None:
    clock = Clock()
    sessions = registry(clock)
    first, second = Caller(sessions), Caller(sessions)
    probe = Caller(sessions, probe=True)
    assert sessions.drain_state is None
    sessions.stopService()
    assert sessions.drain_state == "draining for 0 s, 2 sessions remain, which are closed in 900 s"
    clock.advance(12.4)
    first.end()
    assert sessions.drain_state == "draining for 12 s, 1 session remains, which is closed in 888 s"
    clock.advance(888)
    assert sessions.drain_state == "shutting down, 2 connections are being closed"
    second.end()
    probe.end()
    assert sessions.drain_state == "shutting down"


def test_in_a_hurry_the_drain_goes_on_with_its_next_step() -> None:
    clock = Clock()
    sessions = registry(clock)
    rude = Caller(sessions)
    stopped = sessions.stopService()
    sessions.hurry()
    assert rude.asked == ["shut_down"]
    sessions.hurry()
    assert rude.asked == ["shut_down", "abort"]
    assert stopped.called
    assert clock.getDelayedCalls() == []


def test_in_a_hurry_no_step_of_the_drain_takes_longer_than_a_fraction_of_a_second(logged: list[LogEvent]) -> None:
    clock = Clock()
    sessions = registry(clock)
    hanging = Caller(sessions, quick=False)
    stopped = sessions.stopService()
    sessions.hurry()
    clock.pump([0.1] * round(10 * sessions.hurried_limit))
    assert hanging.asked == ["shut_down", "abort"]
    assert stopped.called
    line = "drain timed out: plugins have not finished 1 sessions, which are abandoned: hanging"
    assert formatEvent(logged[-1]) == line
    assert clock.getDelayedCalls() == []


def test_there_is_no_hurry_while_nothing_stops() -> None:
    sessions = registry(Clock())
    session = Caller(sessions)
    sessions.hurry()
    assert session.asked == []
    assert session.answer is None


class TestQuotas:
    """Quotas of organizations and keys: rejections by a quota, and by the limit of all sessions, are counted."""

    def sessions(self, max_sessions: int = 10, **quotas: int) -> tuple[Registry, Counters]:
        counters = Counters()
        return Registry(Clock(), max_sessions, 900.0, quotas=Quotas(**quotas), count=counters.count), counters

    def test_one_owner_does_not_take_the_places_of_others(self) -> None:
        sessions, counters = self.sessions(per_organization=1)
        first = Caller(sessions, owner=Owner("acme", "one"))
        second = Caller(sessions, owner=Owner("acme", "two"))
        other = Caller(sessions, owner=Owner("globex", "one"))
        assert [first.answer, second.answer, other.answer] == [None, "too many sessions", None]
        assert counters.items() == [("limit_hits", "sessions-per-organization", 1)]

    def test_a_session_that_ends_gives_its_place_back_and_one_that_was_refused_has_none(self) -> None:
        sessions, _ = self.sessions(per_key=1)
        owner = Owner("acme", "one")
        first, refused = Caller(sessions, owner=owner), Caller(sessions, owner=owner)
        refused.end()
        assert Caller(sessions, owner=owner).answer == "too many sessions"
        first.end()
        assert Caller(sessions, owner=owner).answer is None

    def test_which_limit_it_was_is_for_the_log_and_names_no_key(self) -> None:
        owner = Owner("acme", "password")
        told = []
        for limits in ({"max_sessions": 1}, {"per_organization": 1}, {"per_key": 1}):
            sessions, _ = self.sessions(**limits)
            Caller(sessions, owner=owner)
            told.append(Caller(sessions, owner=owner).no_place)
        assert told == [
            AdmissionDenied("too many sessions", "listen.max_sessions is 1"),
            AdmissionDenied("too many sessions", "limits.sessions_per_organization is 1, organization acme"),
            AdmissionDenied("too many sessions", f"limits.sessions_per_key is 1, API key {fingerprint('password')}"),
        ]

    def test_a_probe_takes_no_place(self) -> None:
        sessions, _ = self.sessions(per_key=1)
        owner = Owner("acme", "one")
        answers = [Caller(sessions, owner=owner, probe=probe).answer for probe in (True, False, True)]
        assert answers == [None, None, None]

    def test_a_session_above_the_limit_is_counted(self) -> None:
        sessions, counters = self.sessions(max_sessions=1)
        assert [Caller(sessions).answer for _ in range(2)] == [None, "too many sessions"]
        assert counters.value("limit_hits", "sessions") == 1


class TestConnectionsOfAnOwner:
    """A key with a quota of 5 held all 104 WebSockets with refused, silent and probing sessions."""

    ACME, GLOBEX = Owner("acme", "one"), Owner("globex", "two")

    def sessions(self, **quotas: int) -> tuple[Registry, Counters, Clock]:
        counters, clock = Counters(), Clock()
        return Registry(clock, 20, 900.0, quotas=Quotas(**quotas), count=counters.count), counters, clock

    def held(self, sessions: Registry, owner: Owner, **how: Any) -> list[Caller]:
        """As many as the owner may have."""
        callers: list[Caller] = []
        while len(callers) < 1000 and sessions.reject_upgrade(owner) is None:
            callers.append(Caller(sessions, owner=owner, **how))
        return callers

    @pytest.mark.parametrize("how", [{}, {"admitted": False}, {"probe": True}], ids=["open", "silent", "probe"])
    @pytest.mark.parametrize("quota", ["per_key", "per_organization"])
    def test_one_owner_does_not_take_the_connections_of_others(self, quota: str, how: dict[str, bool]) -> None:
        sessions, counters, _ = self.sessions(**{quota: 5})
        callers = self.held(sessions, self.ACME, **how)
        assert len(callers) == 2 * 5 + SPARE_CONNECTIONS_OF_OWNER
        assert sessions.reject_upgrade(self.GLOBEX) is None
        assert Caller(sessions, owner=self.GLOBEX).answer is None
        label = f"connections-{quota.replace('_', '-')}"
        assert counters.value("limit_hits", label) == 1
        callers[0].end()
        assert sessions.reject_upgrade(self.ACME) is None

    def test_at_its_quota_an_owner_still_gets_its_disconnect_in_a_session(self) -> None:
        sessions, _, _ = self.sessions(per_key=5)
        callers = self.held(sessions, self.ACME)
        assert [caller.answer for caller in callers] == [None] * 5 + ["too many sessions"] * (len(callers) - 5)

    def test_without_a_quota_there_is_no_limit_but_that_of_all(self) -> None:
        sessions, counters, _ = self.sessions()
        assert len(self.held(sessions, self.ACME, admitted=False)) == 2 * 20 + SPARE_CONNECTIONS
        assert sessions.reject_upgrade(self.GLOBEX) == "too many connections: listen.max_sessions is 20"
        assert counters.value("limit_hits", "connections") == 2

    def test_the_reason_names_the_quota_and_no_key(self) -> None:
        sessions, _, _ = self.sessions(per_key=5)
        self.held(sessions, self.ACME, admitted=False)
        reason = sessions.reject_upgrade(self.ACME)
        key = fingerprint("one")
        assert reason == f"too many connections: 26 for limits.sessions_per_key is 5, API key {key}"

    def test_strangers_that_are_told_in_a_session_are_nobodys(self) -> None:
        sessions, _, _ = self.sessions(per_key=1)
        for _ in range(60):
            Caller(sessions, admitted=False)
        assert sessions.reject_upgrade() is None

    def test_warns_when_connections_are_nearly_all_taken(self) -> None:
        sessions, _, _ = self.sessions()
        callers = [Caller(sessions, admitted=False) for _ in range(93)]
        assert sessions.connection_warnings == []
        callers.append(Caller(sessions, admitted=False))
        (warning,) = sessions.connection_warnings
        assert warning.startswith("94 of 104 WebSocket connections are in use")
        callers[0].end()
        assert sessions.connection_warnings == []

    def test_warns_for_a_minute_after_an_upgrade_was_rejected(self) -> None:
        sessions, _, clock = self.sessions(per_organization=1)
        self.held(sessions, self.ACME, admitted=False)
        (warning,) = sessions.connection_warnings
        reason = "too many connections: 18 for limits.sessions_per_organization is 1, organization acme"
        assert warning == (
            f"an upgrade was rejected with status 503 within the last minute, "
            f"and Genesys Cloud does not retry it: {reason}"
        )
        clock.advance(61)
        assert sessions.connection_warnings == []


def test_the_place_of_a_session_that_is_over_is_free_while_its_plugins_work() -> None:
    owner = Owner("organization", "key")
    sessions = Registry(Clock(), 1, drain_timeout=900.0, quotas=Quotas(per_key=1))
    over = Caller(sessions, owner=owner)
    assert Caller(sessions, owner=owner).answer == "too many sessions"
    sessions.release(over)
    assert Caller(sessions, owner=owner).answer is None
    over.end()  # which frees nothing a second time
    assert Caller(sessions, owner=owner).answer == "too many sessions"


def test_sessions_whose_plugins_still_work_do_not_crowd_it_and_are_bounded() -> None:
    counters = Counters()
    sessions = Registry(Clock(), 2, drain_timeout=900.0, count=counters.count)
    over = [Caller(sessions, admitted=False) for _ in range(2 + SPARE_CONNECTIONS + 1)]
    for caller in over[:-1]:
        sessions.detach(caller)
    assert not sessions.at_connection_limit
    assert not any(caller.asked for caller in over)
    sessions.detach(over[-1])
    assert [caller.asked for caller in over] == [["abandon"], *[[]] * (len(over) - 1)]
    assert counters.value("limit_hits", "unfinished-sessions") == 1


def test_one_live_session_is_paused_by_its_id() -> None:
    registry = Registry(Clock(), max_sessions=3, drain_timeout=1.0)
    first, second = Caller(registry), Caller(registry)
    rejected = Caller(registry, admitted=False)
    assert registry.describe() == [{"session": first.session_id}, {"session": second.session_id}]
    assert registry.hold_pause(second.session_id.upper(), True)
    assert (first.held, second.held) == ([], [True])
    assert not registry.hold_pause(rejected.session_id, True)
    assert rejected.held == []
