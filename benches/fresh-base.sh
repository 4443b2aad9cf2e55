#!/bin/sh
# Makes a base that no builder has seen, so that everything above it is built anew without emptying anybody's cache
# (what apt and pip downloaded stays in the builder's cache mounts): the base given, with one more file.
#
#   benches/fresh-base.sh BASE NEW_NAME
set -eu
base=${1:?"usage: benches/fresh-base.sh BASE NEW_NAME"}
name=${2:?"usage: benches/fresh-base.sh BASE NEW_NAME"}
printf 'FROM %s\nRUN cat /proc/sys/kernel/random/uuid >/etc/never-seen-before\n' "$base" |
    DOCKER_BUILDKIT=1 "${DOCKER:-docker}" build --quiet --no-cache --tag "$name" -
