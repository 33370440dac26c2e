"""The options of ``audiohookctl call``, and their validation."""

import argparse
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from audiohookd.cli import credentials
from audiohookd.cli.target import Target, describe_connection, invalid, target, target_of
from audiohookd.cli.usage_error import UsageError
from audiohookd.protocol.client.session import RATE
from audiohookd.protocol.duration import duration_to_samples
from audiohookd.text_encoding import decode_text

#: Maximum bytes of customConfig that Genesys Cloud accepts from an administrator.
_MAX_CUSTOM_CONFIG = 60_000
_MAX_SESSIONS = 10_000
_MAX_SPEED = 1000.0

_LANGUAGE = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


class KeyPress(NamedTuple):
    """A key that the caller presses, in seconds after ``opened``."""

    seconds: float
    key: str


@dataclass(frozen=True)
class Options:
    """The validated options of the command."""

    target: Target
    api_key: str = field(repr=False)
    secret: bytes = field(repr=False)  # empty: do not sign requests
    wav: Path | None  # None: the tone
    probe: bool
    sessions: int
    rate: float  # sessions started per second, on average
    speed: float | None  # factor of real time; None: as fast as the protocol allows
    max_duration: int | None  # samples per channel in each session
    custom_config: bytes | None
    language: str | None
    supported_languages: bool
    organization: str | None
    quiet: bool
    connector: bool = False  # be an Audio Connector
    input_variables: bytes | None = None
    dtmf: tuple[KeyPress, ...] = ()
    save: Path | None = None
    ca: Path | None = None  # authorities to trust in addition to the system's


def describe(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    add = parser.add_argument
    add("url", metavar="URL", type=target, help="ws:// or wss://")
    secret = credentials.describe(parser)
    secret.add_argument(
        "--client-secret",
        metavar="BASE64",
        help="the client secret itself; only for public samples, because all users of this machine can see it in ps",
    )
    describe_connection(parser)
    audio = parser.add_mutually_exclusive_group()
    audio.add_argument("--wav", type=Path, metavar="FILE", help="send this WAV file, of one or two channels")
    audio.add_argument("--tone", action="store_true", help="send a stereo tone (the default)")
    audio.add_argument("--probe", action="store_true", help="make a connection probe: no call, no audio")
    add("--sessions", type=_sessions, default=1, metavar="N", help="number of calls (default: 1)")
    add("--rate", type=_rate, default=50.0, metavar="R", help="calls started per second, on average (default: 50)")
    add("--max-duration", type=_duration, metavar="TIME", help="maximum audio per call: seconds, or PT90S")
    add("--speed", type=_speed, default=1.0, help="factor of real time, such as 10, or max (default: 1)")
    add("--custom-config", type=_custom_config, metavar="JSON", help="customConfig in open: a JSON object")
    add("--language", type=_language, metavar="CODE", help="language in open, such as en-US")
    add("--supported-languages", action="store_true", help="ask the server for its supported languages")
    bot = parser.add_argument_group("with --connector")
    bot.add_argument("--save", type=Path, metavar="FILE", help="write what the server says to this WAV file")
    bot.add_argument(
        "--dtmf",
        type=_dtmf,
        default=(),
        metavar="KEYS",
        help="keys to press: 3:1,5:# for 1 after 3 s, # after 5 s",
    )
    bot.add_argument(
        "--input-variables",
        type=_input_variables,
        metavar="JSON",
        help="inputVariables in open: a JSON object",
    )
    add("--quiet", "-q", action="store_true", help="do not print the server's events")


def read(arguments: argparse.Namespace, now: float, environment: Mapping[str, str] = os.environ) -> Options:
    """Validates the arguments.

    :param now: UNIX seconds; selects the secret of the key file that is valid now.
    :raises UsageError: the arguments conflict, or the secret cannot be read.
    """
    if arguments.speed is None and arguments.max_duration is None and not (arguments.wav or arguments.probe):
        raise UsageError("call: --speed max would send the tone forever: give --max-duration")
    bot = arguments.save or arguments.dtmf or arguments.input_variables is not None
    if bot and not arguments.connector:
        raise UsageError("call: --save, --dtmf and --input-variables need --connector")
    if arguments.save and arguments.sessions != 1:
        raise UsageError("call: --save needs --sessions 1")
    names = {field.name for field in fields(Options)}
    named = {name: value for name, value in vars(arguments).items() if name in names}
    return Options(
        target=target_of(arguments), api_key=arguments.key, secret=_secret(arguments, now, environment), **named
    )


def _secret(arguments: argparse.Namespace, now: float, environment: Mapping[str, str]) -> bytes:
    if arguments.client_secret:
        return credentials.decoded(credentials.secret_in(arguments.client_secret))
    return credentials.secret_of(arguments, arguments.key, now, environment)


def _sessions(text: str) -> int:
    return int(_number(text, 1, _MAX_SESSIONS, int))


def _rate(text: str) -> float:
    return _number(text, 0.001, 10_000, float)


def _speed(text: str) -> float | None:
    return None if text == "max" else _number(text, 0.01, _MAX_SPEED, float)


def _number(text: str, least: float, most: float, kind: Any) -> float:
    try:
        value: float = kind(text)
    except ValueError:
        raise invalid(f"not a number: {text!r}") from None
    if not least <= value <= most:
        raise invalid(f"must be from {least:g} to {most:g}")
    return value


def _duration(text: str) -> int:
    try:
        samples = duration_to_samples(text if text.startswith("PT") else f"PT{text}S", RATE)
    except ValueError:
        raise invalid(f"not seconds (such as 90 or 2.5) or PT90S: {text!r}") from None
    if not 0 < samples <= 7 * 24 * 3600 * RATE:
        raise invalid("must be more than 0 and at most a week")
    return samples


def _custom_config(text: str) -> bytes:
    try:
        value = json.loads(decode_text(text))
        encoded = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise invalid("not JSON") from None
    if not isinstance(value, dict) or len(encoded) > _MAX_CUSTOM_CONFIG:
        raise invalid(f"must be a JSON object of at most {_MAX_CUSTOM_CONFIG} bytes")
    return encoded


def _input_variables(text: str) -> bytes:
    encoded = _custom_config(text)
    if not all(isinstance(value, str) for value in json.loads(encoded).values()):
        raise invalid("the values must be texts")
    return encoded


def _dtmf(text: str) -> tuple[KeyPress, ...]:
    presses = []
    for part in text.split(","):
        seconds, colon, key = part.partition(":")
        if not colon or not re.fullmatch(r"[0-9*#A-D]", key):
            raise invalid(f"not SECONDS:KEY, with a key of 0-9*#A-D: {part!r}")
        presses.append(KeyPress(_number(seconds, 0, 86_400, float), key))
    return tuple(sorted(presses))


def _language(text: str) -> str:
    if not _LANGUAGE.fullmatch(text) or len(text) > 64:
        raise invalid("not a language code such as en-US")
    return text
