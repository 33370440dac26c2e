"""Sidecars that are larger than the memory available for them."""

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.format import sidecar_reader
from audiohookd.spool.format.sidecar_reader import read_recording

PROGRAM = Path(__file__).with_name("large_sidecar.py")
MIB = 64
#: MiB of memory that a step may take for a sidecar of 64 MiB.
BOUND = 12

values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
objects = st.dictionaries(st.text().filter(lambda name: name != "gaps"), values, max_size=4)


def test_a_sidecar_of_64_mib_is_handled_within_a_few_mib(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "spool", str(MIB)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    took = json.loads(done.stdout)
    assert {step: size for step, size in took.items() if size > BOUND} == {}


@given(objects, objects, st.sampled_from([None, 0, 2]))
def test_recording_is_found_at_any_position(
    recording: dict[str, Any], others: dict[str, Any], indent: int | None
) -> None:
    for sidecar in ({"body": [others], **others, "recording": recording}, {"recording": recording, "body": [others]}):
        text = json.dumps(sidecar, indent=indent).encode()
        assert read_recording(BytesIO(text)) == recording


def test_recording_in_a_nested_object_is_ignored() -> None:
    text = b'{"recording":{"a":1},"x":{"body":[\n],\n"recording":{"a":2}}}'
    assert read_recording(BytesIO(text)) == {"a": 1}
    assert read_recording(BytesIO(b'{"body":[\n],\n"recording":{"a":1},"recording":{"a":2}}')) == {"a": 2}


def test_gaps_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecar_reader, "MAX_GAPS", 2)
    gaps = [{"samples": samples} for samples in (1, 2, 3, 4)]
    recording = {"gaps": gaps, "omittedGaps": {"since": "PT1S", "count": 5, "samples": 100}}
    read = read_recording(BytesIO(json.dumps({"recording": recording}).encode()))
    assert read == {"gaps": gaps[:2], "omittedGaps": {"since": "PT1S", "count": 7, "samples": 107}}


def test_a_recording_above_the_limit_is_rejected_and_not_kept_in_memory() -> None:
    text = b'{"recording":{"a":"' + b"y" * sidecar_reader.MAX_RECORDING + b'"}}'
    with pytest.raises(ValueError, match="more than"):
        read_recording(BytesIO(text))
