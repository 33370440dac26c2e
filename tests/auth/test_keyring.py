"""The keyring reloads keys without blocking handshakes."""

import pytest
from twisted.logger import LogLevel, formatEvent

from audiohookd.auth.keys.keyring import JITTER, POLL_INTERVAL, RETRY_AFTER
from audiohookd.auth.keys.model import UNSIGNED, Key, Keys, KeySourceError, SourceUnavailable, fingerprint
from audiohookd.interfaces import PoolFull
from tests.auth.keyring_rig import INTERVAL, NEW, OLD, Rig, Source

NO_KEYS = 'no API keys in auth.aws, all requests are rejected: write {"API key": "secret in base64"} there'


class TestStart:
    def test_all_sources_are_loaded(self) -> None:
        source = Source()
        rig = Rig(source)
        assert rig.secrets("a") == (b"old, and long enough",)
        assert source.loads == 1

    @pytest.mark.parametrize("kind", [KeySourceError, SourceUnavailable])
    def test_failing_source_is_named(self, kind: type[KeySourceError]) -> None:
        source = Source()
        source.gives = kind("says no")
        with pytest.raises(kind, match=r"^auth.aws: says no$"):
            Rig(Source("auth.keys_file"), source)

    def test_duplicate_key_is_logged_once(self) -> None:
        first, second = Source("auth.keys_file"), Source()
        second.gives = NEW
        rig = Rig(first, second)
        assert (rig.secrets("a"), rig.secrets("b")) == ((b"old, and long enough",), (UNSIGNED,))
        first.gives = Keys({"a": Key((b"newer, and long enough",))})
        rig.wait()
        assert rig.secrets("a") == (b"newer, and long enough",)
        twice = f"the API key {fingerprint('a')} is in auth.keys_file and in auth.aws: the first is used"
        changed = "auth.keys_file: keys reloaded, changed: <Keys: 1, of which 0 without a secret>"
        assert rig.lines == [twice, changed]

    def test_each_short_secret_is_logged_once(self) -> None:
        source = Source()
        source.gives = Keys({"a": Key((b"short",))})
        rig = Rig(source)
        source.gives = Keys({"a": Key((b"shorts",)), "b": Key((b"short",))})
        rig.wait()
        rig.wait()
        counts = [line for line in rig.lines if "less than 16 bytes" in line]
        assert [line.partition(" in ")[0] for line in counts] == [f"the API key {fingerprint(key)}" for key in "ab"]

    def test_shows_no_secret_and_no_key(self) -> None:
        assert repr(Rig(Source()).keyring) == "<Keyring: <Keys: 1, of which 0 without a secret>>"


class TestPolling:
    def test_source_is_loaded_each_interval(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.wait(INTERVAL - 1)
        assert source.loads == 1
        for number in range(2, 5):
            rig.wait(1 if number == 2 else INTERVAL)
            assert source.loads == number

    def test_changed_keys_are_valid_at_once(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = NEW
        rig.wait()
        assert rig.secrets("a") == (b"new, and long enough",)
        assert rig.lines == ["auth.aws: keys reloaded, changed: <Keys: 2, of which 1 without a secret>"]

    def test_unchanged_source_is_not_loaded(self) -> None:
        source = Source()
        rig = Rig(source)
        source.is_changed = False
        rig.wait()
        assert (source.looks, source.loads) == (1, 1)
        assert rig.lines == []

    def test_constant_source_is_not_polled(self) -> None:
        source = Source(interval=None)
        rig = Rig(source)
        rig.wait(1e6)
        rig.keyring.reload()
        rig.wait()
        assert (source.looks, source.loads) == (0, 1)

    @pytest.mark.parametrize(("chance", "factor"), [(0.0, 1 - JITTER), (0.5, 1.0), (1.0, 1 + JITTER)])
    def test_interval_varies_by_the_jitter(self, chance: float, factor: float) -> None:
        source = Source()
        rig = Rig(source, random=lambda: chance)
        rig.wait(INTERVAL * factor - 0.1)
        assert source.looks == 0
        rig.wait(0.2)
        assert source.looks == 1

    def test_load_never_runs_in_the_reactor_thread(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.clock.advance(INTERVAL)
        rig.keyring.reload()
        rig.keyring.lookup("unknown")
        assert (source.looks, source.loads) == (0, 1)
        assert len(rig.pool) == 1

    def test_source_has_one_task_at_a_time(self) -> None:
        sources = Source("auth.keys_file"), Source()
        rig = Rig(*sources)
        for _ in range(5):
            rig.clock.advance(INTERVAL)
            rig.keyring.reload()
        assert len(rig.pool) == 2

    def test_reload_during_a_load_runs_after_it(self) -> None:
        """The running load may have read the old content."""
        source = Source()
        rig = Rig(source)
        rig.keyring.reload()
        rig.keyring.reload()
        rig.pool.run_one()
        assert source.loads == 2
        rig.pool.run()
        assert source.loads == 3

    def test_reload_loads_an_unchanged_source(self) -> None:
        source = Source()
        rig = Rig(source)
        source.is_changed = False
        rig.keyring.reload()
        rig.pool.run()
        assert source.loads == 2


class TestFailingSource:
    def test_source_keeps_its_keys_and_logs_once(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = SourceUnavailable("does not speak")
        for number in range(1, 4):
            rig.wait()
            assert rig.secrets("a") == (b"old, and long enough",)
            assert rig.failures() == number
        line = "auth.aws: cannot load keys, the last good keys stay valid: does not speak"
        assert rig.lines == [line]
        source.gives = OLD
        rig.wait()
        rig.wait()
        assert rig.lines == [line, "auth.aws: recovered, keys are loaded"]

    def test_next_failure_is_logged_again(self) -> None:
        source = Source()
        rig = Rig(source)
        for given in (KeySourceError("1"), OLD, KeySourceError("2")):
            source.gives = given
            rig.wait()
        assert [line[-1] for line in rig.lines] == ["1", "d", "2"]

    def test_failed_source_is_retried_sooner(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = KeySourceError("no")
        rig.wait()
        rig.wait(RETRY_AFTER)
        assert source.loads == 3

    def test_unchanged_invalid_source_still_fails(self) -> None:
        """An invalid file is read again, so that an alarm on the counter continues."""
        source = Source()
        rig = Rig(source)
        source.gives = KeySourceError("no")
        rig.wait()
        source.is_changed = False
        for _ in range(3):
            rig.wait(RETRY_AFTER)
        assert (rig.failures(), len(rig.lines)) == (4, 1)

    def test_new_reason_is_logged(self) -> None:
        source = Source()
        rig = Rig(source)
        for reason in ("1", "1", "2", "2"):
            source.gives = KeySourceError(reason)
            rig.wait()
        assert [line[-1] for line in rig.lines] == ["1", "2"]

    def test_failure_does_not_affect_other_sources(self) -> None:
        broken, well = Source(), Source("auth.keys_file")
        rig = Rig(well, broken)
        broken.gives, well.gives = KeySourceError("no"), NEW
        rig.wait()
        assert rig.secrets("a") == (b"new, and long enough",)
        assert (rig.failures(), rig.failures("auth.keys_file")) == (1, 0)

    def test_unexpected_error_logs_only_its_name(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = RuntimeError("with a secret in it")
        rig.wait()
        assert rig.lines == ["auth.aws: cannot load keys, the last good keys stay valid: RuntimeError"]

    def test_hanging_source_is_logged(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.clock.advance(INTERVAL)
        for _ in range(3):
            rig.clock.advance(INTERVAL)
        assert rig.failures() == 3
        assert [line.rpartition(": ")[2] for line in rig.lines] == ["does not answer"]
        rig.pool.run()
        assert rig.lines[-1] == "auth.aws: recovered, keys are loaded"

    def test_full_pool_counts_as_a_failure(self) -> None:
        rig = Rig(Source())
        rig.pool._waiting = 0
        rig.wait()
        assert rig.lines[-1].endswith(PoolFull.__name__)
        assert rig.secrets("a") == (b"old, and long enough",)


def test_sizes_and_failures_are_reported_per_source() -> None:
    first, second = Source("auth.keys_file"), Source()
    rig = Rig(first, second)
    first.gives, second.gives = NEW, KeySourceError("no")
    rig.wait()
    assert rig.keyring.sizes() == {"auth.keys_file": 2, "auth.aws": 1}
    assert rig.keyring.failing() == {"auth.keys_file": 0, "auth.aws": 1}
    second.gives = OLD
    rig.wait()
    assert rig.keyring.failing() == {"auth.keys_file": 0, "auth.aws": 0}


class TestNoKeys:
    def test_empty_source_is_logged_each_time(self) -> None:
        first, second = Source("auth.keys_file"), Source()
        rig = Rig(first, second)
        counts = []
        for given in (Keys({}), Keys({}), NEW, Keys({})):
            second.gives = given
            rig.wait()
            counts.append(rig.lines.count("auth.aws: contains no keys"))
        assert counts == [1, 1, 1, 2]
        assert rig.obstacles == []

    def test_no_keys_at_all_make_the_daemon_not_ready(self) -> None:
        source = Source()
        rig = Rig(source)
        for source.gives in (Keys({}), Keys({}), NEW):
            rig.wait()
        assert rig.obstacles == ["no keys in auth.aws", None]
        (line,) = [event for event in rig.logged if event["log_level"] is LogLevel.error]
        assert formatEvent(line) == NO_KEYS

    def test_no_keys_at_start_are_logged(self) -> None:
        source = Source()
        source.gives = Keys({})
        rig = Rig(source)
        assert rig.obstacles == ["no keys in auth.aws"]
        assert rig.lines == ["auth.aws: contains no keys", NO_KEYS]


class TestReload:
    def test_reload_logs_unchanged_keys_once(self) -> None:
        rig = Rig(Source())
        rig.keyring.reload()
        rig.pool.run()
        rig.wait()
        assert rig.lines == ["auth.aws: keys reloaded, unchanged: <Keys: 1, of which 0 without a secret>"]

    def test_reload_logs_a_repeated_failure(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = KeySourceError("no")
        rig.wait()
        rig.keyring.reload()
        rig.pool.run()
        rig.wait()
        line = "auth.aws: cannot load keys, the last good keys stay valid: no"
        assert rig.lines == [line, line]

    def test_reload_logs_a_hanging_source(self) -> None:
        rig = Rig(Source())
        for _ in range(2):
            rig.clock.advance(INTERVAL)
        rig.keyring.reload()
        for _ in range(2):
            rig.clock.advance(INTERVAL)
        assert [line.rpartition(": ")[2] for line in rig.lines] == ["does not answer"] * 2

    def test_reload_logs_a_constant_source(self) -> None:
        rig = Rig(Source("auth.keys_variable", interval=None))
        rig.keyring.reload()
        assert rig.lines == ["auth.keys_variable: not reloaded, because it is read only at start-up"]

    def test_reload_logs_the_load_after_it(self) -> None:
        """Not the result of the load that was running."""
        source = Source()
        rig = Rig(source)
        rig.clock.advance(INTERVAL)
        rig.keyring.reload()
        rig.pool.run_one()
        assert rig.lines == []
        rig.pool.run()
        assert len(rig.lines) == 1

    def test_unknown_key_logs_nothing(self) -> None:
        rig = Rig(Source())
        rig.keyring.lookup("unknown")
        rig.pool.run()
        assert rig.lines == []


class TestUnknownKey:
    def test_unknown_key_starts_a_reload(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = NEW
        assert rig.secrets("b") is None
        rig.pool.run()
        assert rig.secrets("b") == (UNSIGNED,)

    def test_burst_of_unknown_keys_reloads_once_a_minute(self) -> None:
        source = Source(interval=86_400.0)
        rig = Rig(source)
        for _ in range(600):
            for name in range(10):
                rig.keyring.lookup(f"unknown{name}")
            rig.pool.run()
            rig.clock.advance(0.5)
        assert source.loads == 1 + 300 / POLL_INTERVAL

    def test_known_keys_start_no_reload(self) -> None:
        source = Source()
        rig = Rig(source)
        for _ in range(100):
            rig.keyring.lookup("a")
        rig.pool.run()
        assert source.loads == 1


class TestStop:
    def test_stop_cancels_all_work(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.keyring.reload()
        rig.keyring.stopService()
        rig.pool.run()
        rig.keyring.lookup("unknown")
        rig.keyring.reload()
        assert len(rig.pool) == 0
        assert rig.clock.getDelayedCalls() == []
        assert (rig.failures(), rig.lines) == (0, [])

    def test_keys_stay_valid_after_the_stop(self) -> None:
        """The listener closes only after the calls have ended. Until then it accepts requests."""
        rig = Rig(Source())
        rig.keyring.stopService()
        assert rig.secrets("a") == (b"old, and long enough",)
