#!/bin/sh
# For the tests of several servers: installs HAProxy, as root on Debian or Ubuntu. Elsewhere those that need it are skipped.
set -eu
printf '%s\n' "penstock: installing HAProxy for the tests" >&2
# Debian would start it as a service, with a configuration of its own.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=1; }
set -- --no-install-recommends haproxy
apt-get install -y -qq "$@" >/dev/null 2>&1 || { apt-get update -qq >/dev/null && apt-get install -y -qq "$@" >/dev/null; }
[ -z "${made:-}" ] || rm /usr/sbin/policy-rc.d
