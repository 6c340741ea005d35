"""How the server starts: the line that launchers wait for, and what it does where the kernel refuses io_uring."""

import ctypes
import errno
import os
import struct
import subprocess
import sys
import urllib.request

import pytest
from support import BINARY, OURS, ROOT, SYS_IO_URING_SETUP, Bridge, Process, free_port
from websockets.sync.client import connect

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000


# What io_uring needs of the kernel, by name and number (the same on every architecture but Alpha).
CALLS = {"io_uring_setup": SYS_IO_URING_SETUP, "io_uring_enter": 426, "io_uring_register": 427}


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def refusing(number, call=SYS_IO_URING_SETUP):
    """What a child runs before it becomes the server: a seccomp filter that answers this call with this errno."""
    steps = [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, call), (RETURN, 0, 0, RET_ERRNO | number),
             (RETURN, 0, 0, RET_ALLOW)]  # fmt: skip
    text = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    # The text holds zero bytes, so it is handed over as a buffer; it has to outlive this function.
    buffer = ctypes.create_string_buffer(text, len(text))
    program = Program(len(steps), ctypes.cast(buffer, ctypes.c_char_p))

    def install():
        held = buffer
        assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0, held

    return install


def within_200_ms(start):
    """Starts a server and returns when its line came, in seconds; a machine that was busy gets two more chances."""
    times = [start()]
    while OURS and min(times) >= 0.2 and len(times) < 3:
        times.append(start())
    assert min(times) < 0.2 or not OURS, f"the line came after {[f'{when * 1000:.0f} ms' for when in times]}"


def test_the_line_that_launchers_wait_for(engine, keep, target):
    """Open OnDemand greps standard error for it, and for no other sign of life."""
    carried = target("echo")

    def start():
        server = keep(Bridge(engine=engine, target=carried.address))
        return server.wait_for(rf"proxying from 127\.0\.0\.1:{server.port} to {carried.address}")[0]

    within_200_ms(start)


def test_the_line_without_a_host(engine, keep):
    engine_words = ["--engine", engine] if OURS else []

    def start():
        port = free_port()
        server = keep(Process([BINARY, *engine_words, port, "localhost:5901"]))
        return server.wait_for(f"proxying from :{port} to localhost:5901")[0]

    within_200_ms(start)


def test_what_lies_about_changes_nothing(ours, engine, keep, monkeypatch, tmp_path):
    """A server of these tests sees nothing of the directory they are started in: not even a self.pem that nobody can read."""
    (tmp_path / "self.pem").write_text("no certificate\n")
    broken = keep(Process([BINARY, "--engine", engine, "--echo", "127.0.0.1:0"], cwd=tmp_path))
    assert broken.child.wait(10) == 1, "such a file is taken up where a server starts"
    broken.wait_for("self.pem")
    monkeypatch.chdir(tmp_path)
    server = keep(Bridge("--echo", engine=engine)).ready()
    assert os.listdir(f"/proc/{server.pid}/cwd") == []
    says_hello(server)


def says_hello(server):
    """Whether a session works."""
    with connect(server.url(scheme="ws"), proxy=None) as session:
        session.send(b"hello")
        assert session.recv(timeout=10) == b"hello"


def test_the_filter_of_this_test_refuses():
    """Without this, a filter that does nothing would make the tests below pass for the wrong reason."""
    probe = "import ctypes, sys; l = ctypes.CDLL(None, use_errno=True); " \
            "assert l.syscall(int(sys.argv[1]), -1, 0, 0, 0, 0, 0) < 0; print(ctypes.get_errno(), file=sys.stderr)"  # fmt: skip
    for call in CALLS.values():
        for number in (errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.ENOMEM, errno.EMFILE):
            process = Process([sys.executable, "-c", probe, call], preexec_fn=refusing(number, call))
            process.wait_for(f"^{number}$")
            process.end()


@pytest.mark.parametrize("name", ["EPERM", "ENOSYS", "EINVAL"])
def test_auto_falls_back_once_and_says_why(ours, keep, target, name):
    server = Bridge("--engine", "auto", target=target("echo").address, preexec_fn=refusing(getattr(errno, name)))
    keep(server).ready()
    _, line = server.wait_for(f"io_uring_setup.*{name}")
    told = [line for _, line in server.lines if "engine=poll instead of ring: io_uring_setup: " in line]
    assert told == [line] and " warn " in line, "once for all shards, in the log"
    if name == "EPERM":
        assert "Seccomp: 2" in line and "io_uring_disabled" in line, "the evidence"
        assert "seccomp" in line.partition("->")[2], "the remedy"
    says_hello(server)


@pytest.mark.parametrize("call", CALLS)
def test_each_call_may_be_forbidden_alone(ours, keep, target, call):
    """A profile that allows only some of what io_uring needs is one that does not allow io_uring."""
    forbid = refusing(errno.EPERM, CALLS[call])
    server = keep(Bridge("--engine", "auto", target=target("echo").address, preexec_fn=forbid)).ready()
    _, line = server.wait_for("engine=poll instead of ring: .*EPERM")
    assert "Seccomp: 2" in line and call in line.partition("->")[2], "the evidence and the remedy"
    says_hello(server)
    strict = keep(Bridge("--engine", "ring", target="127.0.0.1:1", preexec_fn=forbid))
    strict.wait_for("--engine ring: .*EPERM")
    assert strict.child.wait(10) == 1
    assert "panicked" not in strict.said()


@pytest.mark.parametrize("name", ["EPERM", "ENOSYS", "EINVAL"])
def test_ring_refuses_to_start(ours, keep, name):
    server = keep(Bridge("--engine", "ring", target="127.0.0.1:1", preexec_fn=refusing(getattr(errno, name))))
    server.wait_for(f"io_uring_setup.*{name}")
    assert server.child.wait(10) == 1
    assert "panicked" not in server.said()


@pytest.mark.parametrize("name", ["ENOMEM", "EMFILE"])
def test_a_shortage_is_no_reason_to_fall_back(ours, keep, name):
    server = keep(Bridge("--engine", "auto", target="127.0.0.1:1", preexec_fn=refusing(getattr(errno, name))))
    server.wait_for(f"io_uring_setup: {name}: .*raise the limits")
    assert server.child.wait(10) == 1


def test_debug_information_is_kept_apart(ours):
    """The program is small, and whoever has a core dump finds what belongs to it in the file beside it."""
    sections = [subprocess.run(["readelf", "-SW", file], capture_output=True, text=True, check=True).stdout
                for file in (BINARY, BINARY.with_suffix(".dwp"))]  # fmt: skip
    assert ".debug_info" not in sections[0] and ".symtab" not in sections[0]
    assert ".debug_info.dwo" in sections[1]


def test_each_address_of_a_name_is_tried(ours, engine, keep, target, place):
    """With a hosts file of its own, in which a name has an address that refuses before the one that does not."""
    carried = target("echo")
    port = carried.address.rpartition(":")[2]
    (place / "hosts").write_text("127.0.0.1 two-homed\n::1 two-homed\n")
    inside = f'mount --bind "{place}/hosts" /etc/hosts && exec "$0" "$@"'
    probe = subprocess.run(["unshare", "--mount", "sh", "-c", f"{inside}", "getent", "ahosts", "two-homed"],
                           capture_output=True, text=True, check=False)  # fmt: skip
    if probe.returncode != 0:
        pytest.skip(f"this machine refuses a mount namespace of its own: {probe.stderr.strip()}")
    assert probe.stdout.startswith("::1"), "the address that refuses comes first"
    listen = free_port()
    words = [BINARY, "--engine", engine, f"127.0.0.1:{listen}", f"two-homed:{port}"]
    server = keep(Process(["unshare", "--mount", "sh", "-c", inside, *words]))
    server.wait_for("proxying from")
    with connect(f"ws://127.0.0.1:{listen}/", proxy=None) as session:
        session.send(b"hello")
        assert session.recv(timeout=10) == b"hello"


def test_the_demo_shows_a_desktop(ours, engine, wrapper, keep):
    """`make demo-vnc` up to the browser: the page it names is there, and behind its WebSocket a VNC server speaks."""
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "WEBSPLICE_BIN": str(wrapper)}
    demo = keep(Process(["sh", "-c", 'exec "$0" >&2', ROOT / "scripts/demo-vnc.sh"], env=environment))
    url = demo.wait_for("Your desktop: http")[1].split()[-1]
    assert demo.has_ring() == (engine == "ring")
    with urllib.request.urlopen(url, timeout=10) as page:
        assert page.status == 200 and b"noVNC" in page.read()
    with connect(f"ws://127.0.0.1:{port}/websockify", subprotocols=["binary"], proxy=None) as session:
        assert session.recv(timeout=10).startswith(b"RFB 003.008")


def test_an_address_in_use_is_told_in_one_line(ours, engine, keep, bridge):
    first = bridge(target="127.0.0.1:1")
    second = keep(Process([BINARY, "--engine", engine, f"127.0.0.1:{first.port}", "127.0.0.1:1"]))
    assert second.child.wait(10) == 1
    second.wait_for("in use")


def test_a_signal_ends_it_with_success(ours, bridge, target):
    server = bridge(target=target("echo").address)
    with connect(server.url(scheme="ws"), proxy=None) as session:
        session.send(b"hello")
        assert session.recv(timeout=10) == b"hello"
        server.child.terminate()
        for _ in session:
            pass
        assert session.close_code == 1001
    assert server.child.wait(10) == 0
