"""``python -m tests.fuzz.fuzzer TARGET CORPUS SECONDS``: searches for bytes on which a target raises, by coverage.

Inputs with new coverage stay in the directory CORPUS, and the next run continues from them. Bytes on which the target
raised, took 10 s, or needed 2 GiB are written beside the corpus, and the exit status is not 0.
"""

import hashlib
import sys
from pathlib import Path

import atheris
from autobahn.websocket.protocol import WebSocketServerProtocol as Autobahn
from autobahn.websocket.protocol import parseHttpHeader

#: Instrumented modules: the daemon, and the libraries that parse input of clients. Of Autobahn only single functions:
#: instrumenting all of it takes 10 s.
WATCHED = [
    "audiohookd.auth",
    "audiohookd.protocol",
    "audiohookd.edge",
    "audiohookd.session",
    "audiohookd.websocket",
    "http_sf",
]
WATCHED_FUNCTIONS = [parseHttpHeader, Autobahn.processHandshake, Autobahn.processData, Autobahn.onFrameEnd]
MAX_LENGTH = 20_000


def main() -> None:
    """Runs for the given time, or until a target raises."""
    name, corpus, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    with atheris.instrument_imports(include=WATCHED):
        from tests.fuzz.fuzz_targets import TARGETS  # noqa: PLC0415 - instrumented as it is imported
    for function in WATCHED_FUNCTIONS:
        atheris.instrument_func(function)
    target = TARGETS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    words = corpus.with_suffix(".words")
    words.write_text("".join(f'"{escaped(word)}"\n' for word in target.words))
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", "-timeout=10", "-rss_limit_mb=2048"]
    options += [f"-dict={words}", f"-artifact_prefix={corpus.parent}/{name}-", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.check)
    atheris.Fuzz()


def escaped(word: bytes) -> str:
    """Escapes a word for a dictionary of libFuzzer."""
    return "".join(f"\\x{octet:02x}" for octet in word)


if __name__ == "__main__":
    main()
