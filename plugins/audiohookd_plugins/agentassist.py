"""Sends agent assist events from a script, to show and test what a server can send back.

It is active only when the integration's custom configuration has ``"agentassist": true`` (or another true value), as
in Genesys' reference server. Genesys Cloud does not display these events.
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
#: Seconds of speech per character: 130 words a minute, of 7.5 characters each with their space.
SECONDS_PER_CHARACTER = 60 / (130 * 7.5)
#: Bytes of JSON that one suggestion may take, so that it fits into an event of 64,000 bytes.
SUGGESTION_LIMIT = 60_000


class Spoken(Struct, frozen=True, forbid_unknown_fields=True):
    """An utterance of one participant."""

    text: str
    channel: Literal["external", "internal"] = "external"
    confidence: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Question(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="faq"):
    """A suggestion with question and answer, and the customer's utterance that led to it."""

    question: str
    answer: str
    heard: Spoken | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.9


class Document(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="article"):
    """A suggested article."""

    title: str
    excerpts: tuple[str, ...]
    uri: str
    heard: Spoken | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] = 0.9


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """The greeting, and the suggestions that are sent one after the other, starting over after the last."""

    greeting: Spoken
    suggestions: Annotated[tuple[Question | Document, ...], Meta(min_length=1)]
    language: str = "en-US"
    first_after: Seconds = 2.5
    every: Seconds = 12.0


class AgentAssistConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.agentassist]``.

    :param script: a TOML file; the default is a small one that comes with the plugin.
    """

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
        """Requests both channels: agent assist is about two participants."""
        if _wanted(opening.session):
            opening.media = tuple(media for media in opening.media if len(media.channels) == 2)
            if not opening.media:
                opening.reject("agent assist needs two channels")

    def observe(self, session: ISession) -> "Prompter | None":
        """Observes the session if the integration's configuration asks for agent assist."""
        return Prompter(session, self._script, self._clock) if _wanted(session) else None


class Prompter(SessionObserver):
    """Sends the events of the script in one session."""

    def __init__(self, session: ISession, script: Script, clock: IReactorTime) -> None:
        self._session = session
        self._script = script
        self._clock = clock
        self._suggestions: Iterator[Question | Document] = itertools.cycle(script.suggestions)
        self._next: IDelayedCall | None = None

    def opened(self) -> None:
        """Schedules the greeting."""
        self._next = self._clock.callLater(self._script.first_after, self._greet)

    def closed(self, reason: str) -> None:
        """Cancels the next event."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _greet(self) -> None:
        self._send(AgentAssistData(str(uuid4()), utterances=(self._utterance(self._script.greeting),)))

    def _suggest(self) -> None:
        scripted = next(self._suggestions)
        heard = None if scripted.heard is None else (self._utterance(scripted.heard),)
        self._send(AgentAssistData(str(uuid4()), utterances=heard, suggestions=(self._suggestion(scripted),)))

    def _send(self, data: AgentAssistData) -> None:
        # An event that cannot be sent now is skipped; the next one follows on schedule until the session ends.
        self._session.send_event([AgentAssist(data)])
        self._next = self._clock.callLater(self._script.every, self._suggest)

    def _utterance(self, spoken: Spoken) -> Utterance:
        """An utterance that ends at the current position, and starts at the session's start if it would start before
        that.
        """
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
    """Reads the script from the TOML file ``path``. Blocks: for start-up only.

    :raises ValueError: the file cannot be read or is no script; one line that names the file.
    """
    try:
        table = tomllib.loads(decode_text(path.read_bytes()))
        texts = {key: table[key] for key in ("first_after", "every") if isinstance(table.get(key), str)}
        script = msgspec.convert(table | {key: parse(text, "s") for key, text in texts.items()}, Script)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    for number, message in enumerate((script.greeting, *script.suggestions)):
        if len(msgspec.json.encode(message)) > SUGGESTION_LIMIT:
            where = f"suggestions[{number - 1}]" if number else "greeting"
            raise ValueError(f"{path}: {where}: larger than {SUGGESTION_LIMIT:,} bytes")
    return script


def _wanted(session: ISession) -> bool:
    return bool(session.custom_config.get("agentassist"))
