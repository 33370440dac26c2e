"""``python -m bench.generator``: calls an AudioHook server many times at once, at as little cost as can be."""

import gc
import json
import sys
from typing import Any

from audiohookd.cli.call.source import recording
from audiohookd.runtime.file_limit import raise_nofile
from bench.generator.audio import Talk
from bench.generator.load_run import LoadRun
from bench.generator.plan import parse
from bench.generator.upgrade import read_key


def main() -> int:
    """0 when every call was opened, answered and closed as it should be."""
    plan = parse(sys.argv[1:])
    raise_nofile(plan.sessions + 64)
    talk = Talk(recording(plan.voice).data, plan.frame)
    campaign = LoadRun(plan, talk, read_key(plan.keys), _tell)
    # A collection would be a frame that is late; what little goes in circles here may stay.
    gc.freeze()
    gc.disable()
    result = campaign.run()
    _tell(result)
    return 1 if result["failures"] else 0


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
