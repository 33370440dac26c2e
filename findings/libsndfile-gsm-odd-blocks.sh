#!/bin/sh
# libsndfile 1.2.2, as the wheel of soundfile 0.14.0 has it: GSM 6.10 in WAV (Asterisk's wav49).
#
# Believed: a file of N blocks of 65 bytes holds 320 N samples. `fact`, ffprobe and soxi say the same.
# Real: with an odd N (so that the data chunk has an odd size), libsndfile says and decodes 320 samples more: 40 ms of
#   noise at the end, up to full scale. It does so with files that it wrote itself.
#
# Seen (samples written, in fact, read back, and the peak of those beyond the end):
#   24 blocks: wrote 7680, fact 7680, read 7680, peak beyond 0.00
#   25 blocks: wrote 8000, fact 8000, read 8320, peak beyond 1.00
#   26 blocks: wrote 8320, fact 8320, read 8320, peak beyond 0.00
#
# Needs python3 with venv. Exit status: 0 as described, 1 when libsndfile behaves differently, 2 when it cannot be tried.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" || exit 2
"$work/venv/bin/pip" install -q --disable-pip-version-check soundfile==0.14.0 numpy >&2 || exit 2

"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys
import numpy as np
import soundfile

print("libsndfile", soundfile.__libsndfile_version__)
found = []
for blocks in (24, 25, 26):
    path = f"{sys.argv[1]}/{blocks}.wav"
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(320 * blocks) / 8000)
    soundfile.write(path, wave, 8000, format="WAV", subtype="GSM610")
    file = open(path, "rb").read()
    fact = int.from_bytes(file[file.index(b"fact") + 8 :][:4], "little")
    with soundfile.SoundFile(path) as sound:
        samples = sound.read(sound.frames)
    peak = np.abs(samples[320 * blocks :]).max(initial=0)
    print(f"{blocks} blocks: wrote {len(wave)}, fact {fact}, read {len(samples)}, peak beyond {peak:.2f}")
    found.append((fact - len(wave), len(samples) - len(wave), peak > 0.1))
if found != [(0, 0, False), (0, 320, True), (0, 0, False)]:
    sys.exit("libsndfile behaves differently now")
PYTHON
