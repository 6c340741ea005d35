"""Wrapped programs: their port is moved, they are started again or not, and what becomes of them and of the server.

websockify finds the library that moves ports where Debian's package puts it; what pip installs has none.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import signal
import socket
import sys
import time

import pytest
from harness import PROGRAM, Echo, Group, better, has, same
from services import build
from support import SYS_PIDFD_GETFD, seccomp_refused, until
from wire import BINARY, Seen, closing, frame, upgrade

ECHO = """
import os, socket, sys, threading
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen(16)
open("running", "w").write(str(os.getpid()))
print("program listens", flush=True)
def serve(stream):
    while data := stream.recv(4096):
        stream.sendall(data)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
LEAVE = """
import os, signal, sys
with open("starts", "a") as file:
    file.write("x\\n")
if sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[1]))
"""
TELL = """
import json, os, time
open("told.part", "w").write(json.dumps(dict(os.environ)))
os.rename("told.part", "told")
time.sleep(60)
"""
STATIC = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_ANY) };
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&to, sizeof to) || listen(listener, 16)) return 7;
    for (;;) {
        char data[4096];
        int stream = accept(listener, 0, 0);
        for (ssize_t size; (size = read(stream, data, sizeof data)) > 0;) if (write(stream, data, size) < 0) break;
        close(stream);
    }
}
"""


def programs(half):
    """The programs of these tests, in the half's directory."""
    for name, text in (("echo.py", ECHO), ("leave.py", LEAVE), ("tell.py", TELL)):
        (half.place / name).write_text(text)
    half.note["python"] = sys.executable


PLACE = Group("wrap", target=Echo, setup=programs)
PYTHON = "$python"


def begin(half, *words, **options):
    """Starts the server with these words and waits for its line."""
    half.server = half.start(*words, **options)
    half.server.wait_for(r"proxying from|\(end of output\)", 30)
    return half.server


def visit(half, family=None):
    """One session: the echo, or why there was none."""
    client = half.connect_unix("sock") if family == "unix" else half.connect()
    with client:
        code = client.send(upgrade()).answer().code
        if code != 101:
            return f"code {code}"
        got = client.send(frame(BINARY, b"hello")).frame()
        return got and (got[1] if got[0] == BINARY else closing(got[1]))


def carried(*words, unix=False, seconds=20, program=PROGRAM):
    """A server that wraps a program: what a client gets once it is there; theirs is given up after some seconds. In the name
    of the server, `$place` is the half's directory."""

    def do(half):
        run = begin(half, *words, program=half.fill(program))
        deadline, got = time.monotonic() + half.patience(seconds), None
        while time.monotonic() < deadline and run.child.poll() is None:
            try:
                got = visit(half, "unix" if unix else None)
            except OSError as error:
                got = f"error {error}"
            if got == b"hello":
                break
            time.sleep(0.05)
        lines = [half.blank(line) for line in run.said().splitlines()]
        return Seen(got=got, lines=lines, output=run.output(), status=run.child.poll())

    return do


def leaves(*words):
    """A server whose program ends by itself: the status of the server, and how long that took."""

    def do(half):
        start = time.monotonic()
        run = begin(half, *words)
        status = run.child.wait(20)
        run.wait_for(r"\(end of output\)")
        return Seen(status=status, seconds=time.monotonic() - start, said=half.blank(run.said()))

    return do


def ignored(half):
    """A program that ends, in a server that does not mind: still there, and what its clients are told."""
    run = begin(half, "-v", "--wrap-mode=ignore", "127.0.0.1:$port", "--", PYTHON, "leave.py", "0")
    run.wait_for(r"Wrapped command exited \(or daemon\)\. Returned 0", 30)
    return Seen(alive=run.child.poll() is None, got=visit(half), starts=len((half.place / "starts").read_text().split()))


def respawned(half):
    """A program that fails at once: the waits between its first five starts, and how often that is told."""
    run = begin(half, "--wrap-mode=respawn", "127.0.0.1:$port", "--", PYTHON, "leave.py", "1")
    path, times = half.place / "starts", []
    while len(times) < 5:
        count = until(lambda: path.exists() and len(path.read_text().split()) > len(times), f"start {len(times) + 1}", 40)
        times.extend([time.monotonic()] * count)
    waits = [after - before for before, after in zip(times, times[1:])]
    return Seen(waits=waits, line=run.since(0, "Command respawning too fast"), alive=run.child.poll() is None)


def stopped(*words):
    """What becomes of the program when the server is stopped."""

    def do(half):
        run = begin(half, *words, "127.0.0.1:$port", "--", PYTHON, "echo.py", "127.0.0.1", "$port")
        path = half.place / "running"
        pid = int(until(lambda: path.exists() and path.read_text(), "the program runs"))
        run.tell(signal.SIGTERM)
        status = run.child.wait(20)
        alive = True
        if half.name == "ours" and not words:
            until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the program has ended")
            alive = False
        alive = alive and pathlib.Path(f"/proc/{pid}").exists()
        if alive:
            os.kill(pid, signal.SIGKILL)
        return Seen(status=status, alive=alive)

    return do


def told(half):
    """The environment of a wrapped program."""
    begin(half, "127.0.0.1:$port", "--", PYTHON, "tell.py")
    path = half.place / "told"
    said = json.loads(until(lambda: path.exists() and path.read_text(), "the program tells"))
    new = said.get("REBIND_NEW_PORT", "")
    return Seen(preload="rebind" in said.get("LD_PRELOAD", ""), old=said.get("REBIND_OLD_PORT") == str(half.port),
                new=new.isdigit() and int(new) > 0, inherited="PATH" in said)  # fmt: skip


def static(half):
    """A static program, which no library can be loaded into."""
    build(half.place, "static", STATIC, "-static")
    return carried("127.0.0.1:$port", "--", "./static", "$port", seconds=4)(half)


# About 1, 1, 9 and 4 seconds; both look once a second, and a busy machine looks late.
RESPAWNS = ((0.3, 4), (0.3, 4), (6, 13), (2, 8))
def undelayed(half):
    """Whether what is sent to the program waits to be joined with more: the server's own socket says so."""
    run = begin(half, *GO)
    until(lambda: (half.place / "running").exists(), "the program runs")
    with half.connect() as client:
        assert client.send(upgrade()).answer().code == 101
        assert client.send(frame(BINARY, b"hello")).frame() == (BINARY, b"hello")
        new = int(re.search(r"\(port (\d+)\)", run.said())[1])
        for pid in run.group():
            links = {entry.name: os.readlink(entry) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
            for number in (int(name) for name, link in links.items() if link.startswith("socket:")):
                # Those that listen, and those of other kinds, have no port on the other side.
                with taken(pid, number) as held, contextlib.suppress(OSError, IndexError):
                    if held.family == socket.AF_INET and held.getpeername()[1] == new:
                        return Seen(undelayed=held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
    return Seen(undelayed=None)


def taken(pid, number):
    """A socket of another process, which keeps it."""
    process = os.pidfd_open(pid)
    held = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, process, number, 0)
    os.close(process)
    if held < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return socket.socket(fileno=held)


def seccomp(work):
    """The same where the kernel lets ports be moved from outside; elsewhere the row cannot be shown."""

    def do(half):
        if seccomp_refused():
            pytest.skip(f"this machine refuses {seccomp_refused()}")
        return work(half)

    return do


GO = ("127.0.0.1:$port", "--", PYTHON, "echo.py", "127.0.0.1", "$port")
ROWS = [
    same("wrap", PLACE, carried(*GO), alone=True, got=b"hello"),
    same("wrap-word-order", PLACE, carried("--", *GO[:1], *GO[2:]), alone=True, got=b"hello"),
    same("wrap-any-address", PLACE, carried("127.0.0.1:$port", "--", PYTHON, "echo.py", "0.0.0.0", "$port"), alone=True,
           got=b"hello"),
    same("wrap-output", PLACE, carried(*GO), alone=True, output=has("program listens")),
    same("wrap-starting", PLACE, carried(*GO), alone=True,
         lines=lambda lines: any(re.fullmatch(r"(.* )?Starting '.*python.* echo\.py 127\.0\.0\.1 PORT'",
             line) for line in lines)),
    same("wrap-banner", PLACE, carried(*GO), alone=True, lines=lambda lines: any(
         re.fullmatch(r"  - proxying from HERE to '.*python.* echo\.py 127\.0\.0\.1 PORT' \(port \d+\)",
             line) for line in lines)),
    same("wrap-environment", PLACE, told, alone=True, old=True, new=True, inherited=True),
    better("wrap-environment-preload", PLACE, seccomp(told), "F 7: better, need none: nothing is loaded into the program",
           {"preload": True}, {"preload": False}, alone=True),
    better("wrap-without-library", PLACE, carried(*GO, program="$place/websockify", seconds=3),
           "F 7: the program carries what it needs", {"status": 1, "lines": lambda lines: "rebind.so not found" in
           "\n".join(lines)}, {"got": b"hello"}, alone=True),
    better("wrap-percent", PLACE, carried(*GO, "100%s", seconds=3), "F 9: a % in the command means nothing (defect 20)",
           {"got": lambda got: got != b"hello"}, {"got": b"hello"}, alone=True),
    better("wrap-undelayed", PLACE, seccomp(undelayed), "F 2.6: TCP_NODELAY towards wrapped programs too", {"undelayed": False},
           {"undelayed": True}, alone=True),
    same("wrap-exit-0", PLACE, leaves("127.0.0.1:$port", "--", PYTHON, "leave.py", "0"), alone=True, status=0),
    better("wrap-exit-3", PLACE, leaves("127.0.0.1:$port", "--", PYTHON, "leave.py", "3"), "F 7: the status is passed on",
           {"status": 0},
           {"status": 3}, alone=True),
    better("wrap-exit-killed", PLACE, leaves("127.0.0.1:$port", "--", PYTHON, "leave.py", "kill"),
           "F 7: the status is passed on", {"status": 0},
           {"status": 128 + 9}, alone=True),
    better("wrap-exit-not-found", PLACE, leaves("127.0.0.1:$port", "--", "no-such-program"), "F 1.1: one clear line",
           {"status": 1, "said": has("Traceback")}, {"status": lambda status: status != 0,
               "said": lambda said: "no-such-program" in said and
           "Traceback" not in said}, alone=True),
    same("wrap-ignore", PLACE, ignored, alone=True, alive=True, starts=1, got="1011 Failed to connect to downstream server"),
    # The third start makes the mean of the last three too young, the fifth is the first that waits less again.
    same("wrap-respawn", PLACE, respawned, alone=True, alive=True, line=has("Command respawning too fast"),
         waits=lambda waits: all(low <= wait <= high for wait, (low, high) in zip(waits, RESPAWNS, strict=True))),
    better("wrap-stop", PLACE, stopped(), "F 7: the program is ended with the server", {"status": 0, "alive": True},
           {"status": 0, "alive": False},
           alone=True),
    same("wrap-stop-ignore", PLACE, stopped("--wrap-mode=ignore"), alone=True, status=0, alive=True),
    better("wrap-ipv6", PLACE, carried("127.0.0.1:$port", "--", PYTHON, "echo.py", "::", "$port", seconds=4),
           "F 7: binds of IPv6 are moved",
           {"got": lambda got: got != b"hello"}, {"got": b"hello"}, alone=True),
    better("wrap-static", PLACE, seccomp(static), "F 7: static programs too (section 10, wish 20)",
           {"got": lambda got: got != b"hello"},
           {"got": b"hello"}, alone=True),
    better("wrap-unix-listen", PLACE, carried("--unix-listen=$place/sock", "--", PYTHON, "echo.py", "127.0.0.1", "{port}",
           unix=True, seconds=4),
           "F 7: no crash with a Unix listener", {"got": lambda got: got != b"hello"}, {"got": b"hello"}, alone=True),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)
