"""The process: in the background, its log files, syslog, letters of traffic, and what it says about sessions."""

import os
import pathlib
import re
import signal
import socket

from harness import Echo, Group, better, files, has, same
from services import keep
from support import until
from test_tls import NAME, context, pair
from wire import BINARY, PING, Seen, close, closing, frame, request, upgrade


def group(name, *words, **more):
    """A group of one server."""
    return Group(f"process-{name}", words, **{"target": Echo, **more})


PLAIN = group("plain", "--web=$place/web", setup=files({"web/text.txt": "text", "tokens": "x: 127.0.0.1:1\n"}))
VERBOSE = group("verbose", "-v", "--web=$place/web", setup=files({"web/text.txt": "text"}))
TRAFFIC = group("traffic", "--traffic")
LOG = group("log", "--log-file=$place/log", "--web=$place/web", setup=files({"web/x": "x"}))
LOG_RELATIVE = group("log-relative", "--log-file=log", "--web=$place/web", setup=files({"web/x": "x"}))


TLS6 = group("tls6", "--cert=$both", setup=pair, listen="[::1]:$port")


class Syslog:
    """A syslog server on a datagram socket; `lines` is what came."""

    def __init__(self, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.port = None if path else self.socket.getsockname()[1]
        self.lines = []

    def wait_for(self, pattern):
        """The first line that the pattern finds, or None."""
        seen = re.compile(pattern.encode())
        while True:
            hit = next((line for line in self.lines if seen.search(line)), None)
            if hit:
                return hit.decode(errors="replace")
            try:
                self.lines.append(self.socket.recv(65536))
            except TimeoutError:
                return None

    def end(self):
        """Ends it."""
        self.socket.close()


def local_syslog(half):
    """A syslog on a local socket."""
    half.syslog = keep(half, Syslog(half.place / "syslog"))


def udp_syslog(half):
    """A syslog over UDP."""
    half.syslog = keep(half, Syslog())
    half.note["syslog"] = half.syslog.port


SYSLOG = group("syslog", "--syslog=$place/syslog", setup=local_syslog)
SYSLOG_OLD = group("syslog-old", "--syslog=$place/syslog", "--legacy-syslog", setup=local_syslog)
SYSLOG_UDP = group("syslog-udp", "--syslog=127.0.0.1:$syslog", setup=udp_syslog)
SYSLOG_UDP_OLD = group("syslog-udp-old", "--syslog=127.0.0.1:$syslog", "--legacy-syslog", setup=udp_syslog)
SYSLOG_DAEMON = group("syslog-daemon", "-D", "--syslog=$place/syslog", setup=local_syslog)
SYSLOG_UDP_DAEMON = group("syslog-udp-daemon", "-D", "--syslog=127.0.0.1:$syslog", setup=udp_syslog)


def talk(half, path="/", *lines):
    """A session with an echo."""
    with half.connect() as client:
        code = client.send(upgrade(path, *lines)).answer().code
        got = client.send(frame(BINARY, b"hello")).frame()
        client.send(close(1000, "bye"))
        return Seen(code=code, got=got, close=closing(client.frame()[1]), rest=client.rest())


def talk_tls(half):
    """A session over TLS and IPv6."""
    with half.connect(context(), NAME, socket.AF_INET6) as client:
        client.send(upgrade()).answer()
        client.send(frame(BINARY, b"hello")).frame()
        client.send(close(1000)).frame()


def listener(port):
    """The process that listens on a port of the loopback, or None."""
    inodes = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].partition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and any(os.readlink(fd) in inodes for fd in (entry / "fd").iterdir()):
                return int(entry.name)
        except OSError:
            continue
    return None


def settled(half):
    """The daemon, once it listens and has let go of the standard streams: before that it may be a process on its way out."""

    def pid():
        found = listener(half.port)
        try:
            streams = {os.readlink(f"/proc/{found}/fd/{number}") for number in range(3)} if found else set()
        except OSError:
            return None
        return found if streams == {"/dev/null"} else None

    return until(pid, "the daemon listens, with nothing but /dev/null", 30)


def gone(pid):
    """Whether a process has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def stop(half, sign=signal.SIGKILL):
    """Ends the daemon of a half, if there is one."""
    pid = listener(half.port)
    if pid:
        os.kill(pid, sign)
        until(lambda: gone(pid), "the daemon has ended", 30)
    return pid


def daemon(*words, look=lambda half, pid: {}, tokens=False):
    """A server in the background: the status of what was started, a session with it, and how it ends on SIGTERM."""

    def do(half):
        where = ["127.0.0.1:$port"] + ([] if tokens else ["127.0.0.1:$target"])
        half.note["_end"] = [*half.note.get("_end", []), lambda: stop(half)]
        run = half.start("-D", *words, *where)
        status = run.child.wait(20)
        if status:
            return Seen(status=status)
        pid = settled(half)
        seen = Seen(status=status, detached=pid != run.pid and os.getsid(pid) != run.pid, **look(half, pid))
        if not tokens:
            seen |= talk(half)
        os.kill(pid, signal.SIGTERM)
        until(lambda: gone(pid), "the daemon has ended", 30)
        return seen

    return do


def facts(half, pid):
    """Directory, session and standard streams of a daemon."""
    streams = {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)}
    return {"streams": streams, "leader": os.getsid(pid) == os.getpgid(pid), "parent": parent(pid) != os.getpid()}


def parent(pid):
    """The parent of a process."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def umask(half, pid):
    """The umask of a daemon."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {"umask": int(re.search(r"Umask:\s*(\d+)", status)[1], 8)}


def proxying(half, pid):
    """The line that says that clients can connect, in the log file."""
    until(lambda: "proxying from" in (half.place / "log").read_text(), "the line is in the file")
    lines = [half.blank(line) for line in (half.place / "log").read_text().splitlines()]
    return {"lines": lines}


def recorded(half, pid):
    """The mode of a recording."""
    talk(half)
    path = until(lambda: next(half.place.glob("rec.*"), None), "there is a recording")
    return {"mode": oct(path.stat().st_mode & 0o777)}


def relative_token(half, pid):
    """A session with a token of a file that was named relatively."""
    with half.connect() as client:
        return {"code": client.send(upgrade("/?token=x")).answer().code}


def fails(*words, before=None):
    """A start in the background that fails: the status of what was started, and what it said."""

    def do(half):
        half.note["_end"] = [*half.note.get("_end", []), lambda: stop(half)]
        run = half.start("-D", *words)
        status = run.child.wait(20)
        run.wait_for(r"\(end of output\)")
        return Seen(status=status, said=half.blank(run.said()))

    return do


def log_file(half):
    """What is in the log file behind a session, and whether standard error has it too."""
    talk(half, "/logged")
    path = half.place / "log"
    until(lambda: "/logged" in path.read_text(), "the session is in the file")
    lines = [half.blank(line) for line in path.read_text().splitlines()]
    return Seen(lines=lines, also=half.server.since(0, "/logged") is not None)


def appended(half):
    """A log file that is there already."""
    (half.place / "log").write_text("before\n")
    half.serve()
    until(lambda: "proxying from" in (half.place / "log").read_text(), "the line is in the file")
    return Seen(first=(half.place / "log").read_text().splitlines()[0])


def log_at(name):
    """Whether a log file is where its relative name says."""

    def do(half):
        half.serve()
        return Seen(there=until(lambda: (half.place / name).exists(), "the file is there"),
            web=(half.place / "web" / name).exists())

    return do


def log_nowhere(half):
    """A log file in a directory that is not there."""
    run = half.start("--log-file=$place/absent/log", "127.0.0.1:$port", "127.0.0.1:$target")
    run.wait_for(r"proxying from|\(end of output\)", 30)
    return Seen(status=run.child.wait(20), said=half.blank(run.said()))


def rotated(half):
    """A log file that is moved away, then SIGHUP: where the next session is noted; only ours survives the signal."""
    half.serve()
    (half.place / "log").rename(half.place / "log.1")
    half.server.tell(signal.SIGHUP)
    if half.name == "theirs":
        return Seen(status=half.server.child.wait(20))
    until(lambda: (half.place / "log").exists(), "the file is there again")
    talk(half, "/rotated")
    until(lambda: "/rotated" in (half.place / "log").read_text(), "the session is in the new file")
    return Seen(fresh=True)


def letters(*pieces):
    """What --traffic prints for a session of these pieces, each echoed."""

    def do(half):
        half.serve()
        with half.connect() as client:
            client.send(upgrade()).answer()
            for piece in pieces:
                client.send(piece)
                client.frame()
            client.send(close(1000))
            client.rest()

        def printed():
            # The letter for what a client was sent may follow it.
            seen = re.sub(r"[^{}<>.]", "", half.server.output().rpartition("\n")[2])
            return seen if seen.count("<") >= sum(piece[0] & 15 == BINARY for piece in pieces) else None

        return Seen(letters=until(printed, "letters are printed", 5), all=half.server.output())

    return do


def says(work, pattern, ours=None):
    """A line that is logged for something; `ours` is what is looked for in ours."""

    def do(half):
        mark = half.server.mark()
        work(half)
        # Theirs either says it at once or never.
        line = half.server.since(mark, pattern if half.name == "theirs" or not ours else ours, half.patience(6))
        return Seen(line=half.blank(line or ""))

    return do


def get(path):
    """A request for a page."""

    def do(half):
        with half.connect() as client:
            client.send(request(path)).answer()

    return do


def send(half, data):
    """A request, and whatever is answered."""
    with half.connect() as client:
        client.send(data).answer()


def to_syslog(pattern):
    """A line of the start that comes to the syslog."""

    def do(half):
        half.serve()
        line = half.syslog.wait_for(pattern)
        return Seen(line=line and half.blank(line), also="proxying from" in half.server.said())

    return do


def daemon_syslog(pattern):
    """The same of a server in the background."""

    def do(half):
        half.note["_end"] = [*half.note.get("_end", []), lambda: stop(half)]
        run = half.start(*half.group.words, "127.0.0.1:$port", "127.0.0.1:$target")
        status = run.child.wait(20)
        if status:
            return Seen(status=status)
        pid = settled(half)
        for _ in range(2):
            talk(half)
        line = half.syslog.wait_for(pattern)
        os.kill(pid, signal.SIGTERM)
        until(lambda: gone(pid), "the daemon has ended", 30)
        return Seen(status=status, line=line and half.blank(line))

    return do


RFC = r"<{}>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z \S+ websockify \d+ - - {}"
OLD = r"<{}>websockify\[\d+\]: {}"
LINE = "proxying from HERE to 127.0.0.1:TARGET"
USER_INFO, DAEMON_INFO = 8 + 6, 24 + 6
NULL = {"/dev/null"}
ROWS = [
    # In the background.
    same("daemon", PLAIN, daemon(look=facts), alone=True, status=0, detached=True, code=101, close="1000 bye", parent=True),
    same("daemon-streams", PLAIN, daemon(look=facts), alone=True, streams=NULL),
    same("daemon-web", PLAIN, daemon("--web=$place/web"), alone=True, status=0, code=101),
    same("daemon-log-file", PLAIN, daemon("--log-file=$place/log", look=proxying), alone=True, status=0,
         lines=has("  - Backgrounding (daemon)", f"  - {LINE}")),
    same("daemon-log-file-relative", PLAIN, daemon("--log-file=log", look=proxying), alone=True, status=0,
           lines=has(f"  - {LINE}")),
    better("daemon-umask", PLAIN, daemon(look=umask), "F 8.3: the umask is kept sane", {"umask": 0},
           {"umask": lambda mask: mask == umask(None, "self")["umask"]},
           alone=True),
    better("daemon-record-mode", PLAIN, daemon("--record=$place/rec", look=recorded), "F 5: recordings are their owner's",
           {"mode": "0o666"}, {"mode": "0o600"}, alone=True),
    better("daemon-relative-token-source", PLAIN, daemon("--token-plugin=TokenFile", "--token-source=tokens",
           look=relative_token, tokens=True),
           "F 1.3: relative to where it was started", {"code": 0}, {"code": 101}, alone=True),
    better("daemon-port-taken", PLAIN, fails("127.0.0.1:$target", "127.0.0.1:$target"), "F 8.3: a start that fails is seen",
           {"status": 0}, {"status": 1, "said": has("127.0.0.1:TARGET")}, alone=True),
    better("daemon-bad-certificate", PLAIN, fails("--cert=$place/tokens", "127.0.0.1:$port", "127.0.0.1:$target"),
           "F 8.3: a start that fails is seen", {"status": 0}, {"status": 1, "said": has("PLACE/tokens")}, alone=True),
    # Log files.
    same("log-file", LOG, log_file, lines=has(f"  - {LINE}", "WebSocket server settings:"), also=True),
    same("log-file-appended", LOG, appended, alone=True, first="before"),
    same("log-file-relative", LOG_RELATIVE, log_at("log"), alone=True, there=True, web=False),
    better("log-file-nowhere", PLAIN, log_nowhere, "F 1.1: one clear line", {"status": 1, "said": has("Traceback")},
           {"status": 1, "said": has("--log-file", "PLACE/absent")}, alone=True),
    better("log-file-rotated", LOG, rotated, "F 8.2: reopened on SIGHUP", {"status": -1}, {"fresh": True}, alone=True),
    # Syslog.
    same("syslog-local", SYSLOG, to_syslog("proxying from"), alone=True, also=True,
           line=re.compile(RFC.format(USER_INFO, f"  - {LINE}"))),
    same("syslog-local-legacy", SYSLOG_OLD, to_syslog("proxying from"), alone=True,
           line=re.compile(OLD.format(USER_INFO, f"  - {LINE}") + r"\0?")),
    same("syslog-udp", SYSLOG_UDP, to_syslog("proxying from"), alone=True,
           line=re.compile(RFC.format(USER_INFO, f"  - {LINE}"))),
    same("syslog-udp-legacy", SYSLOG_UDP_OLD, to_syslog("proxying from"), alone=True,
           line=re.compile(OLD.format(USER_INFO, f"  - {LINE}") + r"\0?")),
    same("syslog-local-daemon", SYSLOG_DAEMON, daemon_syslog("Backgrounding"), alone=True, status=0,
         line=re.compile(RFC.format(DAEMON_INFO, r"  - Backgrounding \(daemon\)"))),
    better("syslog-local-daemon-proxying", SYSLOG_DAEMON, daemon_syslog("proxying from"),
           "F 8.3: logging goes on without a gap",
           {"status": 0, "line": None}, {"status": 0, "line": re.compile(RFC.format(DAEMON_INFO, f"  - {LINE}"))}, alone=True),
    better("syslog-udp-daemon", SYSLOG_UDP_DAEMON, daemon_syslog("proxying from"), "F 8.3: logging over UDP goes on",
           {"status": 0, "line": None},
           {"status": 0, "line": re.compile(RFC.format(DAEMON_INFO, f"  - {LINE}"))}, alone=True),
    # Letters.
    same("traffic", TRAFFIC, letters(frame(BINARY, b"x")), alone=True, letters=re.compile(r"\}>\{<.*")),
    same("traffic-twice", TRAFFIC, letters(frame(BINARY, b"x"), frame(BINARY, b"y")), alone=True,
           letters=re.compile(r"\}>\{<\}>\{<.*")),
    same("traffic-ping", TRAFFIC, letters(frame(PING, b"x")), alone=True, letters=re.compile(r"\}\..*")),
    # Lines.
    better("says-session", PLAIN, says(lambda half: talk(half, "/where?x=1"), "Plain non-SSL", "open id="),
           "F 6.2: with time, peer and session",
           {"line": has("127.0.0.1: Plain non-SSL (ws://) WebSocket connection")},
               {"line": has("client=127.0.0.1:", 'path="/where')}),
    better("says-target", PLAIN, says(talk, "connecting to:", "open id="), "F 6.2: with time, peer and session",
           {"line": has("connecting to: 127.0.0.1:TARGET")}, {"line": has('target="127.0.0.1:TARGET"')}),
    better("says-path-escaped", PLAIN, says(lambda half: send(half, upgrade("/a\x1b[31mb")), "Path: ", "http id="),
           "F 6.2: control characters are escaped",
           {"line": has("\x1b[31m")},
           {"line": lambda line: "status=400" in line and "\x1b" not in line}),
    better("says-end", PLAIN, says(talk, "Client closed connection", "end=client_closed"),
           "F 6.2: a line at the end of each session",
           {"line": ""}, {"line": has("in_bytes=5", "out_bytes=5", "duration=", "close=1000")}),
    better("says-tls", TLS6, says(talk_tls, "WebSocket connection", "end=client_closed"), "F 6.2: TLS is told, on IPv6 too",
           {"line": has("Plain non-SSL (ws://) WebSocket connection")}, {"line": has("tls=TLSv1.3,")}),
    better("says-404", PLAIN, says(get("/absent"), "code 404", "status=404"), "F 6.2: with time and peer",
           {"line": has("code 404, message File not found")}, {"line": has("status=404", "client=127.0.0.1:")}),
    better("says-request-verbose", VERBOSE, says(get("/text.txt"), '"GET /text.txt HTTP/1.1" 200', "status=200"),
           "F 6.2: with time and peer",
           {"line": has('"GET /text.txt HTTP/1.1" 200 -')}, {"line": has('request="GET /text.txt"', "status=200")}),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

