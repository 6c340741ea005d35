"""Two servers with equal arguments: Python's websockify and ours, each in a directory of its own with equal files.

A `Group` says how both are started; a `Half` is one of the two, running. A `Row` does the same to both halves and says what
each must answer: the same, or ours better by a rule of the reference, and then both behaviours are asserted.
"""

import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import string
import subprocess
import sys
import tempfile
import threading
import time

from loaded import Forked
from support import BINARY, Process, until
from wire import DEADLINE, Connection

HERE = pathlib.Path(__file__).resolve().parent
THEIRS, OURS = "theirs", "ours"
WANTED = {"theirs": (THEIRS,), "ours": (OURS,)}.get(os.environ.get("COMPAT_HALF", ""), (THEIRS, OURS))
SHOW = bool(os.environ.get("COMPAT_SHOW"))
PROGRAM = "websockify"
RULE = re.compile(r"[FMN] \d+(\.\d+)?: \w|S [HFAWPT]?\d+(\.\d+)?: \w")


# Ports to listen on: below those that the system gives to whoever connects, with a stretch for each process of the tests.
PORTS = range(10_240, 31_744, 1_344)
STRETCH = PORTS[int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "0"))) % len(PORTS)]
turns, turning = itertools.count(random.randrange(PORTS.step)), threading.Lock()


def free_port():
    """A port that nobody uses, and that was not given out a moment ago."""
    while True:
        with turning:
            port = STRETCH + next(turns) % PORTS.step
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                return port
            except OSError:
                continue


class Server(Process):
    """A process of either half; what it writes on standard output is kept in a file."""

    def __init__(self, half, words, *, program=PROGRAM, stdin=None, env=None):
        self.half = half
        self.printed = half.place / ".printed"
        command = [half.program(program), *words]
        with open(self.printed, "ab") as printed:
            super().__init__(command, cwd=half.place, stdin=stdin or subprocess.DEVNULL, stdout=printed,
                             env={**os.environ, **(env or {})})  # fmt: skip

    def _spawn(self, command, **options):
        # What is put in front of the C library only gets into a program that is really started.
        if self.half.name == OURS or "LD_PRELOAD" in options["env"]:
            return super()._spawn(command, **options)
        stdin = options["stdin"]
        with open(os.devnull, "rb") as nothing:
            first = nothing.fileno() if stdin == subprocess.DEVNULL else stdin.fileno()
            return Forked(command, options["cwd"], options["env"], [first, options["stdout"].fileno()])

    def mark(self):
        """How many lines there are by now."""
        with self.news:
            return len(self.lines)

    def since(self, mark, pattern, seconds=20.0):
        """Waits for a line behind the mark that the pattern finds, and returns it."""
        seen = re.compile(pattern)

        def hit():
            return next((line for _, line in self.lines[mark:] if seen.search(line)), None)

        with self.news:
            self.news.wait_for(lambda: hit() or self._ended(), seconds)
            return hit()

    def tell(self, sign):
        """Sends a signal once the program waits: one that hits Python in the middle of a log line may be lost."""
        until(lambda: self._state() in "SZ", "the program waits")
        self.child.send_signal(sign)

    def _state(self):
        return pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def output(self):
        """What it wrote on standard output so far."""
        return self.printed.read_text(errors="replace")


@dataclasses.dataclass(frozen=True)
class Group:
    """How a pair of servers is started. In words, `$place` is the half's directory, `$port` its port, `$target` the port of its
    target; each half has its own of each. `target` makes the target, `setup` the files. `listen` and `to` are the two words
    behind the options, empty for none. `ready` is the line to wait for. `ours` is what only our half is told, for a row about an
    option that theirs lacks."""

    name: str
    words: tuple = ()
    target: object = None
    setup: object = None
    listen: str = "127.0.0.1:$port"
    to: str = "127.0.0.1:$target"
    tail: tuple = ()
    ready: str = "proxying from"
    env: dict = dataclasses.field(default_factory=dict, hash=False)
    ours: tuple = ()


class Half:
    """One of the two servers of a group."""

    def __init__(self, name, group):
        self.name, self.group, self.kept = name, group, []
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="ws"))
        self.port, self.server, self.note = free_port(), None, {}
        self.target = None
        try:
            self.target = group.target() if group.target else None
            if group.setup:
                group.setup(self)
        except BaseException:
            self.end()
            raise

    def program(self, called):
        """The path of the program under the name it is called by; for theirs also a path, where it is not to be found beside
        what Debian puts around it."""
        if self.name == THEIRS:
            if "LD_PRELOAD" in self.group.env:
                return str(pathlib.Path(sys.executable).parent / called)
            return called if called.startswith("/") else f"/usr/bin/{called}"
        called = called.rpartition("/")[2]
        path = self.place / ".bin" / called
        path.parent.mkdir(exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(BINARY)
        return str(path)

    def fill(self, word):
        """A word with the half's own values in it."""
        target = getattr(self.target, "port", 1)
        return string.Template(str(word)).safe_substitute(place=self.place, port=self.port, target=target, **self.note)

    def blank(self, text):
        """A text with the half's own values taken out of it, so that both halves' can be compared."""
        text = text.replace(str(self.place), "PLACE").replace(f"127.0.0.1:{self.port}", "HERE")
        text = re.sub(rf"\b{self.port}\b", "PORT", text)
        return re.sub(rf"\b{self.target.port}\b", "TARGET", text) if self.target else text

    def patience(self, seconds):
        """How long to wait for what theirs never does: so long there, and until it is a failure here."""
        return seconds if self.name == THEIRS else DEADLINE

    def start(self, *words, **options):
        """Starts the program with these words; it ends with the half."""
        server = Server(self, [self.fill(word) for word in words], **options)
        self.kept.append(server)
        return server

    def serve(self):
        """Starts the server of the group and waits until it is ready."""
        group = self.group
        own = group.ours if self.name == OURS else ()
        words = [*group.words, *own, *(word for word in (group.listen, group.to) if word), *group.tail]
        self.server = self.start(*words, env={name: self.fill(value) for name, value in group.env.items()})
        if group.ready:
            self.server.wait_for(group.ready, 30)
        return self

    def connect(self, tls=None, name="gateway.test", family=socket.AF_INET):
        """A new connection to the server; with a context, over TLS."""
        host = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]
        stream = socket.create_connection((host, self.port), DEADLINE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(tls.wrap_socket(stream, server_hostname=name) if tls else stream)

    def connect_unix(self, path):
        """A new connection to a Unix socket in the half's directory."""
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(DEADLINE)
        stream.connect(str(self.place / path))
        return Connection(stream)

    def dismiss(self):
        """Asks all of its processes to leave, without waiting."""
        for process in self.kept:
            if process.child.poll() is None:
                process.child.send_signal(signal.SIGTERM)

    def end(self):
        """Ends everything of this half."""
        self.dismiss()
        for process in reversed(self.kept):
            process.end(seconds=5)
        if self.target:
            self.target.end()
        for thing in self.note.pop("_end", []):
            thing()
        shutil.rmtree(self.place, ignore_errors=True)


class Pairs:
    """Keeps the running halves of each group, and starts both of a group at once when the first row needs them."""

    def __init__(self):
        self.running = {}
        self.pool = concurrent.futures.ThreadPoolExecutor(8)

    def of(self, group, start=True):
        """Both halves of a group."""
        if group not in self.running:
            begin = (lambda half: half.serve()) if start else (lambda half: half)
            self.running[group] = halves = {name: Half(name, group) for name in WANTED}
            self.each(halves, begin)
        return self.running[group]

    def each(self, halves, work):
        """Does the same to both halves at the same time; what each came to, by name."""
        futures = {name: self.pool.submit(work, half) for name, half in halves.items()}
        concurrent.futures.wait(futures.values())
        results = {}
        for name, future in futures.items():
            try:
                results[name] = future.result()
            except BaseException as error:
                said = [line for process in halves[name].kept for line in process.said().splitlines()[-12:]]
                error.add_note("\n".join([f"With {name}, which said:", *said]))
                raise
        return results

    def end(self):
        """Ends all halves."""
        halves = {(name, id(group)): half for group, both in self.running.items() for name, half in both.items()}
        # All are told first: most of the time is theirs, and they may take it together.
        for half in halves.values():
            half.dismiss()
        self.each(halves, lambda half: half.end())
        self.running.clear()
        self.pool.shutdown()


def brief(value):
    """A value as it is shown: not longer than one cares to read."""
    text = repr(value)
    return text if len(text) < 400 else f"{text[:250]}...{text[-130:]}"


def fits(seen, wanted):
    """The first key at which what was seen is not as wanted, or None. Patterns must match whole, functions must agree."""
    for key, value in wanted.items():
        have = seen[key] if isinstance(seen, dict) else seen
        if isinstance(value, re.Pattern):
            text = have.decode("latin-1") if isinstance(have, bytes) else have
            right = isinstance(text, str) and value.fullmatch(text)
        else:
            right = value(have) if callable(value) else have == value
        if not right:
            return f"{key}: {brief(have)} is not {brief(getattr(value, 'pattern', value))}"
    return None


def shown(seen):
    """What was seen of each half."""
    return "\n".join(f"{name}: " + ", ".join(f"{key}={brief(value)}" for key, value in what.items()) for name,
        what in seen.items())


@dataclasses.dataclass
class Row:
    """One comparison: what is done to both halves, and what each must come to."""

    id: str
    group: Group
    do: object
    theirs: dict
    ours: dict
    rule: str = ""
    alone: bool = False

    @property
    def kind(self):
        """SAME or BETTER."""
        return "BETTER" if self.rule else "SAME"

    def judge(self, pairs):
        """Does it to both halves and compares."""
        if self.alone:
            halves = {name: Half(name, self.group) for name in WANTED}
        else:
            halves = pairs.of(self.group)
        try:
            seen = pairs.each(halves, self.do)
        finally:
            if self.alone:
                pairs.each(halves, lambda half: half.end())
        if SHOW:
            print(shown(seen))
        self.compare(seen)

    def compare(self, seen):
        """Judges what was seen."""
        for name, what in seen.items():
            wrong = fits(what, self.theirs if name == THEIRS else self.ours)
            assert not wrong, f"{self.id} ({self.kind} {self.rule}) {name}: {wrong}\n{shown(seen)}"
        if self.rule and THEIRS in seen:
            assert fits(seen[THEIRS], self.ours), f"{self.id}: they do it too, so nothing is better: {self.rule}"


def same(ident, group, do, alone=False, **wanted):
    """A row where both must do the same. Words of headers are written with `_` for `-`."""
    wanted = dashed(wanted)
    return Row(ident, group, do, wanted, wanted, alone=alone)


def better(ident, group, do, rule, theirs, ours, alone=False):
    """A row where ours does better, by a rule of the reference that begins with its kind and section: M is matched (where master
    and the release differ), F a defect mended, N free, S asked for by the rules of security, under their number."""
    assert RULE.match(rule), f"{ident}: a rule begins with its kind and section"
    return Row(ident, group, do, dashed(theirs), dashed(ours), rule, alone)


def dashed(wanted):
    """Header names as they are on the wire."""
    return {key.replace("_", "-"): value for key, value in wanted.items()}


def between(low, high):
    """A bucket of time."""
    return lambda value: value is not None and low <= value <= high


def has(*parts):
    """A text in which all of these are found."""
    return lambda value: value is not None and all(part in value for part in parts)


def lacks(*parts):
    """A text in which none of these is found."""
    return lambda value: value is not None and not any(part in value for part in parts)


class Hand:
    """A target that does what the test does: `take` gives the next connection."""

    def __init__(self, family=socket.AF_INET, where=("127.0.0.1", 0)):
        self.listener = socket.socket(family)
        self.listener.bind(where)
        self.listener.listen(64)
        self.listener.settimeout(DEADLINE)
        self.port = self.listener.getsockname()[1] if family != socket.AF_UNIX else 1

    def take(self):
        """The next connection."""
        stream, _ = self.listener.accept()
        stream.setblocking(True)
        return Connection(stream)

    def end(self):
        """Ends it."""
        self.listener.close()


class Echo(Hand):
    """A target that sends back what comes; with a context, over TLS. It greets with `greeting`."""

    def __init__(self, context=None, greeting=b"", **where):
        super().__init__(**where)
        self.context, self.greeting = context, greeting
        self.listener.settimeout(None)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(stream,), daemon=True).start()

    def _echo(self, stream):
        try:
            if self.context:
                stream = self.context.wrap_socket(stream, server_side=True)
            with stream:
                if self.greeting:
                    stream.sendall(self.greeting)
                while data := stream.recv(65536):
                    stream.sendall(data)
        except (OSError, ssl.SSLError):
            pass

    def end(self):
        """Ends it; an accept that waits is woken."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def files(tree):
    """A setup that writes this tree of files: names to text, bytes, a function of the half, or None for a directory."""

    def setup(half):
        for name, content in tree.items():
            path = half.place / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            content = content(half) if callable(content) else content
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return setup


def elapsed(work):
    """How long it took, in seconds, and what it came to."""
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result
