"""``python -m bench.generator``: makes many calls to an AudioHook server at once, at minimal cost."""

import base64
import gc
import json
import sys
from pathlib import Path
from typing import Any

from audiohookd.cli.call.source import recording
from audiohookd.runtime.process import raise_nofile
from bench.generator.audio import Talk
from bench.generator.load_run import LoadRun
from bench.generator.plan import parse


def read_key(keys_file: Path) -> tuple[str, bytes]:
    """The first API key of a keys file, and its secret."""
    api_key, secret = next(iter(json.loads(keys_file.read_text()).items()))
    return api_key, base64.b64decode(secret)


def main() -> int:
    """Runs the plan of the command line.

    :returns: 0 if every call was opened, answered and closed correctly.
    """
    plan = parse(sys.argv[1:])
    raise_nofile(plan.sessions + 64)
    talk = Talk(recording(plan.voice).data, plan.frame)
    load_run = LoadRun(plan, talk, read_key(plan.keys), _print_json)
    # A garbage collection would make frames late. The few reference cycles here may stay.
    gc.freeze()
    gc.disable()
    result = load_run.run()
    _print_json(result)
    return 1 if result["failures"] else 0


def _print_json(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
