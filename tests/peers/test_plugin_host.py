"""The host of Python plugins by itself: its workers, how many there are, and what becomes of those that end or are of no use."""

import contextlib
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest
from support import ROOT, children, surroundings, until

pytestmark = pytest.mark.usefixtures("ours")

START = "import os, sys; questions = os.fdopen(os.dup(0), 'rb'); exec(sys.argv[2]); exec(open(sys.argv[1]).read())"
READY = {"ready": True, "by": "token"}
# A system that refuses any process while a file is there.
REFUSING = """
own = os.fork

def fork():
    if os.path.exists({!r}):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return own()

os.fork = fork
"""
REFUSAL = "cannot start a process of the class: [Errno 11] Resource temporarily unavailable"
# A Python whose way to the system's own functions is shut, as some sandboxes have it.
SHUT = """
class Shut:
    def find_spec(self, name, *_):
        if name == "ctypes":
            raise MemoryError(name)

sys.modules.pop("ctypes", None)
sys.meta_path.insert(0, Shut())
"""
CLASSES = """
    import fcntl
    import os
    import signal
    import socket
    import sys
    import time

    # What a module may do to all of its process.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    socket.setdefaulttimeout(0.01)

    class Sleeper:
        def __init__(self, source):
            pass

        def lookup(self, token):
            if token == "die":
                os.kill(os.getpid(), 9)
            time.sleep(float(token))
            return ("pid", os.getpid())

    class Exclusive(Sleeper):
        # There can be but one of these.
        def __init__(self, source):
            self.file = open(source, "w")
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    class Once(Sleeper):
        # As long as its mark is there, there has been one.
        def __init__(self, source):
            with open(source + ".tries", "a") as tries:
                tries.write(".")
            open(source, "x").close()

    class Deaf(Sleeper):
        def __init__(self, source):
            for number in signal.SIGTERM, signal.SIGHUP, signal.SIGINT:
                signal.signal(number, signal.SIG_IGN)

    class Slow(Sleeper):
        # The first is made at once, and all others take for ever.
        def __init__(self, source):
            if source is None or os.path.exists(source):
                time.sleep(600)
            open(source, "x").close()

    class Forking(Sleeper):
        def lookup(self, token):
            if os.fork() == 0:
                if token == "exit":
                    sys.exit()
                if token == "return":
                    return ("pid", 0)
                # Keeps what it has of this process open.
                time.sleep(float(token))
                os._exit(0)
            if token not in ("exit", "return"):
                os._exit(3)
            os.wait()
            return ("pid", os.getpid())
"""


class Asker:
    """The host and its one server."""

    def __init__(self, child):
        self.child = child

    def tell(self, *words):
        self.child.stdin.write("".join(json.dumps(word) + "\n" for word in words))
        self.child.stdin.flush()

    def said(self):
        return json.loads(self.child.stdout.readline())

    def asked(self, *tokens):
        """What is said of these tokens, asked at once, in their order."""
        self.tell(*({"id": number, "kind": "token", "token": token} for number, token in enumerate(tokens)))
        said = [self.said() for _ in tokens]
        return [word for _, word in sorted((word.pop("id"), str(word.popitem())) for word in said)]

    def workers(self):
        return len(children(self.child.pid))


def alive(pid):
    """Whether a process is there, and is more than what is left to be collected."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def hosted(module, tmp_path, name, source=None, first=READY, ended=0, before="", **changed):
    """The host with one of the classes; constants of it may be changed, and what is done before it begins."""
    host = tmp_path / "host.py"
    text = (ROOT / "src/plugin/host.py").read_text()
    for constant, value in changed.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"{constant} = "))
        text = text.replace(line, f"{constant} = {value}")
    host.write_text(text)
    hello = {"hello": {"concurrency": 4, "kind": "token", "name": f"desks.{name}", "source": source}}
    with subprocess.Popen([sys.executable, "-c", START, host, before], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=surroundings(module("desks", CLASSES))) as child:  # fmt: skip
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        asker = Asker(child)
        asker.tell(hello)
        assert asker.said() == first
        yield asker
        child.stdin.close()
        assert child.wait(10) == ended
        watchdog.cancel()


def test_there_are_as_many_workers_as_are_needed(module, tmp_path):
    with hosted(module, tmp_path, "Sleeper", REST=0.3) as host:
        assert host.workers() == 1
        assert len(set(host.asked(*["0.3"] * 12))) == 4, "no more at once than may be"
        until(lambda: host.workers() == 1, "the others go")
        died, other = host.asked("die", "0.1")
        assert "ended by signal 9" in died and "allow" in other
        assert len(set(host.asked("0", "0.2"))) <= 2


def test_a_class_that_can_be_made_once_is_asked_one_after_the_other(module, tmp_path):
    with hosted(module, tmp_path, "Exclusive", str(tmp_path / "lock")) as host:
        for burst in ["0.05"] * 6, ["0"] * 20:
            assert len(set(host.asked(*burst))) == 1, "all by the one that there is"
        assert "ended by signal 9" in host.asked("die")[0]
        assert "allow" in host.asked("0")[0], "there is another when it has gone"


@pytest.mark.parametrize("end", ["exit", "return"])
def test_what_a_class_has_forked_ends_where_it_would_have(module, tmp_path, end):
    with hosted(module, tmp_path, "Forking") as host:
        for _ in range(3):
            assert "'pid:0'" not in (said := host.asked(end)[0]) and "allow" in said
        assert host.workers() == 1


def test_a_process_that_has_gone_is_missed_at_once(module, tmp_path):
    with hosted(module, tmp_path, "Forking") as host:
        begun = time.monotonic()
        assert "ended with status 3" in host.asked("20")[0]
        assert time.monotonic() - begun < 10, "not when the last that has its pipe goes"


def test_no_worker_stays_behind_when_all_else_is_killed(module, tmp_path):
    with hosted(module, tmp_path, "Deaf", ended=-9) as host:
        host.tell({"id": 0, "kind": "token", "token": "600"}, {"id": 1, "kind": "token", "token": "600"})
        until(lambda: host.workers() == 2, "both are asked")
        workers = children(host.child.pid)
        host.child.kill()
        until(lambda: not any(alive(worker) for worker in workers), "they go as well")


def test_a_class_that_cannot_be_made_again_is_tried_now_and_then(module, tmp_path):
    with hosted(module, tmp_path, "Once", str(tmp_path / "made"), REFUSED=0.3) as host:
        assert "ended by signal 9" in host.asked("die")[0]
        host.tell({"id": 0, "kind": "token", "token": "0"})
        tries = tmp_path / "made.tries"
        until(lambda: tries.exists() and tries.stat().st_size >= 3, "it is tried")
        (tmp_path / "made").unlink()
        assert "allow" in host.said()
        # Once at first, and then no sooner than every third of a second: far fewer than a process can be started.
        assert tries.stat().st_size < 100


def test_a_python_without_a_way_to_the_system_does(module, tmp_path):
    with hosted(module, tmp_path, "Sleeper", before=SHUT) as host:
        assert "allow" in host.asked("0")[0]


def test_a_first_process_that_is_refused_is_told_with_its_cause(module, tmp_path):
    full = tmp_path / "full"
    full.touch()
    with hosted(module, tmp_path, "Sleeper", first={"error": REFUSAL}, before=REFUSING.format(str(full))) as host:
        assert host.child.wait(10) == 0, "it ends by itself"


def test_while_processes_are_refused_those_that_are_there_do_it(module, tmp_path, capfd):
    full, told = tmp_path / "full", []
    with hosted(module, tmp_path, "Sleeper", before=REFUSING.format(str(full)), REFUSED=0.1) as host:
        full.touch()

        def refused():
            told.extend(host.asked("0.1", "0.1", "0"))
            return REFUSAL in capfd.readouterr().err

        until(refused, "another one is tried")
        assert len(set(told)) == 1 and "allow" in told[0], "by the one that there is"
        # That one goes, and the next is refused as well.
        assert "ended by signal 9" in host.asked("die")[0]
        capfd.readouterr()
        host.tell({"id": 0, "kind": "token", "token": "0"})
        until(lambda: REFUSAL in capfd.readouterr().err, "it is tried")
        full.unlink()
        assert "allow" in host.said()
        until(lambda: len(set(host.asked("0.5", "0.5"))) == 2, "it is as before")


def test_a_process_that_takes_too_long_to_be_made_is_given_up(module, tmp_path, capfd):
    told, why = [], "cannot start another process of the class: it took longer than 4 s"
    with hosted(module, tmp_path, "Slow", str(tmp_path / "made"), MAKING=4) as host:

        def given_up():
            told.extend(host.asked("0.5", "0.5"))
            return why in capfd.readouterr().err

        until(given_up, "another one is tried")
        until(lambda: host.workers() == 1, "it goes")
        assert len(set(told)) == 1 and "allow" in told[0], "all by the one that there is"


def test_a_first_process_that_takes_too_long_to_be_made_is_told(module, tmp_path):
    with hosted(module, tmp_path, "Slow", first={"error": "it took longer than 1 s"}, MAKING=1) as host:
        assert host.child.wait(10) == 0, "it ends by itself"
