"""``audiohookctl``: the sub-commands, and what they have in common."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import audiohookd
from audiohookd.cli import call, doctor, explain, sign, spool, verify
from audiohookd.cli.mistake import Mistake
from audiohookd.escaping import printable
from audiohookd.text_encoding import escape_unencodable

#: Exit codes, besides those of the commands themselves.
MISTAKE = 2
INTERRUPTED = 130
NOBODY_READS = 141


class Command(Protocol):
    """A sub-command: a module with these two functions, listed in :data:`COMMANDS`."""

    def add_parser(self, subparsers: Any) -> argparse.ArgumentParser:
        """Describes the command's own arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Does it; returns the exit code.

        :raises Mistake: the user is to change something; one line for stderr, exit code 2.
        """


COMMANDS: tuple[Command, ...] = (call, doctor, explain, sign, spool, verify)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise Mistake(f"{self.prog.partition(' ')[2]}: {message}".removeprefix(": "))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code. ``--help`` and ``--version`` raise SystemExit."""
    escape_unencodable(sys.stdout, as_json=True)  # stderr does so by itself
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except Mistake as mistake:
        print(printable(f"audiohookctl: {mistake}"), file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `| head` has seen enough. What is left in the buffer would complain once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
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
