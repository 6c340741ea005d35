#!/usr/bin/env bash
# Shows a real desktop in a browser: Xtigervnc with an xterm on it, Debian's noVNC, and websplice between them.
# Everything listens on the loopback only and ends with Ctrl-C. PORT and WEBSPLICE_BIN may be given.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${WEBSPLICE_BIN:-target/release/websplice}
port=${PORT:-6080}
web=/usr/share/novnc

fail() {
    echo "demo-vnc: $*" >&2
    exit 1
}

[ -x "$binary" ] || fail "$binary is missing: run 'make demo-vnc', which builds it"

missing=()
[ -e "$web/vnc.html" ] || missing+=(novnc)
command -v Xtigervnc >/dev/null || missing+=(tigervnc-standalone-server)
command -v xterm >/dev/null || missing+=(xterm)
command -v xsetroot >/dev/null || missing+=(x11-xserver-utils)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "no apt-get here; install these by hand: ${missing[*]}"
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    echo "demo-vnc: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

started=()
leave() {
    trap - EXIT INT TERM
    [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    wait
    rm -f "${told:-}"
}
trap leave EXIT
trap 'exit 0' INT TERM

# The X server takes a free display and tells it through the file; the RFB port is the first free one from 5901 on.
rfb=5901
while (exec 3<>"/dev/tcp/127.0.0.1/$rfb") 2>/dev/null; do rfb=$((rfb + 1)); done
told=$(mktemp)
Xtigervnc -displayfd 3 -rfbport "$rfb" -SecurityTypes None -interface 127.0.0.1 -geometry 1280x800 -AlwaysShared \
    -desktop "websplice demo" 3>"$told" 2>/dev/null &
screen=$!
started+=("$screen")
until [ -s "$told" ]; do
    kill -0 "$screen" 2>/dev/null || fail "Xtigervnc did not start"
    sleep 0.05
done
DISPLAY=":$(cat "$told")"
export DISPLAY
xsetroot -solid '#204060'
xterm -geometry 100x30+40+40 -title "a shell on your desktop" &
started+=("$!")

"$binary" --web "$web" "127.0.0.1:$port" "127.0.0.1:$rfb" &
server=$!
started+=("$server")
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || fail "the server did not start; is port $port free? PORT=N chooses another"
    sleep 0.05
done

echo
echo "  Your desktop: http://127.0.0.1:$port/vnc.html?autoconnect=1&resize=remote&path=websockify"
echo "  Ctrl-C ends it."
echo
wait "$server"
