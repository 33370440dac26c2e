#!/usr/bin/env bash
# README's commands in fresh Debian roots that hold only what README names: tests/bare.sh "bookworm trixie" "demo test".
#
# A root is made by debootstrap in a temporary directory. The checkout's HEAD is cloned into it, an ordinary user runs
# the commands. Wants root, debootstrap, and the mirror of Debian and the package index that this machine uses.
set -euo pipefail
cd "$(dirname "$0")/.."
suites=$1 targets=$2

[ "$(id -u)" = 0 ] || { echo "make bare needs root: it makes Debian roots and enters them with chroot"; exit 1; }
command -v debootstrap >/dev/null || { echo "make bare needs debootstrap (Debian: apt install debootstrap)"; exit 1; }
# Mounts and processes of a root end with this process.
[ -n "${BARE_NAMESPACE:-}" ] || BARE_NAMESPACE=1 exec unshare --mount --pid --fork --kill-child "$0" "$@"

packages=$(sed -n 's/^    apt install //p' README.rst | head -n 1)
[ -n "$packages" ] || { echo "README.rst has no line 'apt install ...'"; exit 1; }

prepare() {  # SUITE ROOT
  debootstrap --variant=minbase "$1" "$2" >"$2.log" 2>&1 || { tail -n 20 "$2.log"; return 1; }
  cp -L /etc/resolv.conf "$2/etc/resolv.conf"
  mount -t proc proc "$2/proc"
  mount -t tmpfs tmpfs "$2/dev/shm"
  chroot "$2" apt-get update -qq
  # shellcheck disable=SC2086
  chroot "$2" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages \
    >"$2.log" 2>&1 || { tail -n 20 "$2.log"; return 1; }
  chroot "$2" useradd --create-home user
  git clone -q "file://$PWD" "$2/home/user/audiohookd"
  chroot "$2" chown -R user: /home/user/audiohookd
  # An authority that this machine's pip trusts is trusted there, too.
  if [ -f "${PIP_CERT:-}" ]; then
    mkdir -p "$2/etc/ssl/certs"
    cp -L "$PIP_CERT" "$2/etc/ssl/certs/bare.pem"
    printf '[global]\ncert = /etc/ssl/certs/bare.pem\n' >"$2/etc/pip.conf"
  fi
}

place=$(mktemp -d /var/tmp/audiohookd-bare-XXXXXX)
trap 'umount -q "$place"/*/proc "$place"/*/dev/shm || true; rm -rf --one-file-system "$place"' EXIT
for suite in $suites; do
  root=$place/$suite
  prepare "$suite" "$root"
  for target in $targets; do
    echo "== Debian $(cat "$root/etc/debian_version"), $(chroot "$root" python3 --version): make $target"
    before=$(date +%s)
    chroot "$root" env -i HOME=/home/user PATH=/usr/local/bin:/usr/bin:/bin \
      setpriv --reuid user --regid user --init-groups sh -c "cd ~/audiohookd && make $target"
    seconds=$(($(date +%s) - before))
    echo "== make $target: $seconds s"
    [ "$target" != demo ] || [ "$seconds" -lt 60 ] || { echo "make demo has to take less than 60 s"; exit 1; }
  done
done
