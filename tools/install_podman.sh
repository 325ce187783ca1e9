#!/bin/sh
# For the tests of containers: installs Podman where that needs no asking, as root on Debian. Elsewhere they are skipped.
# runc beside it, since Debian's crun refuses machines on which both versions of cgroups are mounted.
set -eu
missing=
for program in podman runc catatonit newuidmap; do
  command -v "$program" >/dev/null || missing=1
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "penstock: the tests of containers need podman; without it they are skipped: sudo apt-get install podman runc" >&2
  exit 0
fi
echo "penstock: installing podman for the tests" >&2
set -- --no-install-recommends podman runc catatonit uidmap
apt-get install -y -qq "$@" >/dev/null 2>&1 || { apt-get update -qq >/dev/null && apt-get install -y -qq "$@" >/dev/null; }
