"""The options of ``audiohookctl call``: parsed values, and the errors for invalid ones."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from audiohookd.cli.call import add_parser
from audiohookd.cli.call.options import Options, describe, read
from audiohookd.cli.main import main
from audiohookd.cli.target import Target
from audiohookd.cli.usage_error import UsageError

URL = "ws://host.example:8080/a%2Fb?c=%20d"


def options(*arguments: str, url: str = URL, environment: dict[str, str] | None = None) -> Options:
    parser = argparse.ArgumentParser()
    describe(parser)
    return read(parser.parse_args([url, "--key", "key", *arguments]), 0.0, environment or {})


def complaint(capsys: Any, *arguments: str) -> str:
    """The one-line error for these arguments."""
    assert main(["call", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("audiohookctl: ")
    return str(line)


def test_the_defaults_are_one_call_in_real_time() -> None:
    given = options()
    assert given.target == Target(False, "host.example", 8080, "/a%2Fb?c=%20d")
    assert (given.sessions, given.rate, given.speed, given.secret) == (1, 50.0, 1.0, b"")
    assert given.max_duration is given.wav is given.organization is given.custom_config is None


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://h", Target(False, "h", 80, "/")),
        ("wss://h/x", Target(True, "h", 443, "/x")),
        ("wss://[::1]:9/?q", Target(True, "::1", 9, "/?q")),
    ],
)
def test_urls_are_parsed(url: str, target: Target) -> None:
    assert options(url=url).target == target


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ((), ("host.example", 8080)),
        (("--connect", "127.0.0.1:3000"), ("127.0.0.1", 3000)),
        (("--connect", "[::1]:443"), ("::1", 443)),
        (("--connect", "other.example:1"), ("other.example", 1)),
    ],
)
def test_connect_replaces_the_address_of_the_url(given: tuple[str, ...], address: tuple[str, int]) -> None:
    target = options(*given).target
    assert target.address == address
    assert (target.host, target.port) == ("host.example", 8080)


@pytest.mark.parametrize("place", ["host", "host:", ":1", "host:0", "host:70000", "host:x", "host:²"])
@pytest.mark.parametrize("command", ["call", "doctor"])
def test_an_invalid_address_is_one_line(command: str, place: str, capsys: Any) -> None:
    assert main([command, "wss://host.example/x", "--key", "key", "--connect", place]) == 2
    captured = capsys.readouterr()
    assert "argument --connect: not HOST:PORT" in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(("text", "samples"), [("90", 720_000), ("2.5", 20_000), ("PT1.25S", 10_000)])
def test_durations_are_samples(text: str, samples: int) -> None:
    assert options("--max-duration", text).max_duration == samples


def test_maximum_speed_is_none() -> None:
    assert options("--speed", "max", "--max-duration", "5").speed is None
    assert options("--speed", "10").speed == 10


def test_custom_config_stays_as_it_means() -> None:
    config = options("--custom-config", '{"näme": [1, 2.5, null]}').custom_config
    assert config is not None
    assert json.loads(config) == {"näme": [1, 2.5, None]}


def test_secret_comes_from_the_environment_too() -> None:
    environment = {"AUDIOHOOK_CLIENT_SECRET": "c2VjcmV0"}
    assert options(environment=environment).secret == b"secret"
    assert options("--client-secret", "b3RoZXI=", environment=environment).secret == b"other"


def test_secret_comes_from_a_file_as_with_the_other_commands(tmp_path: Path) -> None:
    secret, keys = tmp_path / "secret", tmp_path / "keys.json"
    for file, content in ((secret, "b3RoZXI=\n"), (keys, '{"key": "dGhpcmQ=", "open": null}')):
        file.touch(0o600)
        file.write_text(content)
    environment = {"AUDIOHOOK_CLIENT_SECRET": "c2VjcmV0"}
    assert options("--secret-file", str(secret), environment=environment).secret == b"other"
    assert options("--keys", str(keys), environment=environment).secret == b"third"
    assert options("--key", "open", "--keys", str(keys)).secret == b""


def test_the_older_name_of_the_key_option_is_accepted() -> None:
    assert options("--api-key", "older").api_key == "older"


def test_two_secrets_are_a_mistake(capsys: Any) -> None:
    given = ("--client-secret", "b3RoZXI=", "--secret-file", "f")
    assert "not allowed with" in complaint(capsys, "ws://h/", "--key", "a", *given)


def test_secret_may_lack_its_padding() -> None:
    assert options("--client-secret", "b3RoZXI").secret == b"other"


def test_neither_key_nor_secret_is_in_the_representation() -> None:
    shown = repr(options("--client-secret", "c2VjcmV0"))
    assert "secret" not in shown.replace("secret=", "")
    assert "key" not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://h", "--api-key", "a"],
        ["ws://", "--api-key", "a"],
        ["ws://user@h/", "--api-key", "a"],
        ["ws://h/#part", "--api-key", "a"],
        ["ws://h:99999/", "--api-key", "a"],
        ["ws://h/a b", "--api-key", "a"],
        ["ws://h/ä", "--api-key", "a"],
        ["ws://[::1/", "--api-key", "a"],
        ["ws://h/", "--api-key", "a b"],
        ["ws://h/", "--api-key", "a\r\nX-Evil: 1"],
        ["ws://h/"],
        ["--api-key", "a"],
        *(
            ["ws://h/", "--api-key", "a", *more]
            for more in (
                ["--sessions", "0"],
                ["--sessions", "x"],
                ["--rate", "0"],
                ["--rate", "nan"],
                ["--speed", "-1"],
                ["--speed", "fast"],
                ["--max-duration", "0"],
                ["--max-duration", "1h"],
                ["--max-duration", "PT1M"],
                ["--custom-config", "[1]"],
                ["--custom-config", "{"],
                ["--custom-config", '{"a": NaN}'],
                ["--custom-config", '{"a": 1e999}'],
                ["--custom-config", json.dumps({"a": "x" * 60_000})],
                ["--language", "de DE"],
                ["--organization", "me"],
                ["--probe", "--wav", "x.wav"],
                ["--probe", "--tone"],
                ["--surprise"],
            )
        ),
    ],
)
def test_mistakes_are_one_line(capsys: Any, arguments: list[str]) -> None:
    complaint(capsys, *arguments)


def test_an_endless_tone_at_full_speed_is_a_mistake(capsys: Any) -> None:
    assert "--max-duration" in complaint(capsys, "ws://h/", "--api-key", "a", "--speed", "max")


def test_a_wrong_secret_is_not_shown(capsys: Any) -> None:
    assert "s3cr!t" not in complaint(capsys, "ws://h/", "--api-key", "a", "--client-secret", "s3cr!t")


def test_a_missing_file_is_a_mistake(capsys: Any) -> None:
    assert "No such file" in complaint(capsys, "ws://h/", "--api-key", "a", "--wav", "/nowhere/x.wav")


def test_no_command_is_a_mistake(capsys: Any) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "audiohookctl: the following arguments are required: COMMAND\n"


def test_version_is_printed(capsys: Any) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith("audiohookctl ")


def test_options_that_do_not_fit_raise() -> None:
    with pytest.raises(UsageError):
        options("--speed", "max")


def test_the_command_is_found_under_its_name() -> None:
    subparsers = argparse.ArgumentParser().add_subparsers()
    add_parser(subparsers)
    assert list(subparsers.choices) == ["call"]
