"""Unix sockets to listen on and to lead to, and a listener or a client that comes as standard input."""

import os
import socket
import stat

from harness import Echo, Group, better, elapsed, files, has, same
from services import keep, unix_echo
from wire import BINARY, Connection, Seen, close, closing, frame, request, upgrade


def listen(name, *words, to="127.0.0.1:$target", **more):
    """A group that listens on a Unix socket."""
    return Group(f"unix-{name}", ("--unix-listen=$place/sock", *words), **{"target": Echo, "listen": "", "to": to, **more})


PLAIN = listen("plain")
MODE = {mode: listen(mode, f"--unix-listen-mode={mode}") for mode in ("600", "660", "777", "0640", "0o660")}
WEB = listen("web", "--web=$place/web", setup=files({"web/text.txt": "text"}))
RELATIVE = Group("unix-relative", ("--unix-listen=sock", "--web=$place/web"), target=Echo, listen="",
    setup=files({"web/x": "x"}))
TARGET = Group("unix-target", ("--unix-target=$place/echo.sock",), to="", setup=lambda half: keep(half,
    unix_echo(half.place / "echo.sock", b"")))
PERCENT = Group("unix-target-percent", ("--unix-target=$place/%s.sock",), to="",
    setup=lambda half: keep(half, unix_echo(half.place / "%s.sock", b"")))
BOTH = listen("both", "--unix-target=$place/echo.sock", to="", setup=lambda half: keep(half,
    unix_echo(half.place / "echo.sock", b"")))
INETD = Group("inetd", ("--inetd",), target=Echo, listen="")


def talk(client):
    """An echo over a connection that is not yet upgraded."""
    code = client.send(upgrade()).answer().code
    got = client.send(frame(BINARY, b"hello")).frame()
    if got is None:
        return Seen(code=code, got=None)
    client.send(close(1000, "bye"))
    return Seen(code=code, got=got, close=closing(client.frame()[1]), rest=client.rest())


def over(path):
    """An echo over a Unix socket."""

    def do(half):
        with half.connect_unix(path) as client:
            return talk(client)

    return do


def over_tcp(half):
    """An echo over TCP."""
    with half.connect() as client:
        return talk(client)


def mode(half):
    """The permissions of the socket."""
    return Seen(mode=oct(stat.S_IMODE((half.place / "sock").stat().st_mode)))


def page(half):
    """A file over a Unix socket."""
    with half.connect_unix("sock") as client:
        return client.send(request("/text.txt")).answer().seen()


def ends(half):
    """Whether the socket is still there when the server has gone."""
    half.serve()
    over("sock")(half)
    status = half.server.end()
    return Seen(status=status, left=(half.place / "sock").exists())


def begins(prepare):
    """A start where something is at the path already."""

    def do(half):
        prepare(half.place / "sock")
        half.server = run = half.start(*half.group.words, half.group.to)
        run.wait_for(r"proxying from|\(end of output\)", 30)
        said = run.said()
        if "proxying from" not in said:
            path = half.place / "sock"
            return Seen(starts=False, status=run.child.wait(20), kept=path.is_file() and path.read_text(), said=half.blank(said))
        return Seen(over("sock")(half), starts=True)

    return do


def stale(path):
    """A socket that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def nowhere(half):
    """A directory that is not there."""
    run = half.start("--unix-listen=$place/absent/sock", "127.0.0.1:$target")
    run.wait_for(r"proxying from|\(end of output\)", 30)
    return Seen(status=run.child.wait(20), said=half.blank(run.said()))


def relative(half):
    """Where a relative path is, with a web root."""
    half.serve()
    return Seen(place=(half.place / "sock").exists(), web=(half.place / "web/sock").exists())


def banner(half):
    """The lines of the start."""
    return Seen(said=[half.blank(line) for line in half.server.said().splitlines()])


def inetd(family, where):
    """A server that gets its listener as standard input."""

    def do(half):
        listener = socket.socket(family)
        address = str(half.place / "in") if family == socket.AF_UNIX else where
        listener.bind(address)
        listener.listen(16)
        half.server = run = half.start("--inetd", "127.0.0.1:$target", stdin=listener)
        run.wait_for(r"proxying from|\(end of output\)", 30)
        banner = [half.blank(line) for line in run.said().splitlines()]
        try:
            stream = socket.socket(family)
            stream.settimeout(half.patience(3))
            stream.connect(listener.getsockname())
            listener.close()
            with Connection(stream) as client:
                client.stream.settimeout(half.patience(3))
                code = client.send(upgrade()).answer().code
                seen = Seen(code=code) if code != 101 else talked(client)
        except (OSError, AssertionError) as error:
            seen = Seen(code=f"error {error}")
        return Seen(seen, banner=banner)

    return do


def talked(client):
    """An echo behind the 101."""
    got = client.send(frame(BINARY, b"hello")).frame()
    client.send(close(1000, "bye"))
    return Seen(code=101, got=got, close=closing(client.frame()[1]))


def nowait(half):
    """A server that gets a connected client as standard input: whether it is served, and how the server ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    half.server = run = half.start("--inetd", "127.0.0.1:$target", stdin=far)
    far.close()
    with Connection(stream) as client:
        client.stream.settimeout(half.patience(3))
        try:
            code = client.send(upgrade()).answer().code
            seen = talked(client) if code == 101 else Seen(code=code)
            seconds, status = elapsed(lambda: run.child.wait(20)) if code == 101 else (None, None)
            return Seen(seen, status=status)
        except (AssertionError, OSError):
            spins = run.since(0, "handler exception") is not None
            return Seen(code="nothing", spins=spins)


def no_socket(half):
    """A server whose standard input is no socket."""
    with open(os.devnull, "rb") as nothing:
        run = half.start("--inetd", "127.0.0.1:$target", stdin=nothing)
    run.wait_for(r"proxying from|\(end of output\)", 30)
    return Seen(status=run.child.wait(20), said=run.said())


FINE = {"code": 101, "got": (BINARY, b"hello"), "close": "1000 bye"}
ROWS = [
    same("unix-listen", PLAIN, over("sock"), **FINE, rest=b""),
    same("unix-listen-web", WEB, page, code=200, body=b"text"),
    same("unix-listen-mode-default", PLAIN, mode, mode="0o600"),
    *(same(f"unix-listen-mode-{said}", MODE[said], mode, mode=oct(int(said.removeprefix("0o"), 8)))
      for said in ("600", "660", "777", "0640")),
    same("unix-target", TARGET, over_tcp, **FINE),
    better("unix-target-percent", PERCENT, over_tcp, "F 9: a % in a path means nothing (defect 20)", {"code": 101,
           "got": None}, FINE),
    same("unix-both", BOTH, over("sock"), **FINE),
    same("unix-banner", PLAIN, banner, said=has("  - Listen on unix socket PLACE/sock")),
    better("unix-banner-proxying", PLAIN, banner, "F 6.2: the source is named",
           {"said": has("  - proxying from :None to 127.0.0.1:TARGET")},
           {"said": has("  - proxying from PLACE/sock to 127.0.0.1:TARGET")}),
    better("unix-listen-end", PLAIN, ends, "F 9: the socket is removed (defect 20)", {"status": 0, "left": True},
           {"status": 0, "left": False}, alone=True),
    same("unix-listen-stale", PLAIN, begins(stale), alone=True, starts=True, **FINE),
    better("unix-listen-file", PLAIN, begins(lambda path: path.write_text("precious")), "F 1.3: only a stale socket is removed",
           {"starts": True}, {"starts": False, "status": 1, "kept": "precious", "said": has("PLACE/sock")}, alone=True),
    better("unix-listen-no-directory", PLAIN, nowhere, "F 1.1: a bind that fails is status 1",
           {"status": 0, "said": has("Openening socket failed: ")}, {"status": 1, "said": has("PLACE/absent/sock")},
               alone=True),
    better("unix-listen-relative", RELATIVE, relative, "F 1.3: relative to where it was started", {"place": False, "web": True},
           {"place": True, "web": False}, alone=True),
    # inetd.
    same("inetd-tcp4", INETD, inetd(socket.AF_INET, ("127.0.0.1", 0)), alone=True, **FINE,
         banner=has("  - Listen for inetd connections")),
    same("inetd-tcp6", INETD, inetd(socket.AF_INET6, ("::1", 0)), alone=True, **FINE),
    same("inetd-proxying", INETD, inetd(socket.AF_INET, ("127.0.0.1", 0)), alone=True,
         banner=has("  - proxying from inetd to 127.0.0.1:TARGET")),
    better("inetd-unix", INETD, inetd(socket.AF_UNIX, None), "F 1.3: accept all listeners",
           {"code": lambda code: code != 101}, FINE,
           alone=True),
    better("inetd-connected", INETD, nowait, "F 1.3: accept a client that is connected already", {"code": "nothing",
           "spins": True},
           {**FINE, "status": 0}, alone=True),
    better("inetd-no-socket", INETD, no_socket, "F 1.1: what cannot be listened on is status 1",
           {"status": 0, "said": has("socket failed: [Errno 88]")}, {"status": 1, "said": has("--inetd")}, alone=True),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

