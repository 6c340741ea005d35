"""What the tests against real programs share: starting the server under test and its neighbours, and watching them.

WEBSPLICE_BIN names the server; it defaults to the release build. Any program with websockify's command line will do:
with Python's websockify in its place the tests themselves are tested, with smaller amounts and without our own options.
"""

import contextlib
import ctypes
import functools
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target"
BINARY = pathlib.Path(os.environ.get("WEBSPLICE_BIN", BUILT / "release/websplice")).absolute()
OURS = BINARY.name != "websockify"
ENGINES = ["ring", "poll"] if OURS else ["theirs"]
SYS_IO_URING_SETUP = 425
# What user notification of seccomp takes, the same on every architecture but Alpha; but for SYS_SECCOMP.
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
SYS_SECCOMP = 277 if platform.machine() == "aarch64" else 317
SECCOMP_GET_ACTION_AVAIL, SECCOMP_RET_USER_NOTIF = 2, 0x7FC00000
# How the reasons begin for which a test may be left out.
EXCUSES = ("this machine refuses", "this machine has no", "this user cannot", *(() if OURS else ("only our own server",)))
KIB, MIB, GIB = 1024, 1024**2, 1024**3
# A WebSocket client that does nothing which a test does not ask for, and has a deadline.
PLAIN = {"compression": None, "proxy": None, "ping_interval": None, "open_timeout": 30}
# Who runs this may ignore it, as nohup does, and programs that are started inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def free_port():
    """A TCP port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, seconds=20.0):
    """Waits until the condition gives something true, and returns that; for things that raise no event of their own."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


@functools.cache
def ring_refused():
    """The errno with which this machine refuses io_uring, or 0."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)
    descriptor = libc.syscall(SYS_IO_URING_SETUP, 4, parameters)
    if descriptor < 0:
        return ctypes.get_errno()
    os.close(descriptor)
    return 0


@functools.cache
def seccomp_refused():
    """Why this machine cannot show the calls of a program to another (what moves the ports of wrapped ones), or nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    notified = ctypes.c_uint32(SECCOMP_RET_USER_NOTIF)
    if libc.syscall(SYS_SECCOMP, SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(notified)) < 0:
        return f"seccomp with user notification: {os.strerror(ctypes.get_errno())}"
    own = libc.syscall(SYS_PIDFD_OPEN, os.getpid(), 0)
    taken = libc.syscall(SYS_PIDFD_GETFD, own, 2, 0) if own >= 0 else -1
    why = os.strerror(ctypes.get_errno())
    for descriptor in (own, taken):
        if descriptor >= 0:
            os.close(descriptor)
    return "" if taken >= 0 else f"pidfd_getfd: {why}"


def skipped(report):
    """Why a test was skipped, or None if it was not."""
    return report.longrepr[2].removeprefix("Skipped: ") if report.skipped and isinstance(report.longrepr, tuple) else None


def without_excuse(report):
    """Fails a report that skips for anything but what this machine's kernel, or the user of the tests, cannot do: a program
    that is missing is a mistake of scripts/setup-test.sh, and a test that nobody runs shows nothing."""
    reason = skipped(report)
    if reason is not None and not reason.startswith(EXCUSES):
        report.outcome = "failed"
        report.longrepr = f"skipped without an excuse: {reason}; excuses begin with {EXCUSES}"
    return report


class Process:
    """A program of its own process group, whose standard error is read as it comes.

    Unless it is given a directory, it starts in an empty one of its own, which goes with it: what lies about where the tests
    are started, such as a self.pem, changes nothing. So all paths that it is given are absolute.
    """

    def __init__(self, command, cwd=None, **options):
        self.place = None if cwd else tempfile.TemporaryDirectory(prefix="websplice-process-")
        self.started = time.monotonic()
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        self.child = self._spawn([str(word) for word in command], cwd=cwd or self.place.name, **options)
        self.pid = self.child.pid
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _spawn(self, command, **options):
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
                                **options)  # fmt: skip

    def _read(self):
        for line in self.child.stderr:
            with self.news:
                self.lines.append((time.monotonic() - self.started, line.rstrip("\n")))
                self.news.notify_all()
        with self.news:
            self.lines.append((time.monotonic() - self.started, "(end of output)"))
            self.news.notify_all()

    def said(self):
        """Everything it wrote on standard error."""
        with self.news:
            return "\n".join(line for _, line in self.lines)

    def wait_for(self, pattern, seconds=10.0):
        """Waits for a line that the pattern finds; returns its time since the start in seconds, and the line."""
        seen = re.compile(pattern, re.IGNORECASE)
        with self.news:
            self.news.wait_for(lambda: any(seen.search(line) for _, line in self.lines) or self._ended(), seconds)
            hit = next(((when, line) for when, line in self.lines if seen.search(line)), None)
        assert hit, f"no line like {pattern!r} within {seconds} s in:\n{self.said()}"
        return hit

    def _ended(self):
        return bool(self.lines) and self.lines[-1][1] == "(end of output)"

    def group(self):
        """Ids of all living processes of its group, itself included."""
        members = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit():
                    fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == self.pid and fields[0] != "Z":
                        members.append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return members

    def has_ring(self):
        """Whether any process of its group has an io_uring."""
        held = []
        for member in self.group():
            for entry in pathlib.Path(f"/proc/{member}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    held.append(os.readlink(entry))
        return any("io_uring" in link for link in held)

    def resident(self):
        """Resident bytes of the whole group."""
        total = 0
        for member in self.group():
            try:
                status = pathlib.Path(f"/proc/{member}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmRSS:"))
        return total

    def peak(self):
        """The most resident bytes that the program itself, without children, ever had."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmHWM:"))

    def end(self, sign=signal.SIGTERM, seconds=15.0):
        """Asks it to leave, insists after a while, and returns its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(sign)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._sweep()

    def _sweep(self):
        if self.group():
            os.killpg(self.pid, signal.SIGKILL)
            until(lambda: not self.group(), "the group is gone")
        self.child.wait()
        self.reader.join(5)
        self.child.stderr.close()
        if self.place:
            self.place.cleanup()


class Bridge(Process):
    """The server under test, listening on a loopback port."""

    def __init__(self, *words, engine=None, target=None, **options):
        self.port = free_port()
        ours = ["--engine", engine] if OURS and engine else []
        positionals = [f"127.0.0.1:{self.port}"] + ([target] if target else [])
        super().__init__([BINARY, *ours, *words, *positionals], **options)

    def ready(self):
        """Waits until it accepts."""
        until(self._accepts, "the server accepts")
        assert self.child.poll() is None, self.said()
        return self

    def _accepts(self):
        if self.child.poll() is not None:
            self.reader.join(5)
            raise AssertionError(f"the server left with {self.child.returncode}:\n{self.said()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def url(self, path="", scheme="http"):
        """An address of this server."""
        return f"{scheme}://127.0.0.1:{self.port}/{path}"


class Target(Process):
    """One of the targets of targets.py, in a process of its own, on a loopback port."""

    def __init__(self, *words):
        super().__init__([sys.executable, HERE / "targets.py", *words])
        _, line = self.wait_for(r"listening on \d+")
        self.port = int(line.split()[-1])
        self.address = f"127.0.0.1:{self.port}"


# An upgrade as curl sends it.
UPGRADE = ["-H", "Upgrade: websocket", "-H", "Connection: Upgrade", "-H", "Sec-WebSocket-Version: 13",
           "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]  # fmt: skip


def children(pid):
    """The processes that this one has started."""
    return set(subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split())


def ask(server, path="", *words, scheme="http", upgrade=True):
    """Status and headers of a request by curl; an upgrade is given up as soon as it is answered."""
    command = ["curl", "--silent", "--http1.1", "--dump-header", "-", "--output", "/dev/null", "--max-time", "10",
               *(UPGRADE if upgrade else []), *words, server.url(path, scheme=scheme)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        head = []
        for line in client.stdout:
            if not line.strip():
                break
            head.append(line.strip())
        client.kill()
    assert head, "no answer"
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return int(head[0].split()[1]), headers


def status(server, path="", **options):
    """What a WebSocket client hears: 101 if something went there and back, else the status."""
    try:
        with connect(server.url(path, "ws"), **PLAIN, **options) as session:
            session.send(b"there and back")
            assert session.recv(timeout=30) == b"there and back"
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


def surroundings(modules):
    """An environment with the Python of the tests first in PATH, which finds these modules."""
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(modules)}
