#!/bin/sh
# Installs the peers that `make perf` measures against, by name and only where they are absent: HAProxy and nginx with its
# stream module and socat from the distribution, websockify from PyPI with numpy in an environment of its own, websocat from
# crates.io, node-websockify from npm. Everything but the distribution's packages goes under target/peers, and no service is
# started. A peer that cannot be installed is named here and left out; the run goes on without it, and its report names it too.
#
# Usage: scripts/perf-peers.sh [peer...]      (default: all; a star stands for anything, as in the run's own --peers)
set -u
cd "$(dirname "$0")/.." || exit 1

WEBSOCKIFY=0.13.0
WEBSOCAT='^1.14'
# The package of the plain name, websockify 0.7.1, ends at its first session with the version of ws that it asks for today.
NODE_WEBSOCKIFY=1.0.7
peers=target/peers
mkdir -p "$peers"

missing() {
    echo "perf-peers: $1 could not be installed: $2" >&2
}

# Installs packages of the distribution. Only their programs are wanted, so the services that they bring are not started.
packages() {
    sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends "$@"
}

install_haproxy() {
    command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] && return
    packages haproxy || missing haproxy 'apt-get failed'
}

install_nginx() {
    nginx=$(command -v nginx || echo /usr/sbin/nginx)
    [ -x "$nginx" ] && { [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || "$nginx" -V 2>&1 | grep -q -e '--with-stream '; } && return
    packages nginx-light libnginx-mod-stream || missing nginx 'apt-get failed'
}

install_python() {
    [ -x "$peers/python/bin/websockify" ] && "$peers/python/bin/python" -c 'import numpy, redis, websockify' 2>/dev/null && return
    python3 -m venv "$peers/python" &&
        "$peers/python/bin/pip" install --quiet --disable-pip-version-check "websockify==$WEBSOCKIFY" numpy redis ||
        missing python 'a virtual environment with websockify, numpy and redis failed'
}

install_websocat() {
    [ -x "$peers/bin/websocat" ] || command -v websocat >/dev/null && return
    cargo install --quiet --locked websocat --version "$WEBSOCAT" --root "$peers" -j 2 ||
        missing websocat 'cargo install failed'
}

install_socat() {
    command -v socat >/dev/null && return
    packages socat || missing socat 'apt-get failed'
}

install_node() {
    [ -e "$peers/node/node_modules/@maximegris/node-websockify/package.json" ] && command -v node >/dev/null && return
    command -v npm >/dev/null || packages npm || missing node 'apt-get failed'
    mkdir -p "$peers/node" &&
        npm install --prefix "$peers/node" --ignore-scripts --no-audit --no-fund --loglevel error \
            "@maximegris/node-websockify@$NODE_WEBSOCKIFY" >/dev/null ||
        missing node 'npm install failed'
}

# Patterns are for names of peers here, and not for files.
set -f
[ "$#" -gt 0 ] || set -- '*'

# Whether one of the patterns of $2 and more fits the name $1.
is_wanted() {
    name=$1
    shift
    for pattern; do
        # shellcheck disable=SC2254 # It is meant as a pattern.
        case $name in $pattern) return 0 ;; esac
    done
    return 1
}

# The other peers are ours, or told by the user: nothing to install. The run itself refuses names that nobody has.
for peer in haproxy nginx socat python websocat node; do
    if is_wanted "$peer" "$@" || { [ "$peer" = haproxy ] && is_wanted haproxy-splice "$@"; }; then
        "install_$peer"
    fi
done
