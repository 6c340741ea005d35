"""noVNC's launcher, unchanged, with all of its options that reach the server: that of Debian's package, and that of 1.6.0 (in
1.7.0 it starts the server with the same words, and npm's package has none). Clients that speak VNC see a real desktop."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
from desktop import SCREEN
from rfb import desktop as rfb
from support import BUILT, OURS, Process, free_port, until

OLD, NEW = pathlib.Path("/usr/share/novnc"), BUILT / "peers/novnc-1.6.0"
NAME = "localhost"


@pytest.fixture(params=[OLD, NEW], ids=["1.3.0", "1.6.0"])
def novnc(request):
    """Where each noVNC is."""
    return request.param


@pytest.fixture
def launch(wrapper, screen, keep, tmp_path):
    """Starts a launcher with these words, and our binary first in PATH as `websockify`; waits until it says where to go."""

    def start(novnc, *words):
        port = free_port()
        words = ["--listen", port, "--vnc", screen.address, "--web", novnc, *words]
        printed = tmp_path / "printed"
        with open(printed, "wb") as out:
            launcher = keep(Process([novnc / "utils/novnc_proxy", *words], cwd=tmp_path, stdout=out,
                                    env={**os.environ, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"}))  # fmt: skip
        launcher.wait_for(f"proxying from :{port} to {screen.address}")
        # It looks after a second whether the server still lives.
        until(lambda: "Press Ctrl-C" in printed.read_text(), "the launcher says where to go")
        launcher.port, launcher.printed = port, printed
        return launcher

    return start


@contextlib.contextmanager
def visit(launcher, scheme="ws", **options):
    """A session with the desktop, all of whose pixels have come."""
    with rfb(f"{scheme}://{NAME}:{launcher.port}/websockify", proxy=None, **options) as session:
        assert session.name == SCREEN
        width, height = session.size
        assert session.pixels() == width * height
        yield session


def page(launcher, path="vnc.html", scheme="http", context=None, **headers):
    """Status and headers of the answer to a request for a page."""

    class Stay(urllib.request.HTTPRedirectHandler):
        """Tells of redirects instead of following them."""

        def redirect_request(self, *_):
            """None is followed."""

    handlers = [Stay, urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    request = urllib.request.Request(f"{scheme}://{NAME}:{launcher.port}/{path}", headers=headers)
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=20) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def ends(launcher):
    """Asks it to leave: nothing stays behind, and its port is free."""
    launcher.child.send_signal(signal.SIGTERM)
    launcher.child.wait(20)
    until(lambda: not launcher.group(), "launcher and server leave no process")


def test_record_syslog_heartbeat(novnc, launch, tmp_path):
    """What it writes, and where to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(20)
        launcher = launch(novnc, "--record", tmp_path / "rec", "--syslog", f"127.0.0.1:{syslog.getsockname()[1]}",
                          "--heartbeat", "1", "--timeout", "3600", "--idle-timeout", "3600")  # fmt: skip
        while b"proxying from" not in (line := syslog.recv(65536)):
            pass
        assert b"websockify" in line
    with visit(launcher):
        recording = until(lambda: next(tmp_path.glob("rec.*"), None), "there is a recording")
        until(lambda: b"{RFB 003.008" in recording.read_bytes(), "the greeting is recorded")
    assert pinged(launcher.port), "no ping came"
    script = recording.read_text() + "console.log(JSON.stringify([VNC_frame_data[0], VNC_frame_data.at(-1)]))"
    read = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=True, timeout=20)
    first, last = json.loads(read.stdout)
    assert first.endswith("{RFB 003.008\n") and last == "EOF"
    ends(launcher)


def pinged(port):
    """Whether a session is sent an empty ping, beside the greeting of the desktop."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.settimeout(20)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")  # fmt: skip
        got = b""
        while not got.endswith(b"\x89\x00"):
            got += (more := client.recv(4096))
            if not more:
                return False
        return got.endswith(b"RFB 003.008\n\x89\x00")


@pytest.mark.parametrize("apart", [False, True], ids=["one-file", "two-files"])
def test_tls_only(novnc, launch, authority, apart):
    """Certificate and key, in one file and in two; plain clients are sent to the safe address."""
    server = authority.sign("server")
    words = ["--cert", server.cert, "--key", server.key] if apart else ["--cert", server.both]
    launcher = launch(novnc, *words, "--ssl-only")
    assert "https://" in launcher.printed.read_text()
    context = ssl.create_default_context(cafile=authority.cert)
    assert page(launcher, scheme="https", context=context)[0] == 200
    if OURS:
        status, headers = page(launcher)
        assert (status, headers["Location"]) == (301, f"https://{NAME}:{launcher.port}/vnc.html")
    with visit(launcher, "wss", ssl=context):
        pass
    ends(launcher)


def test_tls_beside_plain(novnc, launch, authority):
    """With a certificate alone both are served on the one port."""
    launcher = launch(novnc, "--cert", authority.sign("server").both)
    context = ssl.create_default_context(cafile=authority.cert)
    with visit(launcher, "wss", ssl=context), visit(launcher):
        assert page(launcher)[0] == page(launcher, scheme="https", context=context)[0] == 200
    ends(launcher)


def test_passwords_and_no_listings(launch):
    """Of the newer launcher only."""
    launcher = launch(NEW, "--file-only", "--web-auth", "--auth-plugin", "BasicHTTPAuth", "--auth-source", "user:pass")
    known = {"Authorization": f"Basic {base64.b64encode(b'user:pass').decode()}"}
    status, headers = page(launcher)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="Websockify"')
    assert page(launcher, **known)[0] == 200
    assert page(launcher, "core/", **known)[0] == 404
    with visit(launcher, additional_headers=known):
        pass
    with pytest.raises(Exception, match="HTTP 401"), visit(launcher):
        pass
    ends(launcher)


def test_listings(novnc, launch):
    """Without --file-only directories are shown, as launchers expect of that name."""
    launcher = launch(novnc)
    assert page(launcher, "core/")[0] == 200
    ends(launcher)


def test_a_host_to_listen_on(wrapper, screen, keep, tmp_path):
    """The newer launcher takes a host in front of the port."""
    port = free_port()
    launcher = keep(Process([NEW / "utils/novnc_proxy", "--listen", f"127.0.0.1:{port}", "--vnc", screen.address],
                            cwd=tmp_path, env={**os.environ, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"}))  # fmt: skip
    launcher.wait_for(f"proxying from 127.0.0.1:{port} to {screen.address}")
    launcher.port = port
    with visit(launcher):
        pass
    ends(launcher)


@pytest.mark.parametrize("option", ["--timeout", "--idle-timeout"])
def test_it_ends_by_itself(novnc, launch, option):
    """After a time, or after one in which nobody came; the launcher waits for the server and ends with it."""
    launcher = launch(novnc, option, "3")
    launcher.wait_for(f"listener exit due to {option} 3", 20)
    launcher.child.wait(20)
    until(lambda: not launcher.group(), "launcher and server leave no process")


@pytest.mark.parametrize("option", ["--token-plugin", "--token-source"])
def test_what_launchers_do_not_pass_on(novnc, option):
    """Tokens are no launcher's matter yet. Should one learn them, this is where to show that they reach the server."""
    asked = subprocess.run([novnc / "utils/novnc_proxy", option, "x"], capture_output=True, text=True, check=False, timeout=20)
    assert asked.returncode == 2 and "Unknown chrooter option" in asked.stdout
