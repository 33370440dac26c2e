"""Fixtures for the installed daemon: a wheel in an environment of its own, and a configuration for each test."""

import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.place import Place
from tests.functional.wheel import build_wheel, run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.functional)


@pytest.fixture(scope="session")
def bin(tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: A001
    """The ``bin`` directory of a new environment with the installed wheel.

    Dependencies come from the environment that runs the tests. The project itself does not, because its editable
    install uses a .pth file, and Python ignores .pth files in directories that a .pth file adds.
    """
    place = tmp_path_factory.mktemp("installed")
    wheel = build_wheel(place)
    venv.create(place / "env", with_pip=False)
    python = place / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = (place / "env/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    twistd = place / "env/bin/twistd"
    twistd.write_text(f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n")
    twistd.chmod(0o755)
    return place / "env/bin"


@pytest.fixture
def place(bin: Path, tmp_path: Path) -> Callable[..., Place]:  # noqa: A002
    """Makes a place from tables of its configuration."""
    return lambda **tables: Place(bin, tmp_path, **tables)


@pytest.fixture
def served(place: Callable[..., Place]) -> Iterator[Place]:
    """A place with a running daemon."""
    there = place()
    with there.daemon():
        yield there
