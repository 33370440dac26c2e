"""Services that start and stop one after the other."""

import errno
import os
import sys
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from audiohookd.runtime.foreign_code import PluginRaised
from audiohookd.runtime.services import (
    HURRIED_COUNT,
    HURRIED_LIMIT,
    HURRIED_MINIMUM,
    Listener,
    OrderedServices,
    StartError,
)

STOP_TIMEOUT = 60.0


class Child(Service):
    """Writes its life into ``diary``, and stops when the test says so."""

    def __init__(self, name: str, diary: list[str], start: BaseException | None = None) -> None:
        self.name = name
        self.stopped: Deferred[None] = Deferred()
        self._diary = diary
        self._start = start

    def startService(self) -> None:
        super().startService()
        self._diary.append(f"start {self.name}")
        if self._start is not None:
            raise self._start

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        self._diary.append(f"stop {self.name}")
        return self.stopped


class Patient(Child):
    """Allows itself two minutes."""

    stop_limit = 120.0


class Rude(Child):
    def __init__(self, name: str, diary: list[str], fault: BaseException | None = None) -> None:
        super().__init__(name, diary)
        self._fault = fault or RuntimeError("no")

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        raise self._fault


def late(name: str, seconds: float) -> str:
    return f"{name} did not stop within {seconds:g} s: timed out, and is abandoned"


class TestOrder(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.diary: list[str] = []
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]

    def said(self) -> list[str]:
        return [formatEvent(event) for event in self.logged if event["log_level"] is LogLevel.error]

    def tree(self, *children: Child) -> OrderedServices:
        root = OrderedServices(self.clock, STOP_TIMEOUT)
        for child in children:
            child.setServiceParent(root)
        return root

    def started(self, *children: Child) -> OrderedServices:
        root = self.tree(*children)
        root.startService()
        self.diary.clear()
        return root

    def children(self, names: str) -> list[Child]:
        return [Child(name, self.diary) for name in names]

    def test_the_tree_provides_the_service_interface(self) -> None:
        self.assertTrue(verifyObject(IService, self.tree()))

    def test_starts_from_first_to_last(self) -> None:
        root = self.tree(*self.children("abc"))
        self.assertEqual(self.diary, [])
        root.startService()
        self.assertEqual(self.diary, ["start a", "start b", "start c"])
        self.assertTrue(root.running)

    def test_does_not_start_what_comes_after_a_failure(self) -> None:
        a, c = self.children("ac")
        root = self.tree(a, Child("b", self.diary, StartError("b: no luck")), c)
        with self.assertRaisesRegex(StartError, r"\Ab: no luck\Z"):
            root.startService()
        self.assertEqual(self.diary, ["start a", "start b"])

    def test_names_the_child_that_failed_in_one_line(self) -> None:
        root = self.tree(Child("b", self.diary, OSError(28, "first\n second")))
        with self.assertRaisesRegex(StartError, r"\Ab: first second\Z"):
            root.startService()

    def test_stops_from_last_to_first_each_when_the_one_after_it_has_stopped(self) -> None:
        a, b, c = self.children("abc")
        root = self.started(a, b, c)
        stopped = root.stopService()
        self.assertFalse(root.running)
        self.assertEqual(self.diary, ["stop c"])
        c.stopped.callback(None)
        self.assertEqual(self.diary, ["stop c", "stop b"])
        b.stopped.callback(None)
        self.assertNoResult(stopped)
        a.stopped.callback(None)
        self.assertEqual(self.diary, ["stop c", "stop b", "stop a"])
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_child_whose_stop_fails_does_not_keep_the_others_running(self) -> None:
        a, b = self.children("ab")
        root = self.started(a, b, Rude("c", self.diary))
        stopped = root.stopService()
        b.stopped.errback(OSError("disk"))
        a.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.diary, ["stop c", "stop b", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_a_child_that_exits_does_not_keep_the_others_running(self) -> None:
        (a,) = self.children("a")
        a.stopped.callback(None)
        for fault in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
            stopped = self.started(a, Rude("c", self.diary, fault)).stopService()
            self.successResultOf(stopped)
            self.assertEqual(self.diary[-2:], ["stop c", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(PluginRaised)), 3)

    def test_a_child_that_hangs_and_cannot_be_cancelled_is_not_waited_for_either(self) -> None:
        a, b = self.children("ab")
        a.stopped.callback(None)
        b.stopped = Deferred(lambda _: sys.exit(1))
        stopped = self.started(a, b).stopService()
        self.clock.advance(STOP_TIMEOUT)
        self.successResultOf(stopped)
        self.assertEqual(self.said(), [late("b", STOP_TIMEOUT)])

    def test_a_child_that_exits_at_its_start_is_one_line(self) -> None:
        for fault in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
            root = OrderedServices(self.clock, STOP_TIMEOUT)
            Child("plugins.c", self.diary, fault).setServiceParent(root)
            with self.assertRaisesRegex(StartError, rf"^plugins\.c: {type(fault).__name__}"):
                root.startService()

    def test_a_privileged_start_that_fails_is_one_line(self) -> None:
        class Privileged(Child):
            def privilegedStartService(self) -> None:
                raise SystemExit(3)

        root = self.tree(Privileged("plugins.c", self.diary))
        with self.assertRaisesRegex(StartError, r"^plugins\.c: SystemExit"):
            root.privilegedStartService()

    def test_a_child_that_hangs_is_waited_for_until_its_time_is_over(self) -> None:
        a, b = self.children("ab")
        a.stopped.callback(None)
        stopped = self.started(a, b).stopService()
        self.clock.advance(STOP_TIMEOUT - 0.1)
        self.assertEqual(self.diary, ["stop b"])
        self.clock.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.diary, ["stop b", "stop a"])
        self.assertEqual(self.said(), [late("b", STOP_TIMEOUT)])

    def test_in_a_hurry_each_child_gets_a_fraction_of_a_second_and_what_is_given_up_is_named(self) -> None:
        a, b, c = self.children("abc")
        a.stopped.callback(None)
        root = self.started(a, b, c)
        stopped = root.stopService()
        self.clock.advance(10)
        root.hurry()
        self.clock.advance(HURRIED_LIMIT)
        self.assertEqual(self.diary, ["stop c", "stop b"])
        self.clock.advance(HURRIED_LIMIT)
        self.successResultOf(stopped)
        self.assertEqual(self.diary, ["stop c", "stop b", "stop a"])
        given_up = "{} did not stop at once after a second signal, and is abandoned"
        self.assertEqual(self.said(), [given_up.format("c"), given_up.format("b")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_a_hurry_many_children_that_hang_take_little_more_than_a_few(self) -> None:
        root = self.started(*self.children("abcdefghijklmnopqrst"))
        stopped = root.stopService()
        root.hurry()
        self.clock.pump([HURRIED_LIMIT] * HURRIED_COUNT)
        self.assertEqual(self.diary[-1], "stop p")
        self.clock.pump([HURRIED_MINIMUM] * (20 - HURRIED_COUNT))
        self.successResultOf(stopped)

    def test_in_a_hurry_a_child_that_has_work_to_finish_gets_the_time_it_asks_for(self) -> None:
        hurried: list[str] = []
        child = Child("a", self.diary)
        child.hurried_limit, child.hurry = 1.0, lambda: hurried.append("a")  # type: ignore[attr-defined]
        root = self.started(child)
        stopped = root.stopService()
        root.hurry()
        self.clock.advance(0.9)
        self.assertNoResult(stopped)
        child.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((hurried, self.said()), (["a"], []))

    def test_a_child_that_ignores_that_it_was_given_up_does_not_keep_the_others(self) -> None:
        class Stubborn(Child):
            async def stopService(self) -> None:  # type: ignore[override]
                for _ in range(2):
                    try:
                        await Deferred()
                    except CancelledError:
                        self._diary.append("stays")

        (a,) = self.children("a")
        a.stopped.callback(None)
        stopped = self.started(a, Stubborn("b", self.diary)).stopService()
        self.clock.advance(STOP_TIMEOUT)
        self.successResultOf(stopped)
        self.assertEqual(self.diary, ["stop a", "stays"])

    def test_there_is_no_hurry_before_the_stop(self) -> None:
        root = self.started(*self.children("a"))
        root.hurry()
        stopped = root.stopService()
        self.clock.advance(STOP_TIMEOUT - 1)
        self.assertNoResult(stopped)

    def test_a_child_gets_its_own_stop_limit_on_top(self) -> None:
        (a,) = self.children("a")
        a.stopped.callback(None)
        stopped = self.started(a, Patient("b", self.diary)).stopService()
        self.clock.advance(Patient.stop_limit + STOP_TIMEOUT - 0.1)
        self.assertEqual(self.diary, ["stop b"])
        self.clock.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.said(), [late("b", Patient.stop_limit + STOP_TIMEOUT)])

    def test_a_child_that_stops_after_all_harms_nobody(self) -> None:
        (a,) = self.children("a")
        stopped = self.started(a).stopService()
        self.clock.advance(STOP_TIMEOUT)
        self.successResultOf(stopped)
        self.assertEqual(self.said(), [late("a", STOP_TIMEOUT)])
        a.stopped.callback(None)


class Port:
    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()
        self.asked_to_close = 0

    def startListening(self) -> None:
        raise NotImplementedError

    def stopListening(self) -> "Deferred[None]":
        self.asked_to_close += 1
        return self.closed

    def getHost(self) -> IPv4Address:
        raise NotImplementedError


@implementer(IStreamServerEndpoint)
class Endpoint:
    def __init__(self, outcome: "Deferred[Any]") -> None:
        self.outcome = outcome
        self.factories: list[Factory] = []

    def listen(self, factory: Factory) -> "Deferred[Any]":  # type: ignore[override]
        self.factories.append(factory)
        return self.outcome


class TestListener(SynchronousTestCase):
    def listener(self, outcome: "Deferred[Any]") -> Listener:
        self.factory = Factory()
        self.endpoint = Endpoint(outcome)
        return Listener("admin", self.endpoint, "tcp:3001", "here", self.factory)

    def test_listens_when_started_and_not_before(self) -> None:
        listener = self.listener(succeed(Port()))
        self.assertEqual(self.endpoint.factories, [])
        listener.startService()
        self.assertEqual(self.endpoint.factories, [self.factory])

    def test_port_in_use(self) -> None:
        taken = CannotListenError("127.0.0.1", 3001, OSError(98, "Address already in use"))
        listener = self.listener(fail(taken))
        reason = "Address already in use; ss -ltnp shows by which process"
        with self.assertRaisesRegex(StartError, rf"\Acannot listen on tcp:3001: {reason} \(here\)\Z"):
            listener.startService()

    def test_an_error_of_the_system_comes_with_a_remedy(self) -> None:
        port = "the daemon's user may not open it: use a port above 1023"
        remedies = {errno.EACCES: port, errno.EADDRNOTAVAIL: "ip addr shows the addresses"}
        for number, remedy in remedies.items():
            reason = os.strerror(number)
            listener = self.listener(fail(CannotListenError("", 80, OSError(number, reason))))
            with self.assertRaisesRegex(StartError, rf"\Acannot listen on tcp:3001: {reason}; {remedy}"):
                listener.startService()

    def test_port_in_use_when_the_system_says_it_without_a_number(self) -> None:
        listener = self.listener(fail(CannotListenError("", "/run/x", OSError("locked"))))
        with self.assertRaisesRegex(StartError, r"\Acannot listen on tcp:3001: locked \(here\)\Z"):
            listener.startService()

    def test_whatever_else_keeps_it_from_listening(self) -> None:
        for fault, says in ((OverflowError("bind(): port must be 0-65535."), "bind"), (ValueError(), "ValueError")):
            with self.assertRaisesRegex(StartError, rf"\Acannot listen on tcp:3001: {says}"):
                self.listener(fail(fault)).startService()

    def test_an_endpoint_that_takes_its_time_is_refused(self) -> None:
        with self.assertRaisesRegex(StartError, "does not listen at once"):
            self.listener(Deferred()).startService()

    def test_has_stopped_when_the_port_is_closed(self) -> None:
        port = Port()
        listener = self.listener(succeed(port))
        listener.startService()
        stopped = listener.stopService()
        self.assertNoResult(stopped)
        port.closed.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(port.asked_to_close, 1)

    def test_stops_well_when_it_never_listened(self) -> None:
        self.successResultOf(self.listener(Deferred()).stopService())
