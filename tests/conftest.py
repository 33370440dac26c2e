"""Options, summaries and fixtures for all tests."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import settings
from twisted.logger import LogEvent, globalLogPublisher

from tests.programs import MISSING, OLD_KERNEL
from tests.stores.seaweedfs import SeaweedFS

# The time of an example depends more on the machine than on the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test fails the run: for CI, where all is")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    forbidden = session.config.getoption("fail_on_skip")
    reasons = [reason for reason in skipped(session.config) if not reason.startswith(OLD_KERNEL)]
    if forbidden and session.exitstatus == pytest.ExitCode.OK and reasons:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints one line for all tests skipped because of missing programs, and one for each other reason."""
    reasons = skipped(config)
    packages = [reason.removeprefix(MISSING).split() for reason in reasons if reason.startswith(MISSING)]
    if packages:
        names = " ".join(sorted(set(chain(*packages))))
        terminalreporter.write_line(f"{len(packages)} tests were skipped; for them: apt install {names}")
    for reason, count in Counter(reason for reason in reasons if not reason.startswith(MISSING)).items():
        terminalreporter.write_line(f"{count} tests were skipped: {reason}")


def skipped(config: pytest.Config) -> list[str]:
    """The reasons of all skipped tests."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    return [report.longrepr[2].removeprefix("Skipped: ") for report in reports if isinstance(report.longrepr, tuple)]


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A real S3 store for all tests. Each test makes its own bucket."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """The events that are logged during the test."""
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)  # type: ignore[arg-type]
    yield found
    globalLogPublisher.removeObserver(found.append)  # type: ignore[arg-type]
