"""Recordings: what was carried is what Node reads from the file; numbers, names, modes, and files that cannot be made."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from harness import OURS, Group, Hand, better, same
from support import until
from wire import BINARY, CONTINUATION, PING, Seen, close, frame, request, upgrade

ALL = bytes(range(256))
READER = """
const text = require("fs").readFileSync(process.argv[1], "latin1");
new Function(text + "; globalThis.frames = VNC_frame_data;")();
console.log(JSON.stringify(frames));
"""
ENTRY = re.compile(r"([{}])(\d+)\1(.*)", re.DOTALL)


def read(path):
    """The entries of a recording as Node reads them: direction, milliseconds, bytes; the last must be EOF."""
    node = shutil.which("node")
    assert node, "node is missing: run scripts/setup-test.sh"
    done = subprocess.run([node, "-e", READER, path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    *frames, last = json.loads(done.stdout)
    assert last == "EOF", last
    return [(sign, int(when), text.encode("latin-1")) for sign, when,
        text in (ENTRY.fullmatch(frame).groups() for frame in frames)]


def carried(entries):
    """The bytes of each direction, and whether the times only grow."""
    times = [when for _, when, _ in entries]
    return Seen(down=b"".join(data for sign, _, data in entries if sign == "{"),
                up=b"".join(data for sign, _, data in entries if sign == "}"), ordered=times == sorted(times),
                early=all(when < 20_000 for when in times), messages=sum(sign == "}" for sign, _, _ in entries))  # fmt: skip


def converse(half, *steps):
    """A session of these steps: what a client sends (`<`), what a target sends (`>`), both waited for; closed at the end."""
    with half.connect() as client:
        assert client.send(upgrade()).answer().code == 101
        target = half.target.take()
        for way, data, length in steps:
            if way == "<":
                client.send(data)
                target.take(length)
            else:
                target.send(data)
                assert client.data(length) == data
        client.send(close(1000, "bye"))
        assert client.farewell()["close"] == "1000 bye"
        target.rest()
        target.end()
        client.rest()


def recordings(half, count=1):
    """The recordings in the half's directory, once there are so many and each is finished."""
    def finished():
        paths = sorted(half.place.glob("rec.*"), key=lambda path: int(path.name.rpartition(".")[2]))
        return paths if len(paths) >= count and all(path.read_bytes().endswith(b"'EOF'];\n") for path in paths) else None

    return until(finished, "the recordings are finished", 10)


def sessions(*all_steps, between=None):
    """Sessions of these steps in a fresh server, and what their recordings say; `between` is done before each."""

    def do(half):
        half.serve()
        for steps in all_steps:
            if between:
                between(half)
            converse(half, *steps)
        paths = recordings(half, len(all_steps))
        text = paths[-1].read_bytes()
        return Seen(carried(read(paths[-1])), names=[path.name for path in paths], ascii=text.isascii(),
                    begin=text[:25], mode=oct(paths[-1].stat().st_mode & 0o777), lines=text.count(b"\n"))  # fmt: skip

    return do


def plain(half):
    """A request for a page."""
    with half.connect() as client:
        assert client.send(request("/", "Connection: close")).answer().code == 405
        client.rest()


def again(half):
    """A session, then another in a server that was started again."""
    half.serve()
    converse(half, ("<", frame(BINARY, b"first"), 5))
    recordings(half)
    half.server.end()
    half.serve()
    converse(half, ("<", frame(BINARY, b"second"), 6))
    until(lambda: b"second" in (half.place / "rec.1").read_bytes(), "the file is written again")
    return Seen(names=[path.name for path in recordings(half)], up=carried(read(half.place / "rec.1"))["up"])


# What a script may look like at any moment: its last line may be hidden behind the end, as a comment.
WHOLE = re.compile(rb"var VNC_frame_data = \[\n(?:'(?:[^'\\\n]|\\.)*',[\n ]|/\*[^*]*\*/[\n ])*+'EOF'\](?:;\n|//[^\n]*\n?)")


def halted(server):
    """Whether all threads of a process that was told to stop have done so."""
    tasks = pathlib.Path(f"/proc/{server.pid}/task").iterdir()
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


def at_any_moment(half):
    """What is in the file while a session runs, looked at 150 times; the server stands still meanwhile, because who reads a
    file while it is written sees what was never in it. The first that is no whole script, and how often it was another one."""
    half.serve()
    torn, lengths, sent = None, set(), b""
    with half.connect() as client:
        assert client.send(upgrade()).answer().code == 101
        target = half.target.take()
        path = until(lambda: next(half.place.glob("rec.*"), None), "there is a file")
        for turn in range(150):
            # Some lines stay within a page, others fill many.
            size = 1 + turn % 37
            target.send(ALL * size)
            client.send(frame(BINARY, b"up" * size))
            # A little later each time, so that every part of the writing is met.
            time.sleep(turn % 15 / 5_000)
            if half.name == OURS:
                half.server.child.send_signal(signal.SIGSTOP)
                until(lambda: halted(half.server), "the server stands still")
            text = path.read_bytes()
            half.server.child.send_signal(signal.SIGCONT)
            lengths.add(len(text))
            if torn is None and not WHOLE.fullmatch(text):
                torn = text[-40:]
            client.data(256 * size)
            sent += target.take(2 * size)
        target.end()
        client.farewell()
    up = carried(read(recordings(half)[0]))["up"]
    return Seen(torn=torn, lengths=len(lengths), all=up == sent)


def no_directory(half):
    """A directory that is not there: at start, or what becomes of a session."""
    half.server = run = half.start(*half.group.words, "127.0.0.1:$port", "127.0.0.1:$target")
    run.wait_for(r"proxying from|\(end of output\)", 30)
    said = run.said()
    if "proxying from" not in said:
        return Seen(starts=False, status=run.child.wait(20), said=half.blank(said))
    with half.connect() as client:
        code = client.send(upgrade()).answer().code
        return Seen(client.farewell(), starts=True, code=code)


def banner(half):
    """What is said about recording at start and at a session."""
    half.serve()
    converse(half, ("<", frame(BINARY, b"x"), 1))
    lines = [half.blank(line) for line in half.server.said().splitlines()]
    return Seen(banner="  - Recording to 'PLACE/rec.*'" in lines,
        opening=any("opening record file: PLACE/rec.1" in line for line in lines))


def record(name, *words, **more):
    """A group that records."""
    return Group(f"record-{name}", words or ("--record=$place/rec",), target=Hand, **more)


HERE = record("here")
RELATIVE = record("relative", "--record=rec", "--web=$place/web", setup=lambda half: os.mkdir(half.place / "web"))
MISSING = record("missing", "--record=$place/absent/rec")
TEXT = b"it's a \\ back\\slash, {braces} }and{ \"quotes\"\t\r\n"
FRAGMENTS = frame(BINARY, b"one", fin=False) + frame(PING, b"between") + frame(CONTINUATION, b"two")
ROWS = [
    same("record-both-ways", HERE, sessions([(">", b"RFB 003.008\n", 12), ("<", frame(BINARY, b"RFB 003.008\n"), 12)]),
           alone=True,
         up=b"RFB 003.008\n", down=b"RFB 003.008\n", ordered=True, early=True, ascii=True,
             begin=b"var VNC_frame_data = [\n'{"[:25],
         names=["rec.1"], lines=4),
    same("record-all-bytes", HERE, sessions([(">", ALL * 3, 768), ("<", frame(BINARY, ALL * 2), 512)]), alone=True,
           down=ALL * 3,
         up=ALL * 2, ascii=True),
    same("record-escapes", HERE, sessions([(">", TEXT, len(TEXT)), ("<", frame(BINARY, TEXT), len(TEXT))]), alone=True,
           down=TEXT, up=TEXT,
         ascii=True, lines=4),
    same("record-much", HERE, sessions([(">", ALL * 4000, 1024000), ("<", frame(BINARY, ALL * 200), 51200)]), alone=True,
         down=ALL * 4000, up=ALL * 200, ordered=True),
    same("record-fragments", HERE, sessions([("<", FRAGMENTS, 6)]), alone=True, up=b"onetwo", down=b""),
    same("record-empty-message", HERE, sessions([("<", frame(BINARY) + frame(BINARY, b"x"), 1)]), alone=True, up=b"x",
           messages=2),
    same("record-controls-are-not", HERE, sessions([("<", frame(PING, b"ping!") + frame(BINARY, b"x"), 1)]), alone=True,
           up=b"x", down=b"",
         messages=1),
    same("record-numbers", HERE, sessions([("<", frame(BINARY, b"a"), 1)], [("<", frame(BINARY, b"b"), 1)]), alone=True,
         names=["rec.1", "rec.2"], up=b"b"),
    same("record-numbers-with-gaps", HERE, sessions([("<", frame(BINARY, b"a"), 1)], [("<", frame(BINARY, b"b"), 1)],
           between=plain), alone=True,
         names=["rec.2", "rec.4"], up=b"b"),
    same("record-restart", HERE, again, alone=True, names=["rec.1"], up=b"second"),
    same("record-relative-with-web", RELATIVE, sessions([("<", frame(BINARY, b"a"), 1)]), alone=True, names=["rec.1"], up=b"a"),
    better("record-mode", HERE, sessions([("<", frame(BINARY, b"a"), 1)]), "S W6: recordings are their owner's",
           {"mode": "0o644"},
           {"mode": "0o600"}, alone=True),
    better("record-valid-at-any-moment", HERE, at_any_moment, "F 9: valid before the end (defect 19)",
           {"torn": lambda torn: torn is not None, "all": True},
           {"torn": None, "lengths": lambda count: count > 20, "all": True}, alone=True),
    better("record-no-directory", MISSING, no_directory, "F 9: a missing directory is said at start (defect 19)",
           {"starts": True, "code": 101, "close": None}, {"starts": False, "status": 1,
               "said": lambda said: "PLACE/absent" in said}, alone=True),
    same("record-banner", HERE, banner, alone=True, banner=True),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)
