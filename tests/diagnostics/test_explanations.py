"""Rejected requests are diagnosed in a thread, one at a time, once each, for a bounded number of questions."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from audiohookd.auth.keys.model import Key, Keys
from audiohookd.auth.rejection import RejectionReason
from audiohookd.diagnostics import explain, recent
from audiohookd.diagnostics.explanations import MAX_ANSWER, MAX_WAITING, PAUSE, Explanations
from audiohookd.diagnostics.hypotheses import HINTS_TAKEN
from audiohookd.diagnostics.recent import RecentRejections
from audiohookd.interfaces import PoolFull
from audiohookd.testing import MemoryWorkers
from tests.auth.foreign_signer import API_KEY, CREATED, HOST, SECRET, replaced, signed

KEYS = Keys({API_KEY: Key((SECRET,))})
REQUESTS = 3


class Asked:
    """A pending answer."""

    def __init__(self, result: "Deferred[bytes]") -> None:
        self.answers: list[list[dict[str, Any]]] = []
        self.whole: dict[str, Any] = {}
        self.failures: list[Failure] = []
        result.addCallbacks(self._take, self.failures.append)

    def _take(self, body: bytes) -> None:
        self.whole = json.loads(body)
        self.answers.append(self.whole["refused"])


class TestExplanations(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.workers, self.refused, self.keys = Clock(), MemoryWorkers(), RecentRejections(), KEYS
        self.explanations = Explanations(self.clock, self.workers, self.refused, lambda: self.keys)
        self.diagnosed: list[str] = []
        diagnose = explain.diagnose

        def counted(request: Any, *arguments: Any) -> Any:
            self.diagnosed.append(request.header("host"))
            return diagnose(request, *arguments)

        self.patch(recent, "diagnose", counted)
        for number in range(REQUESTS):
            self.note(number)

    def note(self, number: int) -> None:
        request = replaced(signed(), host=f"hook{number}.example.org")
        self.refused.note(CREATED + number, f"192.0.2.{number}", RejectionReason.SIGNATURE_WRONG, request)

    def ask(self, hosts: tuple[str, ...] = (), paths: tuple[str, ...] = ()) -> Asked:
        return Asked(self.explanations.explain(hosts, paths))

    def work(self) -> int:
        """Runs all work, and returns the largest number of tasks that waited for a thread."""
        most = 0
        while len(self.workers) or self.clock.getDelayedCalls():
            most = max(most, len(self.workers))
            if len(self.workers):
                self.workers.run_one()
            self.clock.advance(PAUSE)
        return most

    def test_nothing_is_computed_in_the_reactor(self) -> None:
        asked = self.ask()
        self.assertEqual((self.diagnosed, asked.answers), ([], []))
        self.work()
        self.assertEqual([one["peer"] for one in asked.answers[0]], ["192.0.2.2", "192.0.2.1", "192.0.2.0"])
        self.assertIn("verdict: signature-wrong", asked.answers[0][0]["explanation"])

    def test_many_askers_share_one_computation(self) -> None:
        askers = [self.ask() for _ in range(90)]
        self.assertEqual(self.work(), 1)
        self.assertEqual(len(self.diagnosed), REQUESTS)
        self.assertTrue(all(len(asked.answers[0]) == REQUESTS for asked in askers))

    def test_a_turn_of_the_reactor_sends_one_answer(self) -> None:
        askers = [self.ask() for _ in range(90)]
        turns: list[int] = []
        later = self.clock.callLater

        def counted(*arguments: Any) -> Any:
            turns.append(sum(len(asked.answers) for asked in askers))
            return later(*arguments)

        self.patch(self.clock, "callLater", counted)
        self.work()
        self.assertEqual(turns[-90:], list(range(1, 91)))

    def test_a_request_is_diagnosed_once(self) -> None:
        for hosts in ((), (HOST,), (), (HOST,)):
            self.ask(hosts)
            self.work()
        self.assertEqual(len(self.diagnosed), 2 * REQUESTS)
        self.note(7)
        self.ask()
        self.work()
        self.assertEqual(len(self.diagnosed), 2 * REQUESTS + 1)

    def test_new_keys_are_taken_into_account(self) -> None:
        self.ask()
        self.work()
        self.keys = Keys({})
        asked = self.ask()
        self.work()
        self.assertIn("not among the keys", str(asked.answers))

    def test_one_computation_runs_at_a_time_and_the_reactor_has_a_pause_after_each_request(self) -> None:
        self.ask((HOST,))
        self.ask(("b.example",))
        self.workers.run_one()
        self.assertEqual((len(self.workers), len(self.diagnosed)), (0, 1))
        self.clock.advance(PAUSE)
        self.assertEqual(self.work(), 1)
        self.assertEqual(len(self.diagnosed), 2 * REQUESTS)

    def test_waiting_questions_are_bounded(self) -> None:
        askers = [self.ask((f"h{number}.example",)) for number in range(MAX_WAITING + 1)]
        self.assertTrue(askers[-1].failures[0].check(PoolFull))
        self.work()
        self.assertEqual([len(asked.answers) for asked in askers], [1] * MAX_WAITING + [0])
        again = self.ask((f"h{MAX_WAITING}.example",))
        self.work()
        self.assertEqual(len(again.answers), 1)

    def test_the_cache_is_bounded(self) -> None:
        for number in range(100):
            self.ask((f"h{number}.example",))
            self.work()
        self.assertLessEqual(len(self.explanations), 4 * 50)

    def test_hints_beyond_the_limit_are_not_tried_and_do_not_tell_questions_apart(self) -> None:
        hosts = tuple(f"h{number}.example" for number in range(HINTS_TAKEN))
        self.ask((*hosts, "a"))
        self.ask((*hosts, "b"))
        self.work()
        self.assertEqual(len(self.diagnosed), REQUESTS)

    def test_a_pool_that_takes_no_work_fails_the_answer_and_not_the_next_one(self) -> None:
        self.workers = MemoryWorkers(waiting=0)
        broken = Explanations(self.clock, self.workers, self.refused, lambda: self.keys)
        for _ in range(2):
            self.assertTrue(Asked(broken.explain((), ())).failures[0].check(PoolFull))

    def test_a_diagnosis_that_fails_fails_its_answer_and_not_the_next_one(self) -> None:
        def broken(*_: Any) -> Any:
            raise RuntimeError("diagnosis")

        patched = self.patch(recent, "diagnose", broken)
        askers = [self.ask(), self.ask((HOST,))]
        self.work()
        self.assertTrue(all(asked.failures[0].check(RuntimeError) for asked in askers))
        patched.restore()
        asked = self.ask()
        self.work()
        self.assertEqual(len(asked.answers), 1)

    def test_an_answer_is_bounded_and_says_what_it_leaves_out(self) -> None:
        self.refused = RecentRejections()
        self.explanations = Explanations(self.clock, self.workers, self.refused, lambda: self.keys)
        names = " ".join(f'"a{number}"' for number in range(250))
        sent = signed(secret=b"x").headers["signature-input"]
        signature_input = sent.replace('"x-api-key")', f'"x-api-key" {names})')
        for number in range(50):
            request = replaced(signed(), host=f"h{number}", signature_input=signature_input)
            self.refused.note(CREATED, f"192.0.2.{number}", RejectionReason.COMPONENT_ABSENT, request)
        asked = self.ask()
        self.work()
        shown = asked.answers[0]
        self.assertLessEqual(len(json.dumps(asked.whole)), MAX_ANSWER)
        self.assertEqual(shown[0]["peer"], "192.0.2.49")
        self.assertGreater(asked.whole["omitted"], 0)
        self.assertEqual(len(shown) + asked.whole["omitted"], 50)
