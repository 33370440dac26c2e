"""Demonstrates one call: starts the daemon, streams a file to it, and shows the recording. ``make demo`` runs it.

With ``--s3`` it also starts SeaweedFS, and the daemon uploads the recording to a bucket. The demo then downloads the
recording to ``fetched`` beside the spool, and shows that copy.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from audiohookd.config.schema import Listen
from tests.functional.daemon import Daemon, DaemonDied
from tests.stores.seaweedfs import SeaweedFS

BIN = Path(sys.executable).parent
PATH = "/api/v1/audiohook/ws"
BUCKET = "recordings"
#: Seconds to wait for the upload.
PATIENCE = 30.0


def main() -> int:
    arguments = parse()
    settings = tomllib.loads(arguments.config.read_text())
    return to_bucket(arguments, settings) if arguments.s3 else to_spool(arguments, settings)


def to_spool(arguments: argparse.Namespace, settings: dict[str, Any]) -> int:
    spool = (arguments.config.parent / settings["spool"]["directory"]).resolve()
    before = set(spool.glob("ready/*/*.json"))
    status = record(arguments, settings, arguments.config)
    if status:
        return status
    new = sorted(set(spool.glob("ready/*/*.json")) - before)
    if len(new) != 1:
        print(f"demo: {len(new)} new recordings in {spool}/ready, and there should be one", file=sys.stderr)
        return 1
    return show(new[0], arguments.wav)


def to_bucket(arguments: argparse.Namespace, settings: dict[str, Any]) -> int:
    with tempfile.TemporaryDirectory(prefix="audiohookd-demo-") as name:
        directory = Path(name)
        with SeaweedFS(directory / "store") as store:
            store.create_bucket(BUCKET)
            print(f"store:     SeaweedFS on {store.endpoint} (process {store.pid})")
            os.environ |= store.credentials()
            config = write_config(directory, arguments.config, settings, store)
            status = record(arguments, settings, config, lambda: wait_for_objects(store, 2))
            spool = (arguments.config.parent / settings["spool"]["directory"]).resolve()
            return status or show(fetch(store, spool.with_name("fetched")), arguments.wav)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=lambda text: Path(text).absolute(), required=True)
    parser.add_argument("--wav", type=Path, required=True)
    parser.add_argument("--speed", default="max")
    parser.add_argument("--s3", action="store_true")
    return parser.parse_args()


def write_config(directory: Path, config: Path, settings: dict[str, Any], store: SeaweedFS) -> Path:
    """Writes a copy of the configuration with another spool and with the bucket."""
    tables: dict[str, Any] = {name: table for name, table in settings.items() if name != "plugins"}
    tables["auth"] = {"keys_file": str(config.parent / settings["auth"]["keys_file"])}
    tables["spool"] = settings["spool"] | {"directory": "spool"}
    tables |= {f"plugins.{name}": table for name, table in settings["plugins"].items()}
    tables["plugins.s3"] = {"bucket": BUCKET, "endpoint_url": store.endpoint, "path_style": True}
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    written = directory / "audiohookd.toml"
    written.write_text("\n".join(lines) + "\n")
    return written


def record(
    arguments: argparse.Namespace, settings: dict[str, Any], config: Path, wait: Callable[[], None] = lambda: None
) -> int:
    """Starts the daemon, makes the call, runs ``wait``, and stops the daemon."""
    endpoint = settings.get("listen", {}).get("endpoint", Listen().endpoint)
    port = int(endpoint.split(":")[1])
    if is_taken(port):
        print(f"demo: port {port} is taken: is a daemon running already? Stop it, and try again.", file=sys.stderr)
        return 1
    try:
        with Daemon(BIN, config) as daemon:
            print(f"daemon:    ready on {endpoint} (process {daemon.process.pid})")
            print(f"call:      {arguments.wav} at speed {arguments.speed}", flush=True)
            status = call(port, arguments)
            if status == 0:
                wait()
        print("daemon:    stopped")
    except DaemonDied as fault:
        print(f"demo: the daemon did not start: {fault}", file=sys.stderr)
        return 1
    return status


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def call(port: int, arguments: argparse.Namespace) -> int:
    keys: dict[str, str] = json.loads((arguments.config.parent / "keys.sample.json").read_text())
    (api_key, secret), *_ = keys.items()
    command = [str(BIN / "audiohookctl"), "call", f"ws://127.0.0.1:{port}{PATH}", "--api-key", api_key]
    command += ["--wav", str(arguments.wav), "--speed", arguments.speed, "--custom-config", '{"agentassist": true}']
    return subprocess.run(command, env=os.environ | {"AUDIOHOOK_CLIENT_SECRET": secret}, check=False).returncode


def wait_for_objects(store: SeaweedFS, count: int) -> None:
    """Waits until the bucket has ``count`` objects, or the time is over."""
    client = store.client()
    deadline = time.monotonic() + PATIENCE
    while client.list_objects_v2(Bucket=BUCKET)["KeyCount"] < count and time.monotonic() < deadline:
        time.sleep(0.05)


def fetch(store: SeaweedFS, directory: Path) -> Path:
    """Lists the objects, downloads them to a directory that is kept, and returns the sidecar."""
    directory.mkdir(parents=True, exist_ok=True)
    client = store.client()
    sidecar = directory
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        print(f"object:    s3://{BUCKET}/{entry['Key']}, {entry['Size']} bytes")
        path = directory / Path(entry["Key"]).name
        client.download_file(BUCKET, entry["Key"], str(path))
        sidecar = path if path.suffix == ".json" else sidecar
    return sidecar


def show(sidecar: Path, sent: Path) -> int:
    """Prints the recording. Returns 1 if it differs from the audio that was sent."""
    content: dict[str, Any] = json.loads(sidecar.read_text())
    recording = content["recording"]
    wav = sidecar.with_name(recording["audio"]["file"])
    heard, rate = soundfile.read(wav, dtype="int16")
    spoken, _ = soundfile.read(sent, dtype="int16")
    same = heard.shape == spoken.shape and bool((heard == spoken).all())
    media = recording["media"]
    kinds = [entry["data"]["message"]["type"] for entry in content["body"] if entry["type"] == "audiohook"]
    print(f"recording: {wav}")
    print(f"           {media['format']} {rate} Hz, {' + '.join(media['channels'])}, {len(heard) / rate:.2f} s,")
    print(f"           {recording['audio']['bytes']} bytes, sha256 {recording['audio']['sha256']}")
    print(f"           the same samples as were sent: {'yes' if same else 'NO'}")
    print(f"sidecar:   {sidecar}")
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"           {len(kinds)} messages ({counts}),")
    print(f"           {len(recording['gaps'])} gaps, ended with reason {recording['closeReason']!r}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
