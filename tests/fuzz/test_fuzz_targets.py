"""Runs each fuzz target briefly, with hypothesis and with the coverage-guided fuzzer (longer: `make fuzz`)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzz_targets import TARGETS

ROOT = Path(__file__).parents[2]
#: Seconds of the coverage-guided run, and the least number of inputs that it must try: it cannot silently do nothing.
SECONDS = 3
TRIED = 60


def mutated(seeds: list[bytes], words: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Seeds with a piece replaced, anywhere."""
    piece = st.one_of(st.just(b""), st.sampled_from(words), st.binary(max_size=20), st.sampled_from(seeds))
    place, length = st.integers(0, 10_000), st.integers(0, 30)
    return st.builds(spliced, st.sampled_from(seeds), place, length, piece)


def spliced(seed: bytes, place: int, length: int, piece: bytes) -> bytes:
    at = place % (len(seed) + 1)
    return seed[:at] + piece + seed[at + length :]


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_break_no_promise(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert len(seeds) >= 4
    for seed in seeds:
        TARGETS[name].check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds_and_random_bytes_break_no_promise(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=150)
    @given(st.one_of(mutated(list(target.seeds()), target.words), st.binary(max_size=300)))
    def look(data: bytes) -> None:
        target.check(data)

    look()


@pytest.mark.parametrize("name", TARGETS)
def test_coverage_guided_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", name, str(tmp_path / name), str(SECONDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, said[-4000:]
    (tried,) = re.findall(r"stat::number_of_executed_units: +(\d+)", said)
    assert int(tried) >= TRIED
