"""How the daemon answers to load balancers and monitors, byte by byte."""

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from audiohookd.observe.admin_connections import BURST, INTERVAL, MAX_CONNECTIONS, MAX_DURATION
from audiohookd.observe.admin_http import REJECTIONS_LOGGED, AdminSources, admin_site

SESSION = "e160e428-53e2-487c-977d-96989bf5c99d"


class Answer:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        _, status, self.phrase = first.split(" ", 2)
        self.status = int(status)
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


class TestAdmin(SynchronousTestCase):
    def setUp(self) -> None:
        self.is_ready = True
        self.clock = Clock()
        self.obstacle: str | None = None
        self.site = admin_site(
            self.clock, AdminSources(lambda: self.is_ready, lambda: self.obstacle, lambda: "a 1\n")
        )
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]

    def ask(self, path: str, method: str = "GET") -> Answer:
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return Answer(transport.value())

    def connected(self) -> tuple[Any, StringTransport]:
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_of_many_questions_on_one_connection_the_first_is_answered(self) -> None:
        asked: list[str] = []

        def metrics() -> str:
            asked.append("metrics")
            return "a 1\n"

        self.site = admin_site(self.clock, AdminSources(lambda: True, lambda: None, metrics))
        protocol, transport = self.connected()
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_700)
        self.assertEqual(asked, ["metrics"])
        self.assertEqual(transport.value().count(b"HTTP/1.1 200"), 1)
        self.assertEqual(Answer(transport.value()).headers["connection"], "close")
        self.assertTrue(transport.disconnecting)

    def test_so_many_may_ask_at_a_time(self) -> None:
        visits = [self.connected() for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000)))
        visits[0][0].connectionLost(Failure(ConnectionDone()))
        self.connected()

    def test_requests_beyond_a_burst_are_read_at_a_pace(self) -> None:
        visits = [self.connected() for _ in range(BURST + 10)]

        def read() -> int:
            return sum(transport.producerState == "producing" for _, transport in visits)

        self.assertEqual(read(), BURST)
        for number in range(1, 11):
            self.clock.advance(INTERVAL * 1.01)
            self.assertEqual(read(), BURST + number)
        for protocol, _ in visits:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(2 * BURST * INTERVAL)
        visits = [self.connected() for _ in range(BURST)]
        self.assertEqual(read(), BURST)

    def test_a_client_that_leaves_before_its_turn_leaves_no_timer(self) -> None:
        for protocol, _ in [self.connected() for _ in range(BURST + 1)]:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_does_not_close_is_disconnected(self) -> None:
        protocol, transport = self.connected()
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.clock.advance(MAX_DURATION)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_process_that_works_is_live_ready_or_not(self) -> None:
        for self.is_ready in (True, False):
            answer = self.ask("/live")
            self.assertEqual((answer.status, answer.body), (200, b"live\n"))

    def serve(self, sources: AdminSources) -> None:
        self.site = admin_site(self.clock, sources)

    def test_live_sessions_are_listed(self) -> None:
        self.serve(AdminSources(lambda: True, lambda: None, lambda: "", sessions=lambda: [{"session": "s"}]))
        self.assertEqual(json.loads(self.ask("/sessions").body), {"sessions": [{"session": "s"}]})

    def test_the_list_of_sessions_is_built_once_a_second(self) -> None:
        built: list[None] = []
        self.serve(AdminSources(lambda: True, lambda: None, lambda: "", sessions=lambda: built.append(None) or ()))
        for seconds in (0.0, 0.5, 0.5):
            self.clock.advance(seconds)
            self.ask("/sessions")
        self.assertEqual(len(built), 2)

    def test_a_session_is_paused_and_resumed(self) -> None:
        held: list[tuple[str, bool]] = []

        def hold_pause(session: str, is_held: bool) -> bool:
            held.append((session, is_held))
            return session == SESSION

        self.serve(AdminSources(lambda: True, lambda: None, lambda: "", hold_pause=hold_pause))
        for action, said in (("pause", b"paused\n"), ("resume", b"resumed\n")):
            answer = self.ask(f"/sessions/{SESSION}/{action}", "POST")
            self.assertEqual((answer.status, answer.body), (200, said))
        self.assertEqual(held, [(SESSION, True), (SESSION, False)])
        self.assertEqual(self.ask(f"/sessions/{SESSION.replace('e', '0')}/pause", "POST").status, 404)
        for method, path in (("GET", f"/sessions/{SESSION}/pause"), ("POST", "/sessions/x/pause")):
            self.assertEqual(self.ask(path, method).status, 404)
        self.assertEqual(self.ask("/sessions", "POST").status, 405)

    def test_no_session_is_paused_unless_the_operator_allows_it(self) -> None:
        answer = self.ask(f"/sessions/{SESSION}/pause", "POST")
        self.assertEqual(answer.status, 403)
        self.assertIn(b"allow_pause = true in [admin]", answer.body)

    def test_a_ready_daemon_answers_200(self) -> None:
        answer = self.ask("/ready")
        self.assertEqual((answer.status, answer.body), (200, b"ready\n"))

    def test_ready_with_warnings(self) -> None:
        warnings = ["calls on '/' are not recorded"]
        self.serve(AdminSources(lambda: True, lambda: None, lambda: "", warnings=lambda: warnings))
        answer = self.ask("/ready")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.body, b"ready\nwarning: calls on '/' are not recorded\n")

    def test_a_warning_is_one_printable_line(self) -> None:
        warnings = ["a\u202e\r\nb\udce9"]
        self.serve(AdminSources(lambda: False, lambda: "/\nready\x1b", lambda: "", warnings=lambda: warnings))
        body = rb"not ready: /\nready\u001b" + b"\n" + rb"warning: a\u202e\r\nb\udce9" + b"\n"
        self.assertEqual(self.ask("/ready").body, body)

    def test_a_daemon_that_is_not_ready_answers_503(self) -> None:
        self.is_ready = False
        answer = self.ask("/ready")
        self.assertEqual((answer.status, answer.body), (503, b"not ready\n"))

    def test_not_ready_for_a_reason(self) -> None:
        self.is_ready = False
        self.obstacle = "less than 1024 MiB free on /sp\udcffool"
        answer = self.ask("/ready")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.body, b"not ready: less than 1024 MiB free on /sp\\udcffool\n")

    def test_health_as_the_reference_server_tells_it(self) -> None:
        for self.is_ready, status in ((True, 200), (False, 503)):
            answer = self.ask("/health/check")
            self.assertEqual(answer.status, status)
            self.assertEqual(json.loads(answer.body), {"Http-Status": status, "Healthy": self.is_ready})
            self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")

    def test_metrics_come_as_prometheus_wants_them(self) -> None:
        answer = self.ask("/metrics")
        self.assertEqual((answer.status, answer.body), (200, b"a 1\n"))
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")

    def test_no_answer_is_kept_by_anybody(self) -> None:
        for self.is_ready in (True, False):
            for path in ("/live", "/ready", "/health/check"):
                self.assertEqual(self.ask(path).headers["cache-control"], "no-store", path)

    def test_head_says_the_same_without_the_body(self) -> None:
        for self.is_ready in (True, False):
            for path in ("/live", "/ready", "/health/check"):
                whole, head = self.ask(path), self.ask(path, "HEAD")
                self.assertEqual(head.status, whole.status)
                self.assertEqual(head.body, b"")
                for name in ("content-length", "content-type", "cache-control"):
                    self.assertEqual(head.headers[name], whole.headers[name])

    def test_a_query_changes_nothing(self) -> None:
        self.assertEqual(self.ask("/ready?verbose=1").status, 200)

    def test_there_is_nothing_else(self) -> None:
        for path in ("/", "/health", "/health/", "/health/check/", "/live/", "/live/x", "/metrics/", "/x", "//live"):
            for method in ("GET", "POST"):
                answer = self.ask(path, method)
                self.assertEqual((answer.status, answer.body), (404, b"not found\n"), path)

    def test_nothing_can_be_changed_here(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            answer = self.ask("/ready", method)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"), method)

    def test_probes_leave_no_trace_in_the_log(self) -> None:
        for method in ("GET", "HEAD", "POST"):
            for path in ("/live", "/ready", "/health/check", "/nothing"):
                self.ask(path, method)
        self.assertEqual([str(event) for event in self.logged], [])

    def test_a_connection_that_asks_nothing_is_closed(self) -> None:
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.clock.advance(61)
        self.assertTrue(transport.disconnecting)

    # ---- Host and Origin ---------------------------------------------------------------------------------

    def ask_as(self, head: str) -> Answer:
        protocol, transport = self.connected()
        protocol.dataReceived(f"{head}\r\n\r\n".encode())
        return Answer(transport.value())

    def test_a_request_for_a_foreign_host_reads_nothing_and_is_told_the_setting(self) -> None:
        for path in ("/metrics", "/ready", "/live", "/health/check", "/refused", "/nothing"):
            answer = self.ask_as(f"GET {path} HTTP/1.1\r\nHost: evil.example:3001")
            self.assertEqual((answer.status, answer.phrase), (421, "Misdirected Request"), path)
            self.assertIn(b"allowed_hosts", answer.body)
            self.assertNotIn(b"a 1", answer.body)
            self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_a_request_of_another_origin_is_forbidden(self) -> None:
        answer = self.ask_as("GET /metrics HTTP/1.1\r\nHost: localhost:3001\r\nOrigin: http://evil.example")
        self.assertEqual((answer.status, b"a 1" in answer.body), (403, False))

    def test_a_host_is_needed_since_http_1_1(self) -> None:
        self.assertEqual(self.ask_as("GET /ready HTTP/1.1").status, 400)
        self.assertEqual(self.ask_as("GET /ready HTTP/1.0").status, 200)
        self.assertEqual(self.ask_as("OPTIONS /ready HTTP/1.0").status, 405)

    def test_a_configured_name_is_accepted(self) -> None:
        names = ["metrics.example.com"]
        self.site = admin_site(self.clock, AdminSources(lambda: True, lambda: None, lambda: "a 1\n"), names)
        self.assertEqual(self.ask_as("GET /metrics HTTP/1.1\r\nHost: metrics.example.com:3001").status, 200)

    def test_rejections_are_logged_and_cannot_fill_the_log(self) -> None:
        for number in range(40):
            self.ask_as(f"GET /ready HTTP/1.1\r\nHost: h{number}.example")
        self.assertEqual(len(self.logged), REJECTIONS_LOGGED)
        self.assertIn("h0.example", formatEvent(self.logged[0]))
        self.clock.advance(60)
        self.ask_as("GET /ready HTTP/1.1\r\nHost: last.example")
        self.assertIn("(35 more within the last minute)", formatEvent(self.logged[-1]))
