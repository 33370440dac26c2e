"""What strangers send, a short look: by hypothesis, and by a fuzzer that coverage guides (longer: `make fuzz`)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzz_targets import TARGETS

ROOT = Path(__file__).parents[2]
#: Of the coverage-guided run, and what it must try at least in it, so that it cannot do nothing unseen.
SECONDS = 3
TRIED = 60


def mutated(seeds: list[bytes], words: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """A seed of which a stretch, anywhere, is something else."""
    piece = st.one_of(st.just(b""), st.sampled_from(words), st.binary(max_size=20), st.sampled_from(seeds))
    place, length = st.integers(0, 10_000), st.integers(0, 30)
    return st.builds(spliced, st.sampled_from(seeds), place, length, piece)


def spliced(seed: bytes, place: int, length: int, piece: bytes) -> bytes:
    at = place % (len(seed) + 1)
    return seed[:at] + piece + seed[at + length :]


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert len(seeds) >= 4
    for seed in seeds:
        TARGETS[name].check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_nearly_a_seed_or_nothing_at_all(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=150)
    @given(st.one_of(mutated(list(target.seeds()), target.words), st.binary(max_size=300)))
    def look(data: bytes) -> None:
        target.check(data)

    look()


@pytest.mark.parametrize("name", TARGETS)
def test_what_coverage_leads_to(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", name, str(tmp_path / name), str(SECONDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, said[-4000:]
    (tried,) = re.findall(r"stat::number_of_executed_units: +(\d+)", said)
    assert int(tried) >= TRIED
