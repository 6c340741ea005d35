#!/usr/bin/env bash
# Installs what the tests need of other programs (those they talk to, and those that judge what is generated), and nothing
# that is there already: Debian packages by name, and under target/peers/ a Python environment and the pinned noVNC library.
# Runs as root, or as a user with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "setup-test: $*" >&2
    exit 1
}

# Which package brings each program or file.
declare -A brings=(
    [chromium]=chromium [Xtigervnc]=tigervnc-standalone-server [xterm]=xterm [xrandr]=x11-xserver-utils
    [openssl]=openssl [curl]=curl [socat]=socat [npm]=npm [node]=nodejs [python3]=python3 [ps]=procps
    [certutil]=libnss3-tools [htpasswd]=apache2-utils [redis-server]=redis-server [zsh]=zsh [fish]=fish [groff]=groff-base [valgrind]=valgrind
    [/usr/lib/websockify/rebind.so]=websockify
    [/usr/share/novnc/vnc.html]=novnc
)
# The module is asked for, because Debian's python3 comes without it.
python3 -c 'import ensurepip, venv' 2>/dev/null || brings[python3-venv]=python3-venv

missing=()
for thing in "${!brings[@]}"; do
    [ -e "$thing" ] || command -v "$thing" >/dev/null || missing+=("${brings[$thing]}")
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "no apt-get here; install these by hand: ${missing[*]}"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "neither root nor sudo; install these by hand: ${missing[*]}"
        as_root=(sudo)
    fi
    echo "setup-test: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq || fail "apt-get update failed"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" \
        >/dev/null || fail "apt-get could not install ${missing[*]}"
fi

place=target/peers
mkdir -p "$place"

# Each environment remembers the list it was made from, and is made again only when that list changes.
if ! cmp -s tests/peers/requirements.txt "$place/venv/made-from"; then
    echo "setup-test: making the Python environment"
    python3 -m venv --clear "$place/venv" || fail "python3 -m venv failed"
    "$place/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/peers/requirements.txt ||
        fail "pip could not install tests/peers/requirements.txt"
    cp tests/peers/requirements.txt "$place/venv/made-from"
fi

# noVNC's page that plays recordings is in no package, only in the source of one.
if [ ! -e "$place/novnc-source/tests/vnc_playback.html" ]; then
    echo "setup-test: fetching noVNC's source for its playback page"
    fetched=$(mktemp -d)
    trap 'rm -rf "$fetched"' EXIT
    mkdir -p "$fetched/lists/partial" "$place/novnc-source"
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb-src http://deb.debian.org/debian $codename main" > "$fetched/sources"
    apt="apt-get -qq -o Dir::Etc::sourcelist=$fetched/sources -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists=$fetched/lists -o APT::Sandbox::User="
    $apt update || fail "apt-get could not update the list of sources"
    (cd "$fetched" && $apt source --tar-only novnc >/dev/null) || fail "apt-get could not fetch the source of novnc"
    tar -xf "$fetched"/novnc_*.orig.tar.* --strip-components=1 -C "$place/novnc-source" || fail "tar could not unpack noVNC"
fi

if ! cmp -s tests/peers/package-lock.json "$place/node_modules/made-from"; then
    echo "setup-test: installing the pinned noVNC library"
    cp tests/peers/package.json tests/peers/package-lock.json "$place/"
    npm ci --prefix "$place" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null ||
        fail "npm could not install tests/peers/package.json"
    cp tests/peers/package-lock.json "$place/node_modules/made-from"
fi
