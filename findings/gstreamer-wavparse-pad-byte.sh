#!/bin/sh
# GStreamer 1.22.0 (Debian 12: gstreamer1.0-plugins-good 1.22.0-5+deb12u4), element wavparse.
#
# Believed: a WAV file whose data chunk has an odd size, and which ends with the pad byte that RIFF demands after it, is
#   played like any other ("If the chunk size is an odd number of bytes, a pad byte with value zero is written after
#   ckData", Multimedia Programming Interface and Data Specifications 1.0).
# Real: wavparse outputs no byte of it, and exits with 0. It takes the pad byte for the header of a further chunk, meets
#   the end of the file, and ends before it has sent any audio. With an even size, without the pad byte, or with a chunk
#   behind it, all samples come out.
#
# Seen:
#   even:             8000 of 8000 bytes
#   odd, no pad byte: 8001 of 8001 bytes
#   odd, pad byte:    0 of 8001 bytes
#   odd, then LIST:   8001 of 8001 bytes
#
# Needs Debian 12 and python3; downloads the packages into a temporary folder and installs nothing.
# Exit status: 0 as described, 1 when GStreamer behaves differently, 2 when it cannot be tried.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download -qq gstreamer1.0-tools=1.22.0-2+deb12u1 libgstreamer1.0-0=1.22.0-2+deb12u1 \
  gstreamer1.0-plugins-good=1.22.0-5+deb12u4 libgstreamer-plugins-base1.0-0=1.22.0-3+deb12u7 \
  libglib2.0-0 libdw1 libelf1 libunwind8 liborc-0.4-0 || exit 2
for package in ./*.deb; do dpkg-deb -x "$package" root; done

library=$(echo root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH="$work/$library:$work/root/lib/${library##*/}"
export GST_PLUGIN_SYSTEM_PATH="$work/plugins" GST_PLUGIN_PATH="$work/plugins" GST_REGISTRY="$work/registry.bin"
export GST_PLUGIN_SCANNER="$work/$library/gstreamer1.0/gstreamer-1.0/gst-plugin-scanner"
mkdir plugins
cp "$library/gstreamer-1.0/libgstwavparse.so" "$library/gstreamer-1.0/libgstcoreelements.so" plugins

python3 - <<'PYTHON'
import struct

def write(name, samples, behind):
    format = struct.pack("<4sLHHLLHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + format + struct.pack("<4sL", b"data", samples) + b"\x90" * samples + behind
    with open(name, "wb") as file:
        file.write(b"RIFF" + struct.pack("<L", len(body)) + body)

write("even.wav", 8000, b"")
write("unpadded.wav", 8001, b"")
write("padded.wav", 8001, b"\0")
write("list.wav", 8001, b"\0LIST\4\0\0\0INFO")
PYTHON

heard() {
  rm -f audio.raw
  "root/usr/bin/gst-launch-1.0" -q filesrc location="$1" ! wavparse ! filesink location=audio.raw >&2 || exit 2
  stat -c %s audio.raw
}

"root/usr/bin/gst-launch-1.0" --version | tail -n +2 | head -n 1
even=$(heard even.wav) unpadded=$(heard unpadded.wav) padded=$(heard padded.wav) list=$(heard list.wav)
echo "even:             $even of 8000 bytes"
echo "odd, no pad byte: $unpadded of 8001 bytes"
echo "odd, pad byte:    $padded of 8001 bytes"
echo "odd, then LIST:   $list of 8001 bytes"
[ "$even $unpadded $padded $list" = "8000 8001 0 8001" ] || { echo "GStreamer behaves differently now"; exit 1; }
