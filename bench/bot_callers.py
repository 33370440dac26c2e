"""``python -m bench.bot_callers``: calls to an echo bot, and the time from speech to its echo.

Each frame of a call has its own number in all octets, so that the last octet of an echo tells which frame completed
it. The echo can be sent as soon as that frame is there: what passes from then on is added by the server.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from audiohookd.cli.target import target
from audiohookd.cli.upgrade import Identity, check_upgrade, read_response, request
from audiohookd.cli.websocket import BINARY, TEXT, ServerFrames, frame
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.events import Heard
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import Open, Participant
from audiohookd.runtime.process import raise_nofile
from bench.generator.__main__ import read_key

#: Samples of a frame of 200 ms.
SAMPLES = 1_600
PERIOD = 0.2
#: Frames with a number each; 255 is silence.
NUMBERS = 250
MASK = b"\x1d\x5a\x03\xc4"
FRAMES = tuple(frame(BINARY, bytes([number]) * SAMPLES, MASK) for number in range(NUMBERS))


class Call(asyncio.Protocol):
    """One call. ``delays`` gets the seconds of each echo."""

    def __init__(self, url: str, key: tuple[str, bytes], delays: list[float]) -> None:
        identity = Identity()
        self._asked = request(target(url), *key, identity, int(time.time()))
        opening = Open(
            identity.organization,
            str(uuid.uuid4()),
            Participant(str(uuid.uuid4())),
            offers(1),
        )
        self._session = ClientSession(identity.session, opening, time.monotonic, plays_audio=True)
        self._delays = delays
        self._head = b""
        self._frames: ServerFrames | None = None
        self._sent: list[float] = [0.0] * NUMBERS
        self._number = 0
        self.faults: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._asked.head)

    def data_received(self, data: bytes) -> None:
        if self._frames is None:
            self._head += data
            response = read_response(self._head)
            if response is None:
                return
            check_upgrade(response, self._asked.key)
            self._frames, data = ServerFrames(), response.rest
            self._session.start()
        now = time.monotonic()
        for opcode, payload in self._frames.feed(data):
            if opcode == BINARY:
                self._session.receive_audio(payload)
            elif opcode == TEXT:
                self._session.receive_text(payload)
        self._settle(now)

    def speak(self) -> None:
        """Sends the next frame."""
        self._session.tick()
        if self._session.advance(SAMPLES):
            number = self._number % NUMBERS
            self._number += 1
            self._sent[number] = time.monotonic()
            self._transport.write(FRAMES[number])
        self._settle(time.monotonic())

    def close(self) -> None:
        """Ends the call."""
        self._session.close()
        self._settle(time.monotonic())

    def _settle(self, now: float) -> None:
        while (event := self._session.next_event()) is not None:
            if isinstance(event, Heard) and event.data[-1] < NUMBERS:
                self._delays.append(now - self._sent[event.data[-1]])
            elif hasattr(event, "detail"):
                self.faults.append(event.detail)
        for message in self._session.take_outgoing():
            self._transport.write(frame(TEXT, message, MASK))
        if self._session.finished:
            self._transport.close()


async def run(url: str, key: tuple[str, bytes], calls: int, seconds: float) -> dict[str, Any]:
    """Makes the calls, spread over a period, and measures them after two seconds."""
    loop = asyncio.get_running_loop()
    chance = random.Random(calls)  # noqa: S311 - phases
    parts = target(url)
    delays: list[float] = []
    made = [Call(url, key, delays) for _ in range(calls)]
    for call in made:
        await loop.create_connection(lambda call=call: call, parts.host, parts.port)  # type: ignore[misc]
    begun = loop.time() + 1.0
    tasks = [_speak(call, begun + chance.random() * PERIOD, begun + 2.0 + seconds) for call in made]
    loop.call_at(begun + 2.0, delays.clear)
    print("begun", flush=True)
    await asyncio.gather(*tasks)
    measured = sorted(delays)
    for call in made:
        call.close()
    await asyncio.sleep(1.0)
    faults = [fault for call in made for fault in call.faults]
    return {
        "echoes": len(measured),
        "p50": 1000 * measured[len(measured) // 2],
        "p99": 1000 * measured[len(measured) * 99 // 100],
        "max": 1000 * measured[-1],
        "faults": faults[:5],
    }


async def _speak(call: Call, at: float, until: float) -> None:
    loop = asyncio.get_running_loop()
    while at < until:
        await asyncio.sleep(max(0.0, at - loop.time()))
        call.speak()
        at += PERIOD


def main() -> int:
    """Prints the delays in milliseconds as JSON. Returns 0 if no call failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.bot_callers", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    raise_nofile(arguments.calls + 64)
    result = asyncio.run(run(arguments.url, read_key(arguments.keys), arguments.calls, arguments.seconds))
    print(json.dumps(result), flush=True)
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
