"""The admin port tells of refused requests once they are diagnosed, which takes some turns of the reactor."""

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from audiohookd.interfaces import PoolFull
from audiohookd.observe.admin_http import AdminSources, admin_site


class TestRefused(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[Deferred[Any]] = []
        self.site = admin_site(Clock(), AdminSources(lambda: True, lambda: None, lambda: "", self.explain))

    def explain(self, hosts: tuple[str, ...], paths: tuple[str, ...]) -> "Deferred[Any]":
        self.told = hosts, paths
        self.asked.append(Deferred())
        return self.asked[-1]

    def ask(self, method: str = "GET", query: str = "") -> tuple[Any, StringTransport]:
        protocol = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
        transport = StringTransport()
        protocol.makeConnection(transport)
        head = f"{method} /refused{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        protocol.dataReceived(head.encode())
        return protocol, transport

    def test_the_answer_comes_when_it_is_there(self) -> None:
        _, transport = self.ask()
        self.assertEqual(transport.value(), b"")
        self.asked[0].callback(b'{"refused": [{"peer": "192.0.2.1"}]}')
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"application/json", head.lower())
        self.assertIn(b"cache-control: no-store", head.lower())
        self.assertEqual(json.loads(body), {"refused": [{"peer": "192.0.2.1"}]})

    def test_the_query_names_host_and_path_of_the_calls(self) -> None:
        self.ask()
        self.assertEqual(self.told, ((), ()))
        self.ask(query="?host=a.example.com&path=%2Fws%3Fa%3D1&host=b&other=x")
        self.assertEqual(self.told, (("a.example.com", "b"), ("/ws?a=1",)))

    def test_a_head_request_gets_no_body(self) -> None:
        _, transport = self.ask("HEAD")
        self.asked[0].callback(b'{"refused": []}')
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(body, b"")

    def test_a_client_that_leaves_gets_no_answer(self) -> None:
        protocol, transport = self.ask()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.asked[0].callback(b'{"refused": []}')
        self.assertEqual(transport.value(), b"")

    def test_a_failure_shows_no_secret(self) -> None:
        _, transport = self.ask()
        self.asked[0].errback(RuntimeError("the secret"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"secret", transport.value())

    def test_one_question_too_many_may_come_again(self) -> None:
        _, transport = self.ask()
        self.asked[0].errback(PoolFull("4 questions"))
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 503 "))
        self.assertIn(b"retry-after: 2", head.lower())
        self.assertIn(b"try again", body)
        self.assertEqual(self.flushLoggedErrors(), [])
