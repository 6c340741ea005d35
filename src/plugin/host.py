"""The host of plugins written in Python: loads one class and has its workers ask it what the server asks.

The class is one of websockify's own or made in their manner: it is made with its source, and has `lookup(token)` or
`authenticate(headers, target_host, target_port)`. It speaks the protocol of docs/plugins.md over the pipes it was started
with, which neither workers nor what the class starts inherit: `questions` is the one to read. What a class prints goes to the
log.

A worker is a process forked from this one once the module is loaded. It makes an instance of its own, says so, and then asks
it in its main thread, one question at a time, as each connection of websockify did: so a class may rely on threads, signals
and its own state as it could there. This process makes no instance and starts no thread, so that it can be forked at any time.
"""

import base64
import collections
import gc
import http.client
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
import warnings

try:
    import ctypes

    prctl = ctypes.CDLL(None).prctl
except Exception:
    # Systems other than Linux have none, and some Pythons no way to it, each in a manner of its own.
    prctl = None

# Made by what runs this.
questions = globals()["questions"]
answers = os.dup(1)
# A module may put something else in their place.
poll, fork, waitpid = select.poll, os.fork, os.waitpid
os.dup2(2, 1)
sys.stdout = open(1, "w", buffering=1, encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
# A module that starts a thread when it is loaded does what it did in websockify: the thread stays here.
warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)

# How long a line may be, in bytes with its end.
LINE = 64 * 1024
# How long a question waits for a worker that is busy before there is another one, in seconds: most answers take less, and a
# fork takes as long.
TURN = 0.002
# How long a worker is kept that is not needed, in seconds.
REST = 60
# How long nothing is forked once that has come to nothing, in seconds.
REFUSED = 1
# How long a worker may take until it is of use, in seconds.
MAKING = 10
# PR_SET_PDEATHSIG of linux/prctl.h.
SIGNAL_OF_PARENTS_END = 1


def write(descriptor, line):
    """Writes a line, whole."""
    while line:
        line = line[os.write(descriptor, line) :]


class Worker:
    """A process that asks the class."""

    def __init__(self, pid, told, tells):
        # Pipes, to which the module has no say: it may have its way with sockets, such as a time-out for all.
        self.pid, self.told, self.tells = pid, told, tells
        # The question it was asked, and what it has said of it so far.
        self.asked, self.said = None, b""
        # It has made its instance.
        self.made = False
        # Since when it has had nothing to do, or has been there.
        self.since = time.monotonic()
        # How it ended, once that is known.
        self.status = None


class Host:
    """Hands questions to workers and their answers to the server."""

    def __init__(self, most, work):
        self.most, self.work = most, work
        self.workers = {}
        # Whoever answered last is asked first, so that those stay idle who are not needed.
        self.idle = []
        # Questions and when they came; the server has a bound for them.
        self.waiting = collections.deque()
        self.heard = b""
        self.ready = False
        # The one that is not of use yet: one at a time, so that those who are get their due.
        self.newcomer = None
        self.hire_after = 0
        self.poll = poll()
        self.poll.register(questions, select.POLLIN)
        # The end of a worker is a signal: what the worker has started may hold its pipes open for longer.
        self.ended, self.wake = os.pipe()
        os.set_blocking(self.ended, False)
        os.set_blocking(self.wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake)
        self.poll.register(self.ended, select.POLLIN)

    def run(self):
        """Works until the end of what is asked."""
        self.hire()
        while True:
            for descriptor, _ in self.poll.poll(self.patience()):
                if descriptor == questions.fileno():
                    self.take()
                elif descriptor == self.ended:
                    self.collect()
                elif descriptor in self.workers:
                    self.hear(self.workers[descriptor])
            self.hand_out()

    def patience(self):
        """How long there is nothing to do but to listen, in milliseconds."""
        if self.newcomer:
            until = self.newcomer.since + MAKING
        elif self.waiting and self.ready and len(self.workers) < self.most:
            until = max(self.waiting[0][0] + TURN, self.hire_after)
        elif len(self.idle) > 1:
            until = self.idle[0].since + REST
        else:
            return None
        return max(0, until - time.monotonic()) * 1000

    def take(self):
        """Takes what the server asks."""
        data = os.read(questions.fileno(), LINE)
        if not data:
            self.end()
        *lines, self.heard = (self.heard + data).split(b"\n")
        now = time.monotonic()
        self.waiting.extend((now, line + b"\n") for line in lines)

    def hand_out(self):
        """Has questions asked that wait, and sees to it that there are as many workers as are needed."""
        while self.waiting and self.idle:
            worker = self.idle.pop()
            try:
                write(worker.told, self.waiting[0][1])
            except OSError:
                # It ended while it had nothing to do, say by an alarm: another one is asked.
                self.gone(worker)
                continue
            worker.asked = self.waiting.popleft()[1]
        now = time.monotonic()
        if self.newcomer:
            if self.newcomer.since + MAKING <= now:
                self.refuse("it took longer than %d s" % MAKING)
        elif self.waiting and self.ready and len(self.workers) < self.most:
            if now >= max(self.waiting[0][0] + TURN, self.hire_after):
                self.hire()
        elif len(self.idle) > 1 and self.idle[0].since + REST <= now:
            self.gone(self.idle[0])

    def refuse(self, why):
        """The newcomer is of no use, and goes."""
        newcomer, self.newcomer = self.newcomer, None
        self.gone(newcomer)
        self.refused(why)

    def refused(self, why):
        """There is no newcomer: those that are there do without, or there is nobody."""
        self.newcomer = None
        if not self.ready:
            self.say(json.dumps({"error": why}).encode() + b"\n")
            self.end()
        print("cannot start another process of the class: %s" % why, file=sys.stderr)
        # Where nobody is left, nothing else can be done than to try again.
        self.hire_after = time.monotonic() + (REST if self.workers else REFUSED)

    def hire(self):
        """Begins with another worker, unless the system refuses."""
        opened, own = [], os.getpid()
        try:
            opened += os.pipe()
            opened += os.pipe()
            pid = fork()
        except OSError as error:
            for descriptor in opened:
                os.close(descriptor)
            why = "cannot start a process of the class: %s" % error
            if not self.ready:
                self.say(json.dumps({"error": why}).encode() + b"\n")
                self.end()
            print(why, file=sys.stderr)
            self.hire_after = time.monotonic() + REFUSED
            return
        asked, told, tells, says = opened
        if pid == 0:
            try:
                follow(own)
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for worker in self.workers.values():
                    os.close(worker.told)
                    os.close(worker.tells)
                for descriptor in (told, tells, answers, self.ended, self.wake):
                    os.close(descriptor)
                questions.close()
                self.work(os.fdopen(asked, "rb"), says)
            except BaseException:
                traceback.print_exc()
            leave(1)
        os.close(asked)
        os.close(says)
        self.newcomer = self.workers[tells] = Worker(pid, told, tells)
        self.poll.register(tells, select.POLLIN)

    def hear(self, worker):
        """Takes what a worker says: first whether it is of any use, then answers."""
        data = os.read(worker.tells, LINE)
        if not data:
            self.gone(worker)
            return
        worker.said += data
        if not worker.said.endswith(b"\n"):
            return
        said, worker.said = worker.said, b""
        if worker.made and not worker.asked:
            # Nobody asked it: a process that it has left behind uses its pipe.
            return
        if worker.made:
            self.say(said)
        elif "error" in json.loads(said):
            self.refuse(json.loads(said)["error"])
            return
        else:
            if not self.ready:
                self.say(said)
            self.ready, self.newcomer = True, None
        worker.made, worker.asked, worker.since = True, None, time.monotonic()
        self.idle.append(worker)

    def collect(self):
        """Looks who has ended."""
        try:
            while os.read(self.ended, 512):
                pass
        except BlockingIOError:
            pass
        for worker in list(self.workers.values()):
            ended, status = waitpid(worker.pid, os.WNOHANG)
            if ended:
                worker.status = status
                # What it has said before is heard.
                last = poll()
                last.register(worker.tells, select.POLLIN)
                if last.poll(0):
                    self.hear(worker)
                if worker.tells in self.workers:
                    self.gone(worker)

    def gone(self, worker):
        """A worker has ended, or is to."""
        self.poll.unregister(worker.tells)
        del self.workers[worker.tells]
        os.close(worker.told)
        os.close(worker.tells)
        if worker in self.idle:
            self.idle.remove(worker)
        if not self.workers:
            # Who was in the way of another one is not any more.
            self.hire_after = 0
        if worker.status is None:
            # It may have done no more than close what it had open.
            os.kill(worker.pid, signal.SIGKILL)
            _, worker.status = waitpid(worker.pid, 0)
        by_signal = os.WIFSIGNALED(worker.status)
        number = os.WTERMSIG(worker.status) if by_signal else os.WEXITSTATUS(worker.status)
        why = "the process of the class ended %s %d" % ("by signal" if by_signal else "with status", number)
        if worker.asked:
            # The number of a question is its first member.
            self.say(worker.asked.partition(b",")[0] + b',"error":' + json.dumps(why).encode() + b"}\n")
        elif worker is self.newcomer:
            self.refused(why)

    def say(self, line):
        """Tells the server a line."""
        try:
            write(answers, line)
        except OSError:
            self.end()

    def end(self):
        """Ends all of it. A class that still waits for something holds nobody up."""
        for worker in self.workers.values():
            if worker.status is None:
                os.kill(worker.pid, signal.SIGKILL)
                waitpid(worker.pid, 0)
        leave(0)


def follow(parent):
    """Has this process killed when its parent ends: one that is killed cannot tell a class that heeds nothing to end."""
    if prctl:
        prctl(SIGNAL_OF_PARENTS_END, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)


def leave(status):
    """Ends this process, with all that it has printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status)


def text(value):
    """A part of a target, as text. Sockets take None for this machine."""
    return value.decode() if isinstance(value, bytes) else "" if value is None else str(value)


def lookup(plugin, question):
    """What a token stands for."""
    found = plugin.lookup(question["token"])
    if not found:
        return {"deny": {}}
    host, port = (text(part) for part in found)
    if host == "unix_socket" and port.startswith("\0"):
        # The abstract namespace, as sockets are told it.
        port = "@" + port[1:]
    return {"allow": {"target": "%s:%s" % (host, port)}}


def authenticate(plugin, question):
    """Whether a request may pass."""
    headers = http.client.HTTPMessage()
    for name, value in question["headers"]:
        headers[name] = value
    certified = (question["tls"] or {}).get("cn")
    if certified:
        headers["SSL_CLIENT_S_DN_CN"] = certified
    target = question["target"] or {}
    host, port = target.get("host"), target.get("port")
    if "unix" in target:
        host, port = "unix_socket", target["unix"]
    try:
        plugin.authenticate(headers=headers, target_host=host, target_port=port)
    except Exception as error:
        denied = denial(error)
        if denied is None:
            raise
        return {"deny": denied}
    return {"allow": {}}


def first(error, *names):
    """The first of these attributes that says something."""
    return next((getattr(error, name) for name in names if getattr(error, name, None)), None)


def denial(error):
    """What websockify's AuthenticationError, or one made in its manner, says; None for all others.

    Others have codes too, which are those of somebody else's answer. So have some of that name, which have no code.
    """
    if not any(kind.__name__ == "AuthenticationError" for kind in type(error).__mro__):
        return None
    code = first(error, "code", "response_code", "status")
    if not isinstance(code, int):
        return None
    headers = first(error, "headers", "response_headers") or {}
    reason = first(error, "msg", "response_msg", "message")
    return {
        "status": code if 300 <= code <= 599 and code != 304 else 403,
        "reason": None if reason is None else " ".join(str(reason).split()),
        "headers": [[str(name), str(value)] for name, value in dict(headers).items()],
    }


def pair(value):
    """What the value of an Authorization header holds: what follows the scheme, and user and password behind that."""
    _, _, rest = value.partition(" ")
    try:
        plain = base64.b64decode(rest)
    except ValueError:
        return [rest]
    texts = {plain.decode(errors="replace"), plain.decode("latin-1")}
    return [rest, *texts, *(text.partition(":")[2] for text in texts)]


def secrets(question, source):
    """What must not be told: tokens and passwords, longest first, since one may be a part of another."""
    told = [value for name, value in question.get("headers", []) if name.lower() in ("authorization", "cookie")]
    for name, value in question.get("headers", []):
        if name.lower() == "authorization":
            told += pair(value)
    told += question.get("cookies", {}).values()
    for values in question.get("params", {}).values():
        told += values
    # What is shorter is part of everything, and no secret.
    told = {value for value in (question["token"], source, *told) if value and len(value) > 2}
    return sorted(told, key=len, reverse=True)


def answer(ask, plugin, source, question):
    """Asks the class and says what it said. Whatever goes wrong, the request is answered."""
    own = os.getpid()
    try:
        said = ask(plugin, question)
        if os.getpid() != own:
            # A process that the class has forked, and that was meant to end there.
            leave(0)
        said["id"] = question["id"]
        line = json.dumps(said).encode() + b"\n"
        if len(line) > LINE:
            raise ValueError("the answer is longer than %d bytes" % LINE)
        return line
    except BaseException as error:
        if os.getpid() != own:
            leave(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
        # What it was asked about is nobody's business, its own secrets neither.
        told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        for secret in secrets(question, source):
            told = told.replace(secret, "(secret)")
        sys.stderr.write(told)
        return json.dumps({"id": question["id"], "error": "%s in the plugin" % type(error).__name__}).encode() + b"\n"


def unfit(error, source):
    """Why the class is of no use."""
    told = "%s: %s" % (type(error).__name__, " ".join(str(error).split()))
    return json.dumps({"error": told.replace(source, "(secret)") if source else told}).encode() + b"\n"


def work(asked, says, ask, maker, source):
    """What a worker does: says whether the class can be made and asked, and asks it."""
    try:
        plugin = maker(source)
        if not callable(getattr(plugin, ask.__name__, None)):
            raise TypeError("it has no method %s" % ask.__name__)
    except BaseException as error:
        write(says, unfit(error, source))
        leave(1)
    # A look-up is told the token alone.
    write(says, b'{"ready":true,"by":"token"}\n' if ask is lookup else b'{"ready":true}\n')
    for line in asked:
        write(says, answer(ask, plugin, source, json.loads(line)))
    leave(0)


def main():
    """Loads the class, then has it asked until the end of standard input."""
    hello = json.loads(questions.readline())["hello"]
    source = hello["source"]
    ask = {"token": lookup, "auth": authenticate}[hello["kind"]]
    try:
        module, _, name = hello["name"].rpartition(".")
        maker = getattr(importlib.import_module(module), name)
    except BaseException as error:
        write(answers, unfit(error, source))
        return
    # Whatever the module would have of a broken pipe, a worker that ends does not end all.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # What is loaded stays, and is not copied into each worker for being looked at.
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
    Host(hello["concurrency"], lambda asked, says: work(asked, says, ask, maker, source)).run()


main()
