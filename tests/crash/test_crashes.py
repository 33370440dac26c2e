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

#: Seconds of audio that a kill may cost beyond the bound, on machines with shared processors.
LEEWAY = 0.5


def test_kills_lose_no_audio_beyond_the_bound(tmp_path: Path) -> None:
    verdict = runs.run(Campaign(kills=5, calls=8, seed=6, leeway=LEEWAY), tmp_path)
    assert verdict.is_good, verdict.why
    assert verdict.cut > 0


def test_synced_audio_survives_a_power_loss(tmp_path: Path) -> None:
    verdict = runs.run(Campaign(kills=3, calls=8, seed=4, power="synced", leeway=LEEWAY), tmp_path)
    assert verdict.is_good, verdict.why


def test_a_power_loss_of_an_ext4_leaves_only_bytes_that_were_sent(tmp_path: Path) -> None:
    needs_ext4()
    verdict = runs.run(Campaign(kills=3, calls=12, seed=4, power="ext4", leeway=LEEWAY), tmp_path)
    assert verdict.is_good, verdict.why


def test_all_calls_are_uploaded_after_an_outage(tmp_path: Path) -> None:
    verdict = outage.run(Outage(seconds=6, calls=200, timeout=1, retry_max_delay=1), tmp_path)
    assert verdict.is_good, verdict.why
    assert verdict.whole == verdict.calls >= 200


def test_a_slow_store_costs_no_memory(tmp_path: Path) -> None:
    growth = slow_store.run(Trickle(recordings=24, length=120, rate=100_000, seconds=5), tmp_path)
    assert growth.stored == 24
    assert growth.bytes < GROWTH
