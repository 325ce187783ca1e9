#!/bin/sh
# Installs PostgreSQL for the tests, as root on Debian or Ubuntu: its programs alone, no cluster that runs.
set -eu
apt() {
  # A fresh machine has no package lists yet.
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  }
}
printf '%s\n' "penstock: installing PostgreSQL" >&2
apt postgresql-common
# Before the package itself, which would make a cluster and start it.
sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
apt postgresql
