"""The two sides of :mod:`bench.upload`, each as a process. Prints its duration and its processor time, in seconds."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from twisted.internet import reactor
from twisted.internet.task import LoopingCall

from audiohookd.application.build import build
from audiohookd.config.load import check
from audiohookd.runtime.process import use_monotonic_clock

#: Seconds between two checks whether the daemon has uploaded all recordings.
POLL_INTERVAL = 0.01


def daemon(place: Path, endpoint: str, bucket: str, concurrency: int) -> float:
    """Uploads with the whole daemon, without twistd itself."""
    (place / "keys.json").touch(0o600)
    (place / "keys.json").write_text('{"key": "c2VjcmV0"}')
    tables = {
        "listen": {"endpoint": "tcp:0:interface=127.0.0.1"},
        "admin": {"endpoint": ""},
        "auth": {"keys_file": "keys.json"},
        "spool": {"directory": "spool", "min_free": "0 B"},
        "plugins": {
            "s3": {"bucket": bucket, "endpoint_url": endpoint, "path_style": True, "concurrency": concurrency}
        },
    }
    path = place / "audiohookd.toml"
    use_monotonic_clock(reactor)
    root = build(check(tables, path), path, reactor, time.time, {})
    shelf = next((place / "spool/ready").iterdir())
    ended: list[float] = []

    def check_done() -> None:
        if not any(shelf.iterdir()):
            ended.append(time.perf_counter())
            polling.stop()
            reactor.stop()

    polling = LoopingCall(check_done)
    reactor.addSystemEventTrigger("before", "shutdown", root.stopService)
    begun = time.perf_counter()
    root.startService()
    polling.start(POLL_INTERVAL, now=False)
    reactor.run()
    return ended[0] - begun


def plain(place: Path, endpoint: str, bucket: str, concurrency: int) -> float:
    """Uploads with the loop that a developer would write in five minutes."""
    shelf = next((place / "spool/ready").iterdir())
    begun = time.perf_counter()
    options = Config(s3={"addressing_style": "path"}, max_pool_connections=concurrency)
    client = boto3.client("s3", endpoint_url=endpoint, config=options)

    def upload(audio: Path) -> None:
        for path in (audio, audio.with_suffix(".json")):
            client.upload_file(str(path), bucket, f"{shelf.name}/{path.name}")

    with ThreadPoolExecutor(concurrency) as threads:
        for _ in threads.map(upload, sorted(shelf.glob("*.wav"))):
            pass
    return time.perf_counter() - begun


if __name__ == "__main__":
    name, place, endpoint, bucket, concurrency = sys.argv[1:]
    side = {"daemon": daemon, "plain": plain}[name]
    imported = time.process_time()
    seconds = side(Path(place), endpoint, bucket, int(concurrency))
    print(seconds, time.process_time() - imported)
