"""Sends help for the agent from a script: what a server can send back, to see and to test with.

It speaks only when the administrator's configuration of the integration says ``"agentassist": true`` (or anything
else that counts as true), as Genesys' reference server does. Genesys Cloud itself shows nothing of it.
"""

import itertools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta, Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer, provider

from audiohookd.interfaces import IAdmission, IDaemon, IOpening, IPlugin, IPluginFactory, ISession
from audiohookd.observer import SessionObserver
from audiohookd.protocol.duration import samples_to_duration
from audiohookd.protocol.entities import AgentAssist, AgentAssistData, Article, Faq, Utterance
from audiohookd.text_encoding import decode_text
from audiohookd.units import parse

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
#: Seconds that speech takes per character: 130 words a minute, of 7.5 characters with their space.
SECONDS_PER_CHARACTER = 60 / (130 * 7.5)
#: Bytes of JSON that one suggestion may take: an event of 64,000 bytes holds it with room to spare.
SUGGESTION_LIMIT = 60_000


class Spoken(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody said something."""

    text: str
    channel: Literal["external", "internal"] = "external"
    confidence: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Question(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="faq"):
    """A suggestion with question and answer, and what the customer said that led to it."""

    question: str
    answer: str
    heard: Spoken | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.9


class Document(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="article"):
    """A suggestion of something to read."""

    title: str
    excerpts: tuple[str, ...]
    uri: str
    heard: Spoken | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.9


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """What to send when: the greeting, then the suggestions one after the other, and again from the first."""

    greeting: Spoken
    suggestions: Annotated[tuple[Question | Document, ...], Meta(min_length=1)]
    language: str = "en-US"
    first_after: Seconds = 2.5
    every: Seconds = 12.0


class AgentAssistConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``script``: a TOML file; the default is a small one that comes with the plugin."""

    script: Path = Path(__file__).with_name("agentassist.toml")


@provider(IPluginFactory)
@implementer(IPlugin, IAdmission)
class AgentAssistPlugin:
    """See the module."""

    config_type = AgentAssistConfig

    def __init__(self, config: AgentAssistConfig, daemon: IDaemon) -> None:
        self._script = read_script(config.script)
        self._clock: IReactorTime = daemon.reactor

    def admit(self, opening: IOpening) -> None:
        """Agent assist is about two people: it needs both channels."""
        if _wanted(opening.session):
            opening.media = tuple(media for media in opening.media if len(media.channels) == 2)
            if not opening.media:
                opening.refuse("agent assist needs two channels")

    def observe(self, session: ISession) -> "Prompter | None":
        """Only where the administrator asked for it."""
        return Prompter(session, self._script, self._clock) if _wanted(session) else None


class Prompter(SessionObserver):
    """Follows the script in one session."""

    def __init__(self, session: ISession, script: Script, clock: IReactorTime) -> None:
        self._session = session
        self._script = script
        self._clock = clock
        self._suggestions: Iterator[Question | Document] = itertools.cycle(script.suggestions)
        self._next: IDelayedCall | None = None

    def opened(self) -> None:
        """The greeting comes a little later."""
        self._next = self._clock.callLater(self._script.first_after, self._greet)

    def closed(self, reason: str) -> None:
        """No more."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _greet(self) -> None:
        self._send(AgentAssistData(str(uuid4()), utterances=(self._utterance(self._script.greeting),)))

    def _suggest(self) -> None:
        scripted = next(self._suggestions)
        heard = None if scripted.heard is None else (self._utterance(scripted.heard),)
        self._send(AgentAssistData(str(uuid4()), utterances=heard, suggestions=(self._suggestion(scripted),)))

    def _send(self, data: AgentAssistData) -> None:
        # What cannot be sent now is left out; the next one comes in its time, until the session is over.
        self._session.send_event([AgentAssist(data)])
        self._next = self._clock.callLater(self._script.every, self._suggest)

    def _utterance(self, spoken: Spoken) -> Utterance:
        """As if it had been said until now, or from the opening on where that is not long enough ago."""
        needed = int(len(spoken.text) * SECONDS_PER_CHARACTER * self._rate)
        start = max(self._session.start_position, self._session.position - needed)
        return Utterance(
            id=str(uuid4()),
            position=samples_to_duration(start, self._rate),
            duration=samples_to_duration(self._session.position - start, self._rate),
            text=spoken.text,
            language=self._script.language,
            confidence=spoken.confidence,
            channel=spoken.channel,
            is_final=True,
        )

    def _suggestion(self, scripted: Question | Document) -> Faq | Article:
        position = samples_to_duration(self._session.position, self._rate)
        if isinstance(scripted, Question):
            return Faq(str(uuid4()), scripted.confidence, scripted.question, scripted.answer, position)
        return Article(str(uuid4()), scripted.confidence, scripted.title, scripted.excerpts, scripted.uri, position)

    @property
    def _rate(self) -> int:
        return self._session.media.rate if self._session.media else 8000


def read_script(path: Path) -> Script:
    """The script in the TOML file ``path``. Blocks: for start-up only.

    :raises ValueError: it cannot be read, or is no script; one line that names the file.
    """
    try:
        table = tomllib.loads(decode_text(path.read_bytes()))
        texts = {key: table[key] for key in ("first_after", "every") if isinstance(table.get(key), str)}
        script = msgspec.convert(table | {key: parse(text, "s") for key, text in texts.items()}, Script)
    except OSError as fault:
        raise ValueError(f"{path}: cannot be read: {fault.strerror}") from fault
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"{path}: {fault}") from fault
    for number, one in enumerate((script.greeting, *script.suggestions)):
        if len(msgspec.json.encode(one)) > SUGGESTION_LIMIT:
            where = f"suggestions[{number - 1}]" if number else "greeting"
            raise ValueError(f"{path}: {where}: larger than {SUGGESTION_LIMIT:,} bytes")
    return script


def _wanted(session: ISession) -> bool:
    return bool(session.custom_config.get("agentassist"))
