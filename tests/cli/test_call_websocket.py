"""Calls over real sockets on loopback: upgrade, audio, rejections, and all ways to end."""

import io
import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from audiohookd.cli.call import connection
from audiohookd.cli.call.connection import GIVEN_UP
from audiohookd.cli.call.execution import Caller
from audiohookd.cli.call.options import Options
from audiohookd.cli.call.report import NOT_CLOSED, Report
from audiohookd.cli.call.source import Recording, tone
from audiohookd.cli.target import Target
from audiohookd.protocol.messages import NULL_UUID, read_object
from tests.cli.loopback_server import NOW, SECRET, LoopbackServer
from tests.cli.tls_front import answering

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

    def call(self, source: Recording | None = AUDIO, **changes: Any) -> tuple[Any, "Deferred[None]"]:
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
        self.assertEqual(read_object(request.custom_config), {"a": "ä"})
        self.assertTrue(request.supported_languages)
        self.assertFalse(request.is_probe)
        self.assertIn("call 1: the server's languages: en-US, de-DE", self.err.getvalue())

    async def test_a_ping_does_not_wait_for_nagle(self) -> None:
        call_, over = self.call(tone(), speed=10.0)
        await self.server.hearing
        self.assertTrue(call_.transport.getTcpNoDelay())
        call_.hang_up()
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
        self.assert_failed(
            "HTTP 401 Unauthorized: key or signature rejected: run `audiohookctl explain-signature --recent` on the"
            " daemon's machine"
        )

    async def test_a_redirect_is_not_followed(self) -> None:
        self.server.refuse_with = (303, "See Other")
        await self.call()[1]
        self.assert_failed(
            "HTTP 303 See Other: a redirect to nowhere, but Genesys Cloud follows none: enter that address, or remove"
            " the redirect"
        )
        self.assertEqual(len(self.server.calls), 1)

    async def test_a_refused_connection_is_reported(self) -> None:
        await self.server.stop()
        await self.call()[1]
        self.assert_failed("connection refused")

    async def test_an_upgrade_of_another_request_is_reported(self) -> None:
        await self.call_raw(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n")
        self.assertIn("Sec-WebSocket-Accept is wrong", self.err.getvalue())

    async def test_a_server_without_http_is_reported(self) -> None:
        await self.call_raw(b"220 smtp.example.com\r\n\r\n")
        self.assert_failed("the response is not HTTP")

    async def test_a_connection_lost_before_the_response_is_reported(self) -> None:
        await self.call_raw(b"")
        self.assert_failed("the connection was lost before the server responded to the upgrade request")

    async def test_a_server_without_a_response_times_out(self) -> None:
        self.patch(connection, "_UPGRADE_TIMEOUT", 0.1)
        await self.call_raw(None)
        self.assert_failed("timed out: the server did not respond to the upgrade request")

    async def call_raw(self, answer: bytes | None) -> None:
        """Makes a call to a server that sends these bytes."""
        with answering(answer) as port:
            await self.call(target=Target(False, "127.0.0.1", port, "/x"))[1]

    # ---- the ways to end -------------------------------------------------------------------------

    async def test_hanging_up_sends_close(self) -> None:
        call_, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call_.hang_up()
        await over
        self.assertEqual(self.report.failures, 0)
        self.assertTrue(call.was_clean)

    async def test_aborting_does_not_wait(self) -> None:
        self.server.answers_close = False
        call_, over = self.call(tone(), speed=10.0)
        await self.server.hearing
        call_.hang_up()
        await self.server.closing
        call_.abort()
        await over
        self.assert_failed(NOT_CLOSED)

    async def test_an_abort_before_the_connection_is_reported(self) -> None:
        call_, over = self.call()
        call_.hang_up()
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

    async def test_a_server_that_does_not_answer_the_close_frame_times_out(self) -> None:
        self.patch(connection, "_CLOSE_TIMEOUT", 0.1)
        call, over = self.call(tone(), speed=10.0)
        server = await self.server.hearing
        server.onCloseFrame = lambda *_: None
        call.hang_up()
        await over
        self.assertEqual(self.report.failures, 0)

    async def test_an_illegal_frame_of_the_server_is_reported(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.transport.write(b"\xc1\x01x")
        await over
        self.assert_failed(
            "the server closed the WebSocket before closed: protocol error in its frames (a frame is masked or"
            " compressed: this is not a WebSocket server)"
        )

    async def test_a_ping_of_the_websocket_is_answered(self) -> None:
        call, over = self.call(tone(), speed=10.0)
        server = await self.server.hearing
        pong: Deferred[bytes] = Deferred()
        server.onPong = pong.callback
        server.sendPing(b"hi")
        self.assertEqual(await pong, b"hi")
        call.hang_up()
        await over

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
        self.assert_failed("error 415 audio not expected (160 bytes, which only an Audio Connector plays)")

    async def test_a_message_above_the_limit_is_a_protocol_error(self) -> None:
        _, over = self.call(tone(), speed=10.0)
        call = await self.server.hearing
        call.factory.setProtocolOptions(maxMessagePayloadSize=0)
        call.maxMessagePayloadSize = 0
        call.sendMessage(b"x" * 70_000)
        await over
        self.assert_failed("error 413 message too large (70000 bytes)")
