"""One call, end to end: starts the daemon, streams a file to it, shows what it recorded. ``make demo`` runs it."""

import argparse
import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import soundfile
from functional.daemon import Daemon, DaemonDied

BIN = Path(sys.executable).parent
PATH = "/api/v1/audiohook/ws"


def main() -> int:
    arguments = parse()
    settings = tomllib.loads(arguments.config.read_text())
    spool = (arguments.config.parent / settings["spool"]["directory"]).resolve()
    endpoint = settings.get("listen", {}).get("endpoint", "tcp:3000:interface=127.0.0.1")
    port = int(endpoint.split(":")[1])
    if is_taken(port):
        print(f"demo: port {port} is taken: is a daemon running already? Stop it, and try again.", file=sys.stderr)
        return 1
    before = set(spool.glob("ready/*/*.json"))
    try:
        with Daemon(BIN, arguments.config) as daemon:
            print(f"daemon:    ready on {endpoint} (process {daemon.process.pid})")
            print(f"call:      {arguments.wav} at speed {arguments.speed}", flush=True)
            status = call(port, arguments)
        print("daemon:    stopped")
    except DaemonDied as fault:
        print(f"demo: the daemon did not start: {fault}", file=sys.stderr)
        return 1
    if status:
        return status
    new = sorted(set(spool.glob("ready/*/*.json")) - before)
    if len(new) != 1:
        print(f"demo: {len(new)} new recordings in {spool}/ready, and there should be one", file=sys.stderr)
        return 1
    return show(new[0], arguments.wav)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=lambda text: Path(text).absolute(), required=True)
    parser.add_argument("--wav", type=Path, required=True)
    parser.add_argument("--speed", default="max")
    return parser.parse_args()


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def call(port: int, arguments: argparse.Namespace) -> int:
    keys: dict[str, str] = json.loads((arguments.config.parent / "keys.sample.json").read_text())
    (api_key, secret), *_ = keys.items()
    command = [BIN / "audiohookctl", "call", f"ws://127.0.0.1:{port}{PATH}", "--api-key", api_key]
    command += ["--wav", str(arguments.wav), "--speed", arguments.speed, "--custom-config", '{"agentassist": true}']
    return subprocess.run(command, env=os.environ | {"AUDIOHOOK_CLIENT_SECRET": secret}, check=False).returncode


def show(sidecar: Path, sent: Path) -> int:
    """Prints what was recorded; 1 when it is not what was sent."""
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
