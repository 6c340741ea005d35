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
    [go]=golang-go [cc]=gcc [/usr/include/stdio.h]=libc6-dev [setpriv]=util-linux
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

# fetch_novnc VERSION SUITE SHA256: the source of noVNC, from Debian's mirror, into a directory of its own.
fetch_novnc() {
    [ -e "$place/novnc-$1" ] && return
    echo "setup-test: fetching the source of noVNC $1"
    fetched=$(mktemp -d "$place/fetching.XXXXXX")
    trap 'rm -rf "$fetched"' EXIT
    fetched=$(realpath "$fetched")
    mkdir -p "$fetched/lists/partial" "$fetched/novnc"
    echo "deb-src http://deb.debian.org/debian $2 main" > "$fetched/sources"
    apt="apt-get -qq -o Dir::Etc::sourcelist=$fetched/sources -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists=$fetched/lists -o APT::Sandbox::User="
    $apt update || fail "apt-get could not update the list of sources of $2"
    (cd "$fetched" && $apt source --tar-only novnc >/dev/null) || fail "apt-get could not fetch the source of noVNC from $2"
    tarball=$(echo "$fetched"/novnc_*.orig.tar.*)
    echo "$3  $tarball" | sha256sum --quiet --check - || fail "${tarball##*/} from $2 is not the noVNC $1 that is meant here"
    tar -xf "$tarball" --strip-components=1 -C "$fetched/novnc" || fail "tar could not unpack noVNC"
    mv "$fetched/novnc" "$place/novnc-$1"
    rm -rf "$fetched"
}

# Neither the page that plays recordings nor today's launcher is in a package: npm's has only the library.
fetch_novnc 1.3.0 bookworm f52e4f4fc500633f60b47bd2b79ddb87ffdd39a4e8d5b040ce313ee5ad6dc246
fetch_novnc 1.6.0 trixie 136fb59977cdc7eab902097a16ccd94669b32d5c34dc035c52eae9b4ab8d77f6

if ! cmp -s tests/peers/package-lock.json "$place/node_modules/made-from"; then
    echo "setup-test: installing the pinned noVNC library"
    cp tests/peers/package.json tests/peers/package-lock.json "$place/"
    npm ci --prefix "$place" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null ||
        fail "npm could not install tests/peers/package.json"
    cp tests/peers/package-lock.json "$place/node_modules/made-from"
fi
