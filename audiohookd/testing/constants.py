"""Identities, media and dates that the test doubles share."""

from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.messages import Participant

SESSION_ID = "e160e428-53e2-487c-977d-96989bf5c99d"
ORGANIZATION_ID = "d7934305-0972-4844-938e-9060eef73d05"
CORRELATION_ID = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
CONVERSATION_ID = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = Participant("883efee8-3d6c-4537-b500-6d7ca4b92fa0", "+1-555-555-1234", "John Doe", "+1-800-555-6789")
STEREO = Media(Format.PCMU, ("external", "internal"))
#: The path that :class:`ScriptedClient` requests.
PATH = "/audiohook"
#: The date when the clock of a test is at 0, in seconds since the epoch.
START = 1_767_225_600.0
#: The headers of the request for the WebSocket that are not about the WebSocket.
HEADERS = {
    "audiohook-session-id": SESSION_ID,
    "audiohook-organization-id": ORGANIZATION_ID,
    "audiohook-correlation-id": CORRELATION_ID,
    "x-api-key": "an-api-key",
}
