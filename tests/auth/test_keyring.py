"""How keys stay up to date while calls come in: without threads and without waiting."""

import pytest
from twisted.logger import LogLevel, formatEvent

from audiohookd.auth.keys.keyring import JITTER, POLL_INTERVAL, RETRY_AFTER
from audiohookd.auth.keys.model import UNSIGNED, Key, Keys, KeySourceError, SourceUnavailable, fingerprint
from audiohookd.runtime.workers import PoolFull
from tests.auth.keyring_rig import INTERVAL, NEW, OLD, Rig, Source

NO_KEYS = 'no API keys in auth.aws, all requests are rejected: write {"API key": "secret in base64"} there'


class TestAtTheStart:
    def test_all_sources_are_loaded(self) -> None:
        source = Source()
        rig = Rig(source)
        assert rig.secrets("a") == (b"old, and long enough",)
        assert source.loads == 1

    @pytest.mark.parametrize("kind", [KeySourceError, SourceUnavailable])
    def test_one_that_cannot_be_is_named(self, kind: type[KeySourceError]) -> None:
        source = Source()
        source.gives = kind("says no")
        with pytest.raises(kind, match=r"^auth.aws: says no$"):
            Rig(Source("auth.keys_file"), source)

    def test_what_stands_twice_is_told_once(self) -> None:
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

    def test_a_short_secret_is_told_once_and_so_is_the_next(self) -> None:
        source = Source()
        source.gives = Keys({"a": Key((b"short",))})
        rig = Rig(source)
        source.gives = Keys({"a": Key((b"shorts",)), "b": Key((b"short",))})
        rig.wait()
        rig.wait()
        told = [line for line in rig.lines if "less than 16 bytes" in line]
        assert [line.partition(" in ")[0] for line in told] == [f"the API key {fingerprint(key)}" for key in "ab"]

    def test_shows_no_secret_and_no_key(self) -> None:
        assert repr(Rig(Source()).keyring) == "<Keyring: <Keys: 1, of which 0 without a secret>>"


class TestARefresh:
    def test_comes_each_interval(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.wait(INTERVAL - 1)
        assert source.loads == 1
        for number in range(2, 5):
            rig.wait(1 if number == 2 else INTERVAL)
            assert source.loads == number

    def test_changes_the_keys_at_once(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = NEW
        rig.wait()
        assert rig.secrets("a") == (b"new, and long enough",)
        assert rig.lines == ["auth.aws: keys reloaded, changed: <Keys: 2, of which 1 without a secret>"]

    def test_of_what_has_not_changed_is_none(self) -> None:
        source = Source()
        rig = Rig(source)
        source.is_changed = False
        rig.wait()
        assert (source.looks, source.loads) == (1, 1)
        assert rig.lines == []

    def test_of_what_cannot_change_is_none(self) -> None:
        source = Source(interval=None)
        rig = Rig(source)
        rig.wait(1e6)
        rig.keyring.reload()
        rig.wait()
        assert (source.looks, source.loads) == (0, 1)

    @pytest.mark.parametrize(("chance", "factor"), [(0.0, 1 - JITTER), (0.5, 1.0), (1.0, 1 + JITTER)])
    def test_is_not_at_the_same_time_everywhere(self, chance: float, factor: float) -> None:
        source = Source()
        rig = Rig(source, random=lambda: chance)
        rig.wait(INTERVAL * factor - 0.1)
        assert source.looks == 0
        rig.wait(0.2)
        assert source.looks == 1

    def test_never_happens_in_the_reactor_thread(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.clock.advance(INTERVAL)
        rig.keyring.reload()
        rig.keyring.lookup("unknown")
        assert (source.looks, source.loads) == (0, 1)
        assert len(rig.pool) == 1

    def test_each_source_has_one_at_a_time(self) -> None:
        sources = Source("auth.keys_file"), Source()
        rig = Rig(*sources)
        for _ in range(5):
            rig.clock.advance(INTERVAL)
            rig.keyring.reload()
        assert len(rig.pool) == 2

    def test_that_is_asked_for_during_another_comes_after_it(self) -> None:
        """For that one may have read what was there before."""
        source = Source()
        rig = Rig(source)
        rig.keyring.reload()
        rig.keyring.reload()
        rig.pool.run_one()
        assert source.loads == 2
        rig.pool.run()
        assert source.loads == 3

    def test_that_is_asked_for_does_not_ask_whether_anything_has_changed(self) -> None:
        source = Source()
        rig = Rig(source)
        source.is_changed = False
        rig.keyring.reload()
        rig.pool.run()
        assert source.loads == 2


class TestASourceThatFails:
    def test_keeps_its_keys_and_says_so_once(self) -> None:
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

    def test_says_it_again_the_next_time(self) -> None:
        source = Source()
        rig = Rig(source)
        for given in (KeySourceError("1"), OLD, KeySourceError("2")):
            source.gives = given
            rig.wait()
        assert [line[-1] for line in rig.lines] == ["1", "d", "2"]

    def test_is_tried_sooner(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = KeySourceError("no")
        rig.wait()
        rig.wait(RETRY_AFTER)
        assert source.loads == 3

    def test_is_not_well_because_nothing_changes(self) -> None:
        """A file with a mistake in it is read again, so that an alarm on what is counted goes on."""
        source = Source()
        rig = Rig(source)
        source.gives = KeySourceError("no")
        rig.wait()
        source.is_changed = False
        for _ in range(3):
            rig.wait(RETRY_AFTER)
        assert (rig.failures(), len(rig.lines)) == (4, 1)

    def test_for_another_reason_says_so(self) -> None:
        source = Source()
        rig = Rig(source)
        for reason in ("1", "1", "2", "2"):
            source.gives = KeySourceError(reason)
            rig.wait()
        assert [line[-1] for line in rig.lines] == ["1", "2"]

    def test_leaves_the_others_alone(self) -> None:
        broken, well = Source(), Source("auth.keys_file")
        rig = Rig(well, broken)
        broken.gives, well.gives = KeySourceError("no"), NEW
        rig.wait()
        assert rig.secrets("a") == (b"new, and long enough",)
        assert (rig.failures(), rig.failures("auth.keys_file")) == (1, 0)

    def test_for_a_reason_that_nobody_foresaw_says_its_name_alone(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = RuntimeError("with a secret in it")
        rig.wait()
        assert rig.lines == ["auth.aws: cannot load keys, the last good keys stay valid: RuntimeError"]

    def test_by_never_answering_is_found_out(self) -> None:
        source = Source()
        rig = Rig(source)
        rig.clock.advance(INTERVAL)
        for _ in range(3):
            rig.clock.advance(INTERVAL)
        assert rig.failures() == 3
        assert [line.rpartition(": ")[2] for line in rig.lines] == ["does not answer"]
        rig.pool.run()
        assert rig.lines[-1] == "auth.aws: recovered, keys are loaded"

    def test_because_of_the_pool_is_one_that_fails(self) -> None:
        rig = Rig(Source())
        rig.pool._waiting = 0
        rig.wait()
        assert rig.lines[-1].endswith(PoolFull.__name__)
        assert rig.secrets("a") == (b"old, and long enough",)


def test_what_is_to_be_seen_of_each_source() -> None:
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
    def test_in_one_source_are_told_each_time(self) -> None:
        first, second = Source("auth.keys_file"), Source()
        rig = Rig(first, second)
        told = []
        for given in (Keys({}), Keys({}), NEW, Keys({})):
            second.gives = given
            rig.wait()
            told.append(rig.lines.count("auth.aws: contains no keys"))
        assert told == [1, 1, 1, 2]
        assert rig.obstacles == []

    def test_in_all_sources_hinder_until_there_are_some(self) -> None:
        source = Source()
        rig = Rig(source)
        for source.gives in (Keys({}), Keys({}), NEW):
            rig.wait()
        assert rig.obstacles == ["no keys in auth.aws", None]
        (line,) = [event for event in rig.logged if event["log_level"] is LogLevel.error]
        assert formatEvent(line) == NO_KEYS

    def test_at_the_start_are_told(self) -> None:
        source = Source()
        source.gives = Keys({})
        rig = Rig(source)
        assert rig.obstacles == ["no keys in auth.aws"]
        assert rig.lines == ["auth.aws: contains no keys", NO_KEYS]


class TestAReloadThatIsAskedFor:
    def test_tells_of_what_is_as_it_was_and_does_so_once(self) -> None:
        rig = Rig(Source())
        rig.keyring.reload()
        rig.pool.run()
        rig.wait()
        assert rig.lines == ["auth.aws: keys reloaded, unchanged: <Keys: 1, of which 0 without a secret>"]

    def test_tells_of_what_still_fails(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = KeySourceError("no")
        rig.wait()
        rig.keyring.reload()
        rig.pool.run()
        rig.wait()
        line = "auth.aws: cannot load keys, the last good keys stay valid: no"
        assert rig.lines == [line, line]

    def test_tells_of_what_does_not_answer_still(self) -> None:
        rig = Rig(Source())
        for _ in range(2):
            rig.clock.advance(INTERVAL)
        rig.keyring.reload()
        for _ in range(2):
            rig.clock.advance(INTERVAL)
        assert [line.rpartition(": ")[2] for line in rig.lines] == ["does not answer"] * 2

    def test_tells_of_what_is_not_read_again(self) -> None:
        rig = Rig(Source("auth.keys_variable", interval=None))
        rig.keyring.reload()
        assert rig.lines == ["auth.keys_variable: not reloaded, because it is read only at start-up"]

    def test_tells_of_what_was_read_after_it(self) -> None:
        """And not of what was under way."""
        source = Source()
        rig = Rig(source)
        rig.clock.advance(INTERVAL)
        rig.keyring.reload()
        rig.pool.run_one()
        assert rig.lines == []
        rig.pool.run()
        assert len(rig.lines) == 1

    def test_is_not_what_strangers_do(self) -> None:
        rig = Rig(Source())
        rig.keyring.lookup("unknown")
        rig.pool.run()
        assert rig.lines == []


class TestAnUnknownKey:
    def test_has_the_sources_asked(self) -> None:
        source = Source()
        rig = Rig(source)
        source.gives = NEW
        assert rig.secrets("b") is None
        rig.pool.run()
        assert rig.secrets("b") == (UNSIGNED,)

    def test_in_a_burst_does_so_once_a_minute(self) -> None:
        source = Source(interval=86_400.0)
        rig = Rig(source)
        for _ in range(600):
            for name in range(10):
                rig.keyring.lookup(f"unknown{name}")
            rig.pool.run()
            rig.clock.advance(0.5)
        assert source.loads == 1 + 300 / POLL_INTERVAL

    def test_of_known_ones_there_is_no_end(self) -> None:
        source = Source()
        rig = Rig(source)
        for _ in range(100):
            rig.keyring.lookup("a")
        rig.pool.run()
        assert source.loads == 1


class TestTheStop:
    def test_ends_all_work(self) -> None:
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

    def test_keys_are_known_until_the_end(self) -> None:
        """The listener closes after the calls have ended, and until then they are answered."""
        rig = Rig(Source())
        rig.keyring.stopService()
        assert rig.secrets("a") == (b"old, and long enough",)
