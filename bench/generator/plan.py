"""The plan of a run, as given on the command line."""

import argparse
from pathlib import Path
from typing import NamedTuple


class Plan(NamedTuple):
    """The parameters of a run. Times are in seconds. ``python -m bench.generator`` has an option for each."""

    port: int
    keys: Path
    voice: Path
    host: str = "127.0.0.1"
    sessions: int = 500
    #: Milliseconds of audio in a frame.
    frame: int = 200
    #: The time in which all calls arrive, evenly spaced, and in which they end again.
    arrival: float = 5.0
    #: The time from the last ``opened`` to the steady part.
    settle: float = 1.0
    #: The length of the steady part, which is measured. After it the first call ends.
    steady: float = 10.0
    #: The time from one ``ping`` of a call to the next, in the call's own time.
    ping: float = 5.0
    #: The speed of the calls, relative to real time.
    speed: float = 1.0
    #: The time from one ``ping`` to the next of a further call without audio, present from the start; 0 for none.
    probe: float = 0.0
    #: The time between two checks for due work and responses. A generator that sleeps after each frame wakes the
    #: server for each frame, and uses more processor time. Every latency includes up to one tick of the generator.
    tick: float = 0.003
    #: The seed of the random phases.
    seed: int = 1
    #: Report which frames each call sent.
    ledger: bool = False

    @property
    def period(self) -> float:
        """Seconds from one frame of a call to the next."""
        return self.frame / 1000 / self.speed

    def arguments(self) -> list[str]:
        """The command line for this plan."""
        given = {name: value for name, value in self._asdict().items() if value is not False}
        return [part for name, value in given.items() for part in _option(name, value)]


def parse(arguments: list[str]) -> Plan:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.generator",
        description="Makes calls as Genesys Cloud does, each at its own pace on one absolute clock. Writes one JSON"
        " object per line: a mark when the steady part begins, a mark when it ends, and the result.",
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
