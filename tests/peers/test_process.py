"""The process beside Python's websockify: the same words on both, given by a supervisor, a script or an administrator."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from support import BINARY, OURS, Process, free_port, until
from websockets.sync.client import connect


def words(engine, *more):
    """The server under test with these words, as a command."""
    return [BINARY, *(["--engine", engine] if OURS else []), *more]


def says_hello(port):
    """Whether a session to an echo target works."""
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as session:
        session.send(b"hello")
        assert session.recv(timeout=10) == b"hello"


def listener():
    """A listening socket of the loopback, as inetd has them."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", 0))
    listening.listen(16)
    return listening


class Lent(Process):
    """The server with a socket as its standard input."""

    def __init__(self, command, lent):
        # What a process here reads from is put in place before this runs.
        super().__init__(command, preexec_fn=lambda: os.dup2(lent.fileno(), 0))


def test_inetd_hands_over_its_listener(engine, keep, target):
    with listener() as lent:
        server = keep(Lent(words(engine, "--inetd", target("echo").address), lent))
        server.wait_for("Listen for inetd connections")
        server.wait_for("proxying from inetd to")
        port = lent.getsockname()[1]
        says_hello(port)
        assert server.end() == 0
        if OURS:
            # It was only lent: the next server goes on with it.
            again = keep(Lent(words(engine, "--inetd", target("echo").address), lent))
            again.wait_for("proxying from inetd to")
            says_hello(port)


def test_inetd_hands_over_one_client(ours, engine, keep, target):
    with listener() as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
        with far:
            server = keep(Lent(words(engine, "--inetd", target("echo").address), far))
        with connect("ws://127.0.0.1/", sock=near, proxy=None) as session:
            session.send(b"hello")
            assert session.recv(timeout=10) == b"hello"
        assert server.child.wait(10) == 0, "it ends with its client"


def daemon_pid(port):
    """Whoever listens on this port."""
    found = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    pids = {int(pid) for pid in re.findall(r"pid=(\d+)", found)}
    return pids.pop() if len(pids) == 1 else None


def ends(pid):
    """Ends a process that is nobody's child, and sees that it has gone."""
    os.kill(pid, signal.SIGTERM)

    def gone():
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    until(gone, f"process {pid} ends")


def test_a_daemon_serves_and_logs(engine, place, target):
    port, log = free_port(), place / "own.log"
    command = words(engine, "-D", "--log-file", "own.log", f"127.0.0.1:{port}", target("echo").address)
    said = subprocess.run([str(word) for word in command], cwd=place, capture_output=True, text=True, timeout=20, check=False)
    assert said.returncode == 0
    pid = until(lambda: daemon_pid(port), "somebody listens")
    try:
        says_hello(port)
        until(lambda: re.search(r"proxying from 127\.0\.0\.1:\d+ to ", log.read_text()), "the line that launchers wait for")
        assert "  - Backgrounding (daemon)\n" in log.read_text()
        for stream in range(3):
            assert os.readlink(f"/proc/{pid}/fd/{stream}") == "/dev/null" or not OURS
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
    finally:
        ends(pid)


def test_a_daemon_that_cannot_start_says_so(engine, target):
    """Better: websockify's starter ends with 0 although its daemon never serves."""
    with listener() as taken:
        port = taken.getsockname()[1]
        command = words(engine, "-D", f"127.0.0.1:{port}", target("echo").address)
        said = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20, cwd="/", check=False)
    assert re.search(r"Open(en)?ing socket failed: .*in use", said.stderr)
    assert said.returncode == (1 if OURS else 0)


@pytest.mark.parametrize("option", ["--timeout", "--idle-timeout"])
def test_a_time_that_has_passed(engine, keep, target, option):
    server = keep(Process(words(engine, option, "1", f"127.0.0.1:{free_port()}", target("echo").address)))
    _, line = server.wait_for(f"listener exit due to {option} 1$")
    assert server.child.wait(10) == 0
    assert OURS or line == f"listener exit due to {option} 1"


def test_one_session_and_no_more(engine, keep, target):
    port = free_port()
    server = keep(Process(words(engine, "--run-once", f"127.0.0.1:{port}", target("echo").address)))
    server.wait_for("proxying from")
    says_hello(port)
    server.wait_for(r"127\.0\.0\.1: exiting due to --run-once$")
    assert server.child.wait(10) == 0


# What a line looks like behind its priority, with and without --legacy-syslog.
FORMS = {
    (): r"1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ websockify \d+ - - (?P<text>.*)",
    ("--legacy-syslog",): r"websockify\[\d+\]: (?P<text>.*)",
}


@pytest.mark.parametrize("legacy", FORMS, ids=["rfc5424", "legacy"])
@pytest.mark.parametrize("kind", ["udp", "local"])
def test_syslog_has_one_form(engine, keep, target, place, wrapper, kind, legacy):
    """Byte for byte what websockify sends, for the lines that both have."""
    if kind == "udp":
        heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        heard.bind(("127.0.0.1", 0))
        server_word = "127.0.0.1:%d" % heard.getsockname()[1]
    else:
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server_word = str(place / "log")
        heard.bind(server_word)
    port, carried = free_port(), target("echo").address
    program = [wrapper] if OURS else [BINARY]
    with heard:
        heard.settimeout(10)
        keep(Process([*program, "--syslog", server_word, *legacy, f"127.0.0.1:{port}", carried]))
        expected = [
            "WebSocket server settings:",
            f"  - Listen on 127.0.0.1:{port}",
            "  - No SSL/TLS support (no cert file)",
            f"  - proxying from 127.0.0.1:{port} to {carried}",
        ]
        for text in expected:
            message = heard.recv(9000).decode()
            found = re.fullmatch(r"<14>" + FORMS[legacy], message)
            assert found and found["text"] == text, message


def test_idle_costs_nothing(ours, engine, keep):
    """Time limits are waited for, not looked after."""
    command = words(engine, "--timeout=3600", "--idle-timeout=3600", "--echo", f"127.0.0.1:{free_port()}")
    server = keep(Process(command))
    server.wait_for("proxying from")

    def switches():
        total = 0
        for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
        return total

    time.sleep(0.5)
    before = switches()
    time.sleep(2)
    assert switches() - before <= 4, "nobody woke up but now and then"
