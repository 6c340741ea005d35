"""Wrap mode with real programs: TigerVNC's launcher, a shell daemon, Python's web server on IPv6, a program of Go; and where
the system refuses the better way to move their ports."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from desktop import COLOUR, hexed
from rfb import desktop as rfb
from support import BINARY, Process, free_port, seccomp_refused, until
from test_start import refusing
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

WAYS = ["seccomp", "preload"]
# Displays to take, each once: a launcher tidies up behind its desktop some time after that has ended, and would take the lock
# and the socket of the next one on the same display with it.
DISPLAYS = iter(range(60, 99))
# What a container often forbids: Docker's own filter lets it pass only with CAP_SYS_PTRACE.
PIDFD_GETFD = 438
# One that everybody may run, which that of the tests need not be.
PYTHON = "/usr/bin/python3"

GO_SERVER = """package main
import ("io"; "net"; "os")
func main() {
	listener, err := net.Listen(os.Args[1], ":" + os.Args[2])
	if err != nil { println(err.Error()); os.Exit(9) }
	println("go listens on", listener.Addr().String())
	for {
		client, err := listener.Accept()
		if err != nil { os.Exit(9) }
		go func() { io.Copy(client, client); client.Close() }()
	}
}
"""


@pytest.fixture(params=WAYS)
def way(request, ours):
    """Each way to move a program in turn, where the system allows it."""
    if request.param == "seccomp" and seccomp_refused():
        pytest.skip(f"this machine refuses {seccomp_refused()}")
    return request.param


@pytest.fixture
def wrapped(engine, keep):
    """Starts the server on a port of its own around a command that is told that port."""

    def start(way, command, *options, **environment):
        port = free_port()
        words = [str(word).replace("PORT", str(port)) for word in command]
        server = keep(Process([BINARY, "-v", "--engine", engine, "--wrap-bind", way, *options, f"127.0.0.1:{port}", "--",
                               *words], **environment))  # fmt: skip
        server.port = port
        server.url = f"ws://127.0.0.1:{port}/"
        server.wait_for("proxying from")
        return server

    return start


def answered(server, say, seconds=10.0):
    """What comes first from the program behind the server, once it listens; until then clients are told that it does not."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with connect(server.url, proxy=None) as session:
                if say:
                    session.send(say)
                return session.recv(timeout=seconds)
        except ConnectionClosed:
            assert time.monotonic() < deadline, server.said()
            time.sleep(0.05)


def test_vncserver(way, wrapped, place):
    """The classic: its launcher leaves a desktop behind. A client sees its pixels and types into a terminal on it; it
    outlives the server and ends by its own command."""
    session = place / "session"
    display = next(number for number in DISPLAYS if not os.path.exists(f"/tmp/.X{number}-lock"))
    terminal = f"xterm -bg '{hexed(COLOUR)}' -geometry 100x40+0+0 -e sh -c 'touch ready; exec sh'"
    session.write_text(f"#!/bin/sh\ncd {place}\nexec {terminal}\n")
    session.chmod(0o755)
    environment = {**os.environ, "HOME": str(place), "XDG_RUNTIME_DIR": str(place), "ENV": "", "PS1": "$ "}
    server = wrapped(way, ["vncserver", "-SecurityTypes", "None", "-localhost", "yes", "-rfbport", "PORT", "-geometry",
                           "800x600", "-xstartup", session, f":{display}"], "--wrap-mode=ignore", env=environment)  # fmt: skip
    try:
        server.wait_for(r"Wrapped command exited \(or daemon\)\. Returned 0", 30)
        until((place / "ready").exists, "the terminal is there")
        with rfb(server.url, proxy=None) as client:
            assert client.size == [800, 600]
            until(lambda: client.pixels(COLOUR) > 100_000, "the terminal is seen")
            client.point(150, 150)
            client.type("touch typed\n")
            until((place / "typed").exists, "what was typed has run")
        new = int(server.wait_for(r"\(port \d+\)")[1].rpartition("(port ")[2].rstrip(")"))
        assert server.end() == 0
        with socket.create_connection(("127.0.0.1", new), 10) as desktop:
            assert desktop.recv(12) == b"RFB 003.008\n", "the desktop is still there"
    finally:
        end_desktop(display)


def end_desktop(display):
    """Ends the X server of a display, whose lock file names it, and waits until it has gone."""
    lock = f"/tmp/.X{display}-lock"
    with open(lock, encoding="ascii") as held:
        process = int(held.read())
    os.kill(process, 15)
    until(lambda: not os.path.exists(lock), "the desktop ends")


def test_a_shell_daemon_comes_back(way, wrapped):
    """A daemon of one session, as telnetd -debug is: it ends with its client and is started again for the next."""
    server = wrapped(way, ["socat", "TCP4-LISTEN:PORT,reuseaddr", "EXEC:sh"], "--wrap-mode=respawn")
    for turn in range(3):
        assert answered(server, b"echo turn $((40 + 2))\n") == b"turn 42\n", turn
        until(lambda count=turn + 1: server.said().count("Returned 0") == count, "it ends with its client")
    assert server.said().count("Starting 'socat") >= 3


def test_python_on_ipv6(way, wrapped, place):
    """A server on all interfaces of both families, which would otherwise share the port with ours or take it."""
    (place / "hello").write_text("hello from IPv6")
    server = wrapped(way, [sys.executable, "-u", "-m", "http.server", "--bind", "::", "--directory", place, "PORT"])
    answer = b""
    answered(server, b"GET / HTTP/1.0\r\n\r\n")
    with connect(server.url, proxy=None) as session:
        session.send(b"GET /hello HTTP/1.0\r\n\r\n")
        for part in session:
            answer += part
    assert answer.startswith(b"HTTP/1.0 200") and answer.endswith(b"hello from IPv6")
    assert server.end() == 0


@pytest.mark.parametrize("network", ["tcp", "tcp4", "tcp6"])
def test_a_program_of_go(ours, wrapped, place, network):
    """It makes its system calls itself, so only the outside can move it; and its threads are interrupted all the time."""
    if seccomp_refused():
        pytest.skip(f"this machine refuses {seccomp_refused()}")
    (place / "server.go").write_text(GO_SERVER)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(place / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", place / "server", place / "server.go"], env=environment, check=True, timeout=300)
    server = wrapped("auto", [place / "server", network, "PORT"])
    assert "bind=seccomp" in server.said()
    assert answered(server, b"through Go") == b"through Go"


def test_all_are_told_at_once(ours, wrapped):
    """A terminal and a service manager send their signal to the program too, whose end is then no failure."""
    for sign in (signal.SIGTERM, signal.SIGINT) * 3:
        server = wrapped("auto", [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "PORT"])
        answered(server, b"GET / HTTP/1.0\r\n\r\n")
        os.killpg(server.pid, sign)
        assert server.child.wait(10) == 0, server.said()


def test_where_sockets_cannot_be_taken(ours, engine, keep):
    """As in a container: the server says why, and uses its library instead."""
    if seccomp_refused():
        pytest.skip(f"this machine refuses {seccomp_refused()} by itself")
    port = free_port()
    program = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", port]
    server = keep(Process([BINARY, "-v", "--engine", engine, f"127.0.0.1:{port}", "--", *program],
                          preexec_fn=refusing(errno.EPERM, PIDFD_GETFD)))  # fmt: skip
    server.wait_for("wrap bind=preload instead of seccomp: pidfd_getfd: Operation not permitted")
    server.url = f"ws://127.0.0.1:{port}/"
    assert answered(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")
    forced = subprocess.run([BINARY, "--wrap-bind=seccomp", "127.0.0.1:0", "--", "true"], capture_output=True, text=True,
                            check=False, timeout=20, preexec_fn=refusing(errno.EPERM, PIDFD_GETFD))  # fmt: skip
    assert forced.returncode == 1
    assert "option --wrap-bind: seccomp: pidfd_getfd: Operation not permitted; use auto" in forced.stderr


def test_as_a_plain_user(way, engine, place):
    """Without root's privileges: the filter costs the tree the right to gain others, and everything else works."""
    if os.geteuid() != 0:
        pytest.skip("this user cannot become somebody else; only root can")
    port = free_port()
    shutil.copy(BINARY, place / "websplice")
    place.chmod(0o755)
    script = f"grep NoNewPrivs /proc/self/status >&2; exec {PYTHON} -u -m http.server --bind :: {port}"
    server = Process(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", place / "websplice", "-v", "--engine",
                      engine, "--wrap-bind", way, f"127.0.0.1:{port}", "--", "sh", "-c", script],
                     cwd="/", env={"PATH": "/usr/bin:/bin"})  # fmt: skip
    try:
        server.wait_for("proxying from")
        server.url = f"ws://127.0.0.1:{port}/"
        assert answered(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")
        server.wait_for(r"NoNewPrivs:\s*" + ("1" if way == "seccomp" else "0"))
        if way == "seccomp":
            server.wait_for("wrap bind=seccomp no_new_privs=yes")
    finally:
        assert server.end() == 0
