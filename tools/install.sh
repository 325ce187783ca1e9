#!/bin/sh
# Makes .venv from the lock, and installs the one system package that is wanted (bubblewrap).
# Usage: tools/install.sh [PYTHON]. Mirrors: pip's and uv's own settings are respected.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "penstock: $*" >&2; }
root() { [ "$(id -u)" = 0 ]; }
apt() {
  # A fresh machine has no package lists yet.
  apt-get install -y -qq "$@" >/dev/null 2>&1 || { apt-get update -qq >/dev/null && apt-get install -y -qq "$@" >/dev/null; }
}
fit() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in "${1:-python3}" python3.14 python3.13 python3.12 python3.11; do
  if fit "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  say "Python 3.11 or newer is needed; none was found. On Debian or Ubuntu: apt-get install python3 python3-venv"
  exit 1
fi

if [ ! -x .venv/bin/python ] || ! fit .venv/bin/python; then
  rm -rf .venv
  if ! "$python" -m venv .venv >/dev/null 2>&1; then
    rm -rf .venv
    # Debian packs the part of the standard library that makes virtual environments by itself.
    if root && command -v apt-get >/dev/null; then
      say "installing python3-venv"
      apt python3-venv
      "$python" -m venv .venv
    else
      say "this Python can't make virtual environments. Run: sudo apt-get install python3-venv"
      exit 1
    fi
  fi
fi

if [ ! -x .venv/bin/uv ]; then
  grep -A 40 '^uv==' requirements.lock | awk 'NR==1 || /--hash/ {print; next} {exit}' > .venv/uv.lock
  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.lock
fi

# uv does not read pip's settings: hand over what a mirror needs.
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
  index=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
  if [ -n "$index" ]; then UV_DEFAULT_INDEX=$index; export UV_DEFAULT_INDEX; fi
fi
if [ -z "${SSL_CERT_FILE:-}" ] && [ -n "${PIP_CERT:-}" ]; then SSL_CERT_FILE=$PIP_CERT; export SSL_CERT_FILE; fi

say "installing Python packages"
.venv/bin/uv pip sync -q --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
.venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation --offline -e .

if ! command -v bwrap >/dev/null; then
  if root && command -v apt-get >/dev/null; then
    say "installing bubblewrap"
    apt bubblewrap || say "bubblewrap could not be installed; util-linux unshare is used in its place"
  else
    say "bubblewrap is not installed; util-linux unshare is used in its place. To install it: sudo apt-get install bubblewrap"
  fi
fi
