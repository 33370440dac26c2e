"""``audiohookctl call`` as a process: exit codes, output, and signals."""

import base64
import json
import os
import signal
import sys
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from audiohookd.cli.call.execution import SAME_SIGNAL
from tests.cli.loopback_server import SECRET, LoopbackServer

ENVIRONMENT = {**os.environ, "AUDIOHOOK_CLIENT_SECRET": base64.b64encode(SECRET).decode()}

#: Runs the command with a wall clock that is set during the first call. A wait caused by that fails.
SETS_THE_CLOCK = """
import faulthandler, sys, threading, time
faulthandler.dump_traceback_later(20, exit=True)
real, change = time.time, 0.0
time.time = lambda: real() + change

def set_clock():
    global change
    change = {change}.0

from audiohookd.cli.main import main
threading.Timer(0.6, set_clock).start()
sys.exit(main(sys.argv[1:]))
"""


class Command(ProcessProtocol):
    """A running command; ``ended`` fires with its exit code (a negative one for a signal)."""

    def __init__(self, *arguments: str, program: tuple[str, ...] = ("-m", "audiohookd.cli.main")) -> None:
        self.out = self.err = b""
        self.ended: Deferred[int] = Deferred()
        command = [sys.executable, "-W", "error", *program, *arguments]
        reactor.spawnProcess(self, sys.executable, command, env=ENVIRONMENT)

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def interrupt(self, number: int = signal.SIGINT) -> None:
        os.kill(self.transport.pid, number)

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.ended.callback(value.exitCode if value.signal is None else -value.signal)

    @property
    def lines(self) -> list[str]:
        return self.err.decode().splitlines()


class CommandTest(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.server = LoopbackServer(reactor)
        self.addCleanup(self.server.stop)

    def call(self, *arguments: str) -> Command:
        return Command("call", self.server.url, "--api-key", "key", *arguments)

    async def test_many_calls_complete(self) -> None:
        command = self.call("--sessions", "20", "--rate", "1000", "--speed", "max", "--max-duration", "60")
        self.assertEqual(await command.ended, 0)
        results = [json.loads(line) for line in command.out.splitlines()]
        self.assertEqual(sorted(result["call"] for result in results), list(range(1, 21)))
        self.assertEqual({len(call.audio) for call in self.server.calls}, {60 * 16_000})
        trips, summary = command.lines
        self.assertRegex(trips, r"^round trip in ms: min .* p50 .* p90 .* p95 .* p99 .* p99.9 .* max .* of \d+$")
        self.assertEqual(summary, "calls: 20, completed: 20, failed: 0, audio sent: 1200.0 s")

    async def test_a_probe_completes(self) -> None:
        command = self.call("--probe", "--quiet")
        self.assertEqual(await command.ended, 0)
        self.assertEqual(command.out, b"")
        self.assertTrue(self.server.calls[0].openings[0].request.is_probe)

    async def test_a_call_that_connects_elsewhere_has_the_host_of_the_url(self) -> None:
        address = urlsplit(self.server.url).netloc
        port = address.rpartition(":")[2]
        url = self.server.url.replace(address, f"audio.invalid:{port}")
        options = ("--connect", address, "--max-duration", "1", "--speed", "max")
        command = Command("call", url, "--api-key", "key", *options)
        self.assertEqual(await command.ended, 0, command.err)
        (call,) = self.server.calls
        self.assertEqual(call.request.headers["host"], f"audio.invalid:{port}")

    async def test_failures_are_exit_code_one(self) -> None:
        self.server.refuse_with = (401, "Unauthorized")
        command = self.call("--sessions", "2")
        self.assertEqual(await command.ended, 1)
        self.assertEqual(
            sorted(command.lines[:2]),
            [
                f"call {number}: HTTP 401 Unauthorized: key or signature rejected: run `audiohookctl"
                " explain-signature --recent` on the daemon's machine"
                for number in (1, 2)
            ],
        )

    async def test_an_interruption_sends_close(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            command = self.call("--rate", "0.001", "--sessions", "3")
            call = await self.server.hearing
            command.interrupt(number)
            self.assertEqual(await command.ended, 0)
            self.assertTrue(call.was_clean)
            self.assertIn("calls: 1, completed: 1, failed: 0", command.lines[-1])
            self.server.hearing = Deferred()

    async def test_a_signal_repeated_at_once_sends_close(self) -> None:
        """timeout(1) sends its signal to the process and to its group."""
        command = self.call()
        call = await self.server.hearing
        command.interrupt(signal.SIGTERM)
        command.interrupt(signal.SIGTERM)
        self.assertEqual(await command.ended, 0)
        self.assertTrue(call.was_clean)

    async def test_a_hangup_that_nohup_ignores_is_ignored(self) -> None:
        program = (
            "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
            "from audiohookd.cli.main import main; sys.exit(main(sys.argv[1:]))"
        )
        arguments = ("--api-key", "key", "--max-duration", "1")
        command = Command("call", self.server.url, *arguments, program=("-c", program))
        await self.server.hearing
        command.interrupt(signal.SIGHUP)
        self.assertEqual(await command.ended, 0)
        self.assertEqual(len(self.server.calls[0].audio), 16_000)

    async def test_a_second_interruption_does_not_wait(self) -> None:
        self.server.answers_close = False
        command = self.call()
        await self.server.hearing
        command.interrupt()
        await self.server.closing
        await deferLater(reactor, 2 * SAME_SIGNAL)
        began = reactor.seconds()
        command.interrupt()
        self.assertEqual(await command.ended, 1)
        self.assertLess(reactor.seconds() - began, 5)
        self.assertIn("failed: 1", command.lines[-1])

    async def test_a_clock_that_is_set_changes_nothing(self) -> None:
        for change in (-3600, 3600):
            program = ("-c", SETS_THE_CLOCK.format(change=change))
            arguments = ("--api-key", "key", "--speed", "4", "--max-duration", "4", "--rate", "2", "--sessions", "2")
            command = Command("call", self.server.url, *arguments, program=program)
            self.assertEqual(await command.ended, 0)
            self.assertEqual(command.lines[-1], "calls: 2, completed: 2, failed: 0, audio sent: 8.0 s")

    async def test_missing_libraries_are_one_line(self) -> None:
        program = (
            "import sys; sys.modules |= dict.fromkeys(['numpy', 'soundfile', 'soxr', 'hdrh'])\n"
            "from audiohookd.cli.main import main; sys.exit(main(sys.argv[1:]))"
        )
        command = Command("call", self.server.url, "--api-key", "key", program=("-c", program))
        self.assertEqual(await command.ended, 2)
        (line,) = command.lines
        self.assertIn("pip install -r requirements-call.lock", line)
