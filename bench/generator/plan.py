"""What is to be done, as the command line says it."""

import argparse
from pathlib import Path
from typing import NamedTuple


class Plan(NamedTuple):
    """Times in seconds. ``python -m bench.generator`` takes each as an option of the same name."""

    port: int
    keys: Path
    voice: Path
    host: str = "127.0.0.1"
    sessions: int = 500
    #: Milliseconds of audio in a frame.
    frame: int = 200
    #: In which all calls arrive, evenly; and in which they end again.
    arrival: float = 5.0
    #: From the last ``opened`` to the steady part.
    settle: float = 1.0
    #: From then on until the first call ends: what is measured.
    steady: float = 10.0
    #: From one ``ping`` of a call to the next, as the call's own time goes.
    ping: float = 5.0
    #: How much faster than real time the calls go on.
    speed: float = 1.0
    #: From one ``ping`` to the next of one further call without audio, which is there from the start; 0: none.
    probe: float = 0.0
    #: What is due is done so often, and answers are read: who sleeps after each frame wakes the server for each, and
    #: pays for it. Every latency has up to so much in it that is the generator's.
    tick: float = 0.003
    #: Of the phases.
    seed: int = 1
    #: Say of each call what it sent.
    ledger: bool = False

    @property
    def period(self) -> float:
        """From one frame of a call to the next."""
        return self.frame / 1000 / self.speed

    def arguments(self) -> list[str]:
        """The command line that makes this plan."""
        given = {name: value for name, value in self._asdict().items() if value is not False}
        return [part for name, value in given.items() for part in _option(name, value)]


def parse(arguments: list[str]) -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.generator",
        description="Makes calls as Genesys Cloud does, all at their pace on one absolute clock. Writes a JSON object"
        " a line: a mark when the steady part begins, one when it ends, and the result.",
    )
    for name, kind in Plan.__annotations__.items():
        default = Plan._field_defaults.get(name)
        if kind is bool:
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=kind, default=default, required=default is None)
    return Plan(**vars(parser.parse_args(arguments)))


def _option(name: str, value: object) -> list[str]:
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]
