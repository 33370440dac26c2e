"""A bot that plays a menu and understands keys: a prompt, a key, variables for the Architect flow.

It shows how a bot is written: prompts, interruption, time-outs, and the farewell before it hangs up.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer, provider

from audiohookd.interfaces import IAdmission, IDaemon, IOpening, IPlugin, IPluginFactory, ISession
from audiohookd.observer import AudioSink
from audiohookd.protocol.entities import BotTurnResponse, BotTurnResponseData
from audiohookd.protocol.media import Format
from audiohookd.protocol.product import Product
from audiohookd.units import Duration

#: Bytes of a prompt: a minute. The daemon keeps two minutes of a session.
MAX_PROMPT = 480_000
_CONVERT = "ffmpeg -i IN -ar 8000 -ac 1 -c:a pcm_mulaw OUT.wav makes one"
_MULAW = 7


class Choice(Struct, frozen=True, forbid_unknown_fields=True):
    """What a key means.

    :param output: output variables for the flow.
    :param prompt: played before the bot hangs up.
    """

    output: dict[str, str]
    prompt: Path | None = None


class MenuBotConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.menubot]``."""

    #: The WAV file with the menu: 8000 Hz, one channel, µ-law.
    menu: Path | None = None
    #: By key: "0" to "9", "*", "#".
    choices: dict[str, Choice] = {}
    #: Played after a key that has no choice, before the menu is repeated.
    invalid: Path | None = None
    #: How long the bot waits for a key after the menu.
    timeout: Annotated[Duration, Meta(gt=0, le=60)] = 5.0
    #: How often the menu is played at most.
    attempts: Annotated[int, Meta(ge=1, le=10)] = 3


class Prompts(Struct, frozen=True):
    """The audio of all prompts, read at the start."""

    menu: bytes
    invalid: bytes
    farewells: Mapping[str, bytes]


@provider(IPluginFactory)
@implementer(IPlugin, IAdmission)
class MenuBotPlugin:
    """Serves routes with ``product = "audio-connector"``; other sessions are left alone."""

    config_type = MenuBotConfig

    def __init__(self, config: MenuBotConfig, daemon: IDaemon) -> None:
        if config.menu is None:
            raise ValueError("menu: needs the path of a WAV file")
        if not config.choices or not all(len(key) == 1 and key in "0123456789*#" for key in config.choices):
            raise ValueError("choices: needs tables of keys such as [plugins.menubot.choices.1]")
        self._config = config
        self._reactor: IReactorTime = daemon.reactor
        farewells = {key: _read(choice.prompt) for key, choice in config.choices.items()}
        self._prompts = Prompts(read_prompt(config.menu), _read(config.invalid), farewells)

    def admit(self, opening: IOpening) -> None:
        """See :class:`IAdmission`. The prompts are in PCMU."""
        if opening.session.product is not Product.AUDIO:
            return
        opening.media = tuple(media for media in opening.media if media.format is Format.PCMU)
        if not opening.media:
            opening.reject("the menu needs PCMU")

    def observe(self, session: ISession) -> "MenuBot | None":
        """See :class:`IPlugin`."""
        if session.product is not Product.AUDIO:
            return None
        return MenuBot(session, self._config, self._prompts, self._reactor)


class MenuBot(AudioSink):
    """One caller's way through the menu.

    The output variable ``result`` is ``match``, ``no_match`` or ``no_input``; a match adds those of the choice.
    """

    def __init__(self, session: ISession, config: MenuBotConfig, prompts: Prompts, reactor: IReactorTime) -> None:
        self._session = session
        self._config = config
        self._prompts = prompts
        self._reactor = reactor
        self._attempts = 0
        self._is_over = False
        self._timer: IDelayedCall | None = None

    def opened(self) -> Any:
        """Plays the menu."""
        self._ask(b"")

    def dtmf(self, digit: str) -> Any:
        """A key interrupts the menu, but not the farewell."""
        if self._is_over:
            return
        self._stop_timer()
        self._session.barge_in()
        choice = self._config.choices.get(digit)
        if choice is None:
            self._failed("no_match", self._prompts.invalid)
            return
        self._turn("match", digit)
        self._play(self._prompts.farewells[digit])
        self._hang_up({"result": "match", **choice.output})

    def closed(self, reason: str) -> Any:
        """See :class:`ISessionObserver`."""
        self._stop_timer()

    def _ask(self, before: bytes) -> None:
        self._attempts += 1
        self._play(before + self._prompts.menu)
        played = (len(before) + len(self._prompts.menu)) / 8_000
        self._timer = self._reactor.callLater(played + self._config.timeout, self._failed, "no_input", b"")

    def _failed(self, result: Any, apology: bytes) -> None:
        self._timer = None
        self._turn(result)
        if self._attempts < self._config.attempts:
            self._ask(apology)
        else:
            self._play(apology)
            self._hang_up({"result": result})

    def _turn(self, disposition: Any, text: str | None = None) -> None:
        self._session.send_event([BotTurnResponse(BotTurnResponseData(disposition, text))])

    def _play(self, prompt: bytes) -> None:
        if prompt:
            self._session.send_audio(prompt, is_last=True)

    def _hang_up(self, variables: dict[str, str]) -> None:
        self._is_over = True
        self._session.disconnect("completed", None, variables, after_playback=True)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _read(path: Path | None) -> bytes:
    return b"" if path is None else read_prompt(path)


def read_prompt(path: Path) -> bytes:
    """Reads the audio of a WAV file in µ-law, 8000 Hz, one channel. Blocks: for the start.

    :raises ValueError: it is another file, or longer than a minute.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{str(path)!r}: {error.strerror}") from None
    chunks: dict[bytes, bytes] = {}
    at = 12
    while data[:4] == b"RIFF" and at + 8 <= len(data):
        name, size = struct.unpack_from("<4sL", data, at)
        chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    tag, channels, rate = struct.unpack_from("<HHL", chunks.get(b"fmt ", b"").ljust(8, b"\0"))
    audio = chunks.get(b"data", b"")
    if (tag, channels, rate) != (_MULAW, 1, 8_000) or not audio:
        raise ValueError(f"{str(path)!r}: not a WAV file in mu-law with 8000 Hz and one channel ({_CONVERT})")
    if len(audio) > MAX_PROMPT:
        raise ValueError(f"{str(path)!r}: longer than {MAX_PROMPT // 8_000} s")
    return audio
