"""Calls over real sockets on loopback: upgrade, audio, rejections, and all ways to end."""

import io
import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from audiohookd.cli.call.execution import Caller
from audiohookd.cli.call.failures import GIVEN_UP, NOT_CLOSED
from audiohookd.cli.call.options import Options
from audiohookd.cli.call.report import Report
from audiohookd.cli.call.source import Recording, Source, tone
from audiohookd.cli.target import Target
from audiohookd.protocol.messages import NULL_UUID, read_custom_config
from tests.cli.loopback_server import NOW, SECRET, LoopbackServer

AUDIO = Recording(bytes(range(256)) * 1000, 2)  # 16 s: more than a window


def options(server: LoopbackServer, **changes: Any) -> Options:
    host, _, rest = server.url.removeprefix("ws://").partition(":")
    port, _, path = rest.partition("/")
    defaults: dict[str, Any] = {
        "target": Target(False, host, int(port), f"/{path}"),
        "api_key": "SomeKey+/==",
        "secret": SECRET,
        "wav": None,
        "probe": False,
        "sessions": 1,
        "rate": 50.0,
        "speed": None,
        "max_duration": None,
        "custom_config": b'{"a": "\xc3\xa4"}',
        "language": "es-419",
        "supported_languages": True,
        "organization": None,
        "quiet": False,
    }
    return Options(**(defaults | changes))


class CallTest(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.server = LoopbackServer(reactor)
        self.addCleanup(self.server.stop)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.report = Report(self.out, self.err)

    def call(self, source: Source | None = AUDIO, **changes: Any) -> tuple[Any, "Deferred[None]"]:
        """Starts a call. Returns it, and a Deferred that fires when it has ended."""
        over: Deferred[None] = Deferred()
        caller = Caller(options(self.server, **changes), source, self.report, reactor, lambda: NOW)
        return caller.dial(lambda: over.callback(None)), over

    def assert_failed(self, why: str) -> None:
        self.assertEqual(self.err.getvalue().splitlines(), [f"call 1: {why}"])
        self.assertEqual(self.report.failures, 1)

    # ---- a call ----------------------------------------------------------------------------------

    async def test_all_audio_arrives_and_results_come_back(self) -> None:
        _, over = self.call()
        await over
        self.assertEqual(self.report.failures, 0)
        self.assertEqual(self.server.calls[0].audio, AUDIO.data)
        self.assertEqual(json.loads(self.out.getvalue()), {"call": 1, "type": "barge_in", "data": {}})
        self.report.summary()
        self.assertIn("completed: 1, failed: 0, audio sent: 16.0 s", self.err.getvalue())

    async def test_upgrade_is_that_of_genesys_cloud(self) -> None:
        self.server.checks_signatures = True
        _, over = self.call()
        await over
        (call,) = self.server.calls
        headers = call.request.headers
        self.assertEqual(call.target, "/audio%2Fhook?a=1")
        self.assertEqual(headers["host"], self.server.url.split("/")[2])
        self.assertEqual(headers["user-agent"], "GenesysCloud-AudioHook-Client")
        self.assertEqual(headers["x-api-key"], "SomeKey+/==")
        self.assertEqual(call.signature.keyid, "SomeKey+/==")
        self.assertEqual(len(call.signature.nonce), 24)
        self.assertEqual((call.signature.created, call.signature.expires), (int(NOW), int(NOW) + 30))
        self.assertNotIn("sec-websocket-extensions", headers)
        self.assertNotIn("sec-websocket-protocol", headers)
        self.assertEqual(call.session.id, headers["audiohook-session-id"])
        self.assertNotEqual(headers["audiohook-correlation-id"], headers["audiohook-session-id"])

    async def test_each_request_has_its_own_nonce_and_ids(self) -> None:
        self.server.checks_signatures = True
        for _ in range(2):
            await self.call()[1]
        one, other = self.server.calls
        self.assertNotEqual(one.signature.nonce, other.signature.nonce)
        self.assertNotEqual(one.session.id, other.session.id)

    async def test_without_a_secret_nothing_is_signed(self) -> None:
        _, over = self.call(secret=b"")
        await over
        self.assertNotIn("signature", self.server.calls[0].request.headers)
        self.assertNotIn("signature-input", self.server.calls[0].request.headers)

    async def test_open_says_what_was_asked_for(self) -> None:
        self.server.languages = ("en-US", "de-DE")
        organization = "AAAAAAAA-1111-4111-8111-111111111111"
        _, over = self.call(organization=organization)
        await over
        request = self.server.calls[0].openings[0].request
        self.assertEqual(request.organization_id, organization)
        self.assertEqual(request.language, "es-419")
        self.assertEqual(read_custom_config(request.custom_config), {"a": "ä"})
        self.assertTrue(request.supported_languages)
        self.assertFalse(request.is_probe)
        self.assertIn("call 1: the server's languages: en-US, de-DE", self.err.getvalue())

    async def test_a_ping_does_not_wait_for_nagle(self) -> None:
        connection, over = self.call(tone(), speed=10.0)
        await self.server.hearing
        self.assertTrue(connection._protocol.transport.getTcpNoDelay())
        connection.hang_up()
        await over

    async def test_a_probe_has_no_call_behind_it(self) -> None:
        _, over = self.call(None, probe=True)
        await over
        (call,) = self.server.calls
        request = call.openings[0].request
        self.assertTrue(request.is_probe)
        self.assertEqual((request.participant.id, request.participant.ani), (NULL_UUID, ""))
        self.assertEqual(len(request.media), 3)
        self.assertEqual(call.audio, b"")
        self.assertEqual(self.report.failures, 0)

    # ---- no call ---------------------------------------------------------------------------------

    async def test_a_rejected_key_is_reported(self) -> None:
        self.server.refuse_with = (401, "Unauthorized")
        await self.call()[1]
        self.assert_failed("HTTP 401: the server rejected the key or the signature")

    async def test_a_redirect_is_not_followed(self) -> None:
        self.server.refuse_with = (303, "See Other")
        await self.call()[1]
        self.assert_failed("HTTP 303: a redirect, which AudioHook clients do not follow")
        self.assertEqual(len(self.server.calls), 1)

    async def test_a_refused_connection_is_reported(self) -> None:
        await self.server.stop()
        await self.call()[1]
        self.assert_failed("connection refused")

    # ---- the ways to end -------------------------------------------------------------------------

    async def test_hanging_up_sends_close(self) -> None:
        connection, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        connection.hang_up()
        await over
        self.assertEqual(self.report.failures, 0)
        self.assertTrue(call.was_clean)

    async def test_aborting_does_not_wait(self) -> None:
        self.server.answers_close = False
        connection, over = self.call(tone(), speed=10.0)
        await self.server.hearing
        connection.hang_up()
        await self.server.closing
        connection.abort()
        await over
        self.assert_failed(NOT_CLOSED)

    async def test_an_abort_before_the_connection_is_reported(self) -> None:
        connection, over = self.call()
        connection.hang_up()
        await over
        self.assert_failed(GIVEN_UP)

    async def test_a_disconnect_of_the_server_is_reported(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.session.disconnect("error", "no room")
        call.settle()
        await over
        self.assert_failed("the server disconnected, reason error: no room")

    async def test_a_lost_connection_is_reported(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.transport.abortConnection()
        await over
        self.assert_failed(NOT_CLOSED)

    async def test_a_websocket_closed_without_closed_is_reported(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.sendClose(4001, "going away")
        await over
        self.assert_failed("the server closed the WebSocket before closed: code 4001, reason 'going away'")

    async def test_the_server_closes_the_websocket_before_opened(self) -> None:
        self.server.closes_with = (4008, "policy violation")
        _, over = self.call(tone(), speed=10.0)
        await over
        self.assert_failed("the server closed the WebSocket before opened: code 4008, reason 'policy violation'")

    async def test_a_completed_call_is_not_a_failure(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.session.disconnect("completed", "all said", {"Intent": "bye"})
        call.settle()
        await over
        self.assertEqual(self.report.failures, 0)
        self.assertIn('reason completed: all said; outputVariables {"Intent": "bye"}', self.err.getvalue())

    async def test_audio_of_the_server_is_a_protocol_error(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.sendMessage(b"\xff" * 160, True)
        await over
        self.assert_failed("error 415 audio not expected (160 bytes)")

    async def test_a_message_above_the_limit_is_a_protocol_error(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.factory.setProtocolOptions(maxMessagePayloadSize=0)
        call.maxMessagePayloadSize = 0
        call.sendMessage(b"x" * 70_000)
        await over
        self.assert_failed("error 413 message too large (70000 bytes)")
