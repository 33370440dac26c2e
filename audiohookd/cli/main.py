"""The entry point of ``audiohookctl``: parses the arguments, runs one sub-command, returns the exit code."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import audiohookd
from audiohookd.cli import call, doctor, explain, join, sessions, sign, spool, verify
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable
from audiohookd.text_encoding import escape_unencodable

#: Exit codes that all commands share. Each command documents its own.
EXIT_USAGE = 2
EXIT_SIGINT = 130
EXIT_SIGPIPE = 141


class Command(Protocol):
    """A sub-command: a module with these two functions, listed in :data:`COMMANDS`."""

    def add_parser(self, subparsers: Any) -> argparse.ArgumentParser:
        """Adds the parser of the command and its arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Runs the command and returns the exit code.

        :raises UsageError: the user must change something. :func:`main` prints one line to stderr and returns 2.
        """


COMMANDS: tuple[Command, ...] = (call, doctor, explain, join, sessions, sign, spool, verify)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.partition(' ')[2]}: {message}".removeprefix(": "))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code. ``--help`` and ``--version`` raise SystemExit."""
    escape_unencodable(sys.stdout, as_json=True)  # stderr does so by itself
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except UsageError as mistake:
        print(printable(f"audiohookctl: {mistake}"), file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_SIGINT
    except BrokenPipeError:
        # The reader, such as `| head`, has closed the pipe. Flushing the buffer at exit would fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_SIGPIPE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="audiohookctl", description="Tools for audiohookd.")
    parser.add_argument("--version", action="version", version=f"audiohookctl {audiohookd.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in COMMANDS:
        command.add_parser(subparsers).set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
