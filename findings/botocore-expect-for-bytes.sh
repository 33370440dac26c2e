#!/bin/sh
# botocore 1.44.5 sends "Expect: 100-continue" with a PutObject whose Body is bytes, as if it were a file.
#
# Believed: only a file-like Body waits for "100 Continue" ("Any file like object will use an expect 100-continue
#   header", botocore/handlers.py); bytes go at once.
# Real: bytes are made a BytesIO before that test (convert_body_to_file_like_object), so they wait, too: a round trip,
#   and 1 s with a server that never sends 100. A bytearray is not converted, and goes at once.
# Seen:
#   bytes: expects 100-continue
#   bytearray: no Expect
# Needs python3 with venv, and PyPI. Exits non-zero when it is no longer so.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.5 botocore==1.44.5
"$place/venv/bin/python" - <<'PROGRAM' | tee "$place/seen"
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import boto3
from botocore.config import Config


class Handler(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        expect = self.headers.get("Expect")
        print(f"{self.path.rpartition('/')[2]}: " + (f"expects {expect}" if expect else "no Expect"), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    region_name="us-east-1",
    aws_access_key_id="a",
    aws_secret_access_key="b",
    config=Config(s3={"addressing_style": "path"}),
)
for body in (b"text", bytearray(b"text")):
    client.put_object(Bucket="bucket", Key=type(body).__name__, Body=body)
PROGRAM
printf 'bytes: expects 100-continue\nbytearray: no Expect\n' | diff - "$place/seen"
