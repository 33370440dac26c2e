"""Short forms of ``make crash``."""

from pathlib import Path

import pytest

from tests.crash import outage, runs, slow_store
from tests.crash.__main__ import GROWTH
from tests.crash.ext4 import needs_ext4
from tests.crash.outage import Outage
from tests.crash.runs import Campaign
from tests.crash.slow_store import Trickle

pytestmark = pytest.mark.functional

#: Seconds that a kill may cost beyond the bound, where processors are shared with who knows whom.
LEEWAY = 0.5


def test_what_is_killed_goes_on(tmp_path: Path) -> None:
    verdict = runs.run(Campaign(kills=5, calls=8, seed=6, leeway=LEEWAY), tmp_path)
    assert verdict.is_good, verdict.why
    assert verdict.cut > 0


def test_what_was_synced_survives_the_power(tmp_path: Path) -> None:
    verdict = runs.run(Campaign(kills=3, calls=8, seed=4, power="synced", leeway=LEEWAY), tmp_path)
    assert verdict.is_good, verdict.why


def test_no_byte_that_was_not_sent_survives_the_power_of_an_ext4(tmp_path: Path) -> None:
    needs_ext4()
    verdict = runs.run(Campaign(kills=3, calls=12, seed=4, power="ext4", leeway=LEEWAY), tmp_path)
    assert verdict.is_good, verdict.why


def test_all_calls_arrive_after_an_outage(tmp_path: Path) -> None:
    verdict = outage.run(Outage(seconds=6, calls=200, timeout=1, retry_max_delay=1), tmp_path)
    assert verdict.is_good, verdict.why
    assert verdict.whole == verdict.calls >= 200


def test_a_slow_store_costs_no_memory(tmp_path: Path) -> None:
    growth = slow_store.run(Trickle(recordings=24, length=120, rate=100_000, seconds=5), tmp_path)
    assert growth.stored == 24
    assert growth.bytes < GROWTH
