"""Whole conversations, told line by line in ``conversations/*.txt``. Each line is one of:

``--> TYPE [field=value ...] [JSON]``  the client says this; the JSON replaces parameters it usually sends
``--> raw TEXT``                       the client sends this text
``<-- TYPE [field=value ...] [JSON]``  the server's next message; its parameters are exactly this JSON (default: {})
``audio BYTES [dropped]``              the client sends audio; it is taken, unless the line says otherwise
``oversize``                           the client sends a text message of 65,537 bytes, one more than is taken
``lost``                               the connection is gone
``wait SECONDS``                       time passes
``we VERB [JSON list] [= False]``      our own side calls accept, disconnect, ...; it returns True, unless told
``event NAME [field=value ...]``       the next thing the session reports
``state NAME``, ``position SAMPLES``, ``finished``, ``connected``    how things stand

A conversation is complete: whatever the server says or reports without a line for it fails the test.
"""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiohookd.protocol import events
from audiohookd.protocol.media import Media
from tests.protocol.wire_client import PARAMETERS, WireClient

CONVERSATIONS = sorted(Path(__file__).with_name("conversations").glob("*.txt"))


def split_line(text: str) -> tuple[list[str], Any]:
    """The words of a line, and the JSON at its end (None when there is none)."""
    at = min((text.find(sign) for sign in "{[" if sign in text), default=len(text))
    return shlex.split(text[:at]), json.loads(text[at:]) if text[at:] else None


def fields(words: list[str]) -> dict[str, str | int]:
    """Parses ``seq=9 reason=end`` to a dictionary; values in JSON are decoded."""
    found = dict(word.split("=", 1) for word in words)
    return {name: int(value) if value.isdigit() else value for name, value in found.items()}


class Stage:
    """Plays one conversation."""

    def __init__(self) -> None:
        self.client = WireClient()
        self.session = self.client.session
        self.messages: list[dict[str, Any]] = []
        self.reports: list[events.Event] = []
        self.offers: tuple[Media, ...] = ()

    def play(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        steps: dict[str, Callable[[str], object]] = {
            "-->": self.client_says,
            "<--": self.server_said,
            "audio": self.audio,
            "oversize": lambda rest: self.act(self.client.say_bytes, b"x" * 65_537),
            "lost": lambda rest: self.act(self.session.connection_lost),
            "wait": lambda rest: self.act(self.client.wait, float(rest)),
            "we": self.we,
            "event": self.reported,
            "state": lambda rest: self.agree(self.session.state.name, rest),
            "position": lambda rest: self.agree(self.session.position, int(rest)),
            "finished": lambda rest: self.agree(self.session.finished, True),
            "connected": lambda rest: self.agree(self.session.finished, False),
        }
        steps[verb](rest.strip())

    def act(self, verb: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Runs a step after all earlier events were taken."""
        self.nothing_left()
        result = verb(*arguments, **named)
        self.messages += self.client.said()
        self.reports += self.client.happened()
        self.offers = next((report.offers for report in self.reports if hasattr(report, "offers")), self.offers)
        return result

    def nothing_left(self) -> None:
        assert (self.messages, self.reports) == ([], [])

    def agree(self, actual: Any, expected: Any) -> None:
        assert actual == expected

    def client_says(self, rest: str) -> None:
        if rest.startswith("raw "):
            self.act(self.client.say_bytes, rest[4:].encode())
            return
        (name, *envelope), changes = split_line(rest)
        parameters = changes
        if name == "open" and isinstance(changes, dict):
            parameters = PARAMETERS["open"] | changes
        self.act(self.client.say, name, parameters, **fields(envelope))

    def server_said(self, rest: str) -> None:
        (name, *envelope), parameters = split_line(rest)
        message = self.messages.pop(0)
        assert (message["type"], message["parameters"]) == (name, parameters or {})
        for field, value in fields(envelope).items():
            assert (field, message[field]) == (field, value)

    def audio(self, rest: str) -> None:
        size, *dropped = rest.split()
        assert self.act(self.client.send_audio, int(size)) is not bool(dropped)
        assert dropped in ([], ["dropped"])

    def we(self, rest: str) -> None:
        call, _, result = rest.partition(" = ")
        (verb,), arguments = split_line(call)
        positional, named = arguments or [], {}
        if positional and isinstance(positional[-1], dict) and verb != "send_event":
            *positional, named = positional
        if verb == "accept":
            positional = [None if index is None else self.offers[index] for index in positional]
        if verb == "send_event":
            positional = [positional]
        expected = None if verb == "finish" else result != "False"
        assert self.act(getattr(self.session, verb), *positional, **named) is expected

    def reported(self, rest: str) -> None:
        (name, *known), _ = split_line(rest)
        report = self.reports.pop(0)
        assert type(report) is getattr(events, name)
        for field, value in fields(known).items():
            assert (field, str(getattr(report, field))) == (field, str(value))


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_a_conversation_runs_as_written(path: Path) -> None:
    stage = Stage()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                stage.play(line)
            except Exception as fault:
                fault.add_note(f"{path.name}:{number}: {line}\nleft: {stage.messages} {stage.reports}")
                raise
    stage.nothing_left()
    stage.client.assert_all_reported()


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_a_conversation_expects_something(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert any(line.startswith(("<--", "event")) for line in lines)
    assert lines[0].startswith("# ")


def test_there_are_conversations() -> None:
    assert len(CONVERSATIONS) >= 40
