"""Wheels: with the compiled module for this machine, or pure for any machine."""

import zipfile
from pathlib import Path

from tests.functional.wheel import build_wheel
from tests.programs import needs_compiler


def compiled_in(wheel: Path) -> list[str]:
    return [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]


@needs_compiler
def test_a_wheel_of_this_machine_has_the_compiled_module(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    assert "-cp311-abi3-linux_" in wheel.name
    assert compiled_in(wheel) == ["audiohookd/websocket/fastpath/_frames.abi3.so"]


def test_a_pure_wheel_fits_any_machine(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, AUDIOHOOKD_PURE="1")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert compiled_in(wheel) == []
    assert "audiohookd/websocket/fastpath/frames.py" in zipfile.ZipFile(wheel).namelist()
