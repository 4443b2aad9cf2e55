#!/bin/sh
# The peer of `cargo xtask build-stack`: the five images of the stack, for both plans, by a shell loop over the docker
# CLI with BuildKit. It knows no content keys, so it asks the engine about every image, every time.
#
#   benches/docker-build-loop.sh RENDERED_DIR [TAG_PREFIX]
#
# RENDERED_DIR holds <image>/Dockerfile for the images with a template. The base is ROOT_IMAGE, by default the
# bootstrapped one; the CLI is DOCKER (one that can do BuildKit: newer ones need buildx beside them). Prints the seconds of each build on stdout.
set -eu
cd "$(dirname "$0")/.."
rendered=${1:?"usage: benches/docker-build-loop.sh RENDERED_DIR [TAG_PREFIX]"}
prefix=${2:-loop}
docker=${DOCKER:-docker}
# Tests take the tag away now and then, and the program knows its base by content.
root=${ROOT_IMAGE:-$("$docker" image ls --format '{{.Repository}}:{{.Tag}}' xtask.local/debian | head -n 1)}
export DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain

set --
for secret in "ca-bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "pip-conf=${PIP_CONFIG_FILE:-/etc/pip.conf}"; do
    [ ! -r "${secret#*=}" ] || set -- "$@" --secret "id=${secret%%=*},src=${secret#*=}"
done

build() { # KEY PARENT_ARG PARENT TAG [ARGS of docker build...]
    key=$1 arg=$2 parent=$3 tag=$4
    shift 4
    file=$rendered/$key/Dockerfile
    [ -f "$file" ] || file=images/$key/Dockerfile
    from=$(date +%s.%N)
    "$docker" build --quiet --file "$file" --tag "lab/$key:$tag" --build-arg "$arg=$parent" "$@" "images/$key" >/dev/null
    echo "$from $(date +%s.%N)" | awk -v name="$key:$tag" '{ printf "%-40s %8.2f s\n", name, $2 - $1 }'
}

for plan in 2026.4=4.5.11 next=4.6.6; do
    tag=$prefix-${plan%%=*}
    build debian-base ROOT_IMAGE "$root" "$tag" "$@"
    build python-base BASE_IMAGE "lab/debian-base:$tag" "$tag" --build-arg PSUTIL_VERSION=7.2.2 "$@"
    build base-notebook BASE_IMAGE "lab/python-base:$tag" "$tag" --build-arg "JUPYTERLAB_VERSION=${plan#*=}" "$@"
    build datascience-notebook BASE_IMAGE "lab/base-notebook:$tag" "$tag" "$@"
    build r-notebook BASE_IMAGE "lab/debian-base:$tag" "$tag" "$@"
done
