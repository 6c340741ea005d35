"""The host of plugins written in Python: loads one class and has its workers ask it what the server asks.

The class is one of websockify's own or made in their manner: it is made with its source, and has `lookup(token)` or
`authenticate(headers, target_host, target_port)`. It speaks the protocol of docs/plugins.md over the pipes it was started
with, which neither workers nor what the class starts inherit: `questions` is the one to read. What a class prints goes to the
log.

A worker is a process forked from this one once the module is loaded. It makes an instance of its own and asks it in its main
thread, one question at a time, as each connection of websockify did: so a class may rely on threads, signals and its own
state as it could there. This process makes no instance and starts no thread, so that it can be forked at any time.
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

# Made by what runs this.
questions = globals()["questions"]
answers = os.dup(1)
# A class may put something else in its place.
poll = select.poll
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
# How long nothing is forked once the system has refused, in seconds.
REFUSED = 1


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
        # Since when it has had nothing to do.
        self.since = 0


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
        self.hire_after = 0
        self.poll = poll()
        self.poll.register(questions, select.POLLIN)

    def run(self):
        """Works until the end of what is asked."""
        if self.hire() is None:
            self.say(b'{"error":"cannot start a process of the class"}\n')
            self.end()
        while True:
            for descriptor, _ in self.poll.poll(self.patience()):
                if descriptor == questions.fileno():
                    self.take()
                elif descriptor in self.workers:
                    self.hear(self.workers[descriptor])
            self.hand_out()

    def patience(self):
        """How long there is nothing to do but to listen, in milliseconds."""
        if self.waiting and self.ready and len(self.workers) < self.most:
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
        """Has questions asked that wait, and lets go who has not been needed for long."""
        while self.waiting and self.ready:
            if self.idle:
                worker = self.idle.pop()
            else:
                now = time.monotonic()
                is_time = now >= max(self.waiting[0][0] + TURN, self.hire_after)
                worker = self.hire() if is_time and len(self.workers) < self.most else None
                if worker is None:
                    break
            try:
                write(worker.told, self.waiting[0][1])
            except OSError:
                # It ended while it had nothing to do, say by an alarm: another one is asked.
                self.gone(worker)
                continue
            worker.asked = self.waiting.popleft()[1]
        if len(self.idle) > 1 and self.idle[0].since + REST <= time.monotonic():
            self.gone(self.idle[0])

    def hire(self):
        """Another worker; None when the system refuses."""
        opened = []
        try:
            opened += os.pipe()
            opened += os.pipe()
            pid = os.fork()
        except OSError as error:
            print("cannot start a process of the class: %s" % error, file=sys.stderr)
            self.hire_after = time.monotonic() + REFUSED
            for descriptor in opened:
                os.close(descriptor)
            return None
        asked, told, tells, says = opened
        if pid == 0:
            try:
                for worker in self.workers.values():
                    os.close(worker.told)
                    os.close(worker.tells)
                for descriptor in (told, tells, answers):
                    os.close(descriptor)
                questions.close()
                self.work(os.fdopen(asked, "rb"), says)
            finally:
                os._exit(1)
        os.close(asked)
        os.close(says)
        worker = self.workers[tells] = Worker(pid, told, tells)
        self.poll.register(tells, select.POLLIN)
        return worker

    def hear(self, worker):
        """Takes what a worker says: an answer, and the first one before that whether the class is of any use."""
        data = os.read(worker.tells, LINE)
        if not data:
            self.gone(worker)
            return
        worker.said += data
        if worker.said.endswith(b"\n"):
            self.say(worker.said)
            if not self.ready and b'"error"' in worker.said:
                self.end()
            self.ready, worker.asked, worker.said, worker.since = True, None, b"", time.monotonic()
            self.idle.append(worker)

    def gone(self, worker):
        """A worker has ended, or is to."""
        self.poll.unregister(worker.tells)
        del self.workers[worker.tells]
        os.close(worker.told)
        os.close(worker.tells)
        if worker in self.idle:
            self.idle.remove(worker)
        # It may have done no more than close what it had open.
        os.kill(worker.pid, signal.SIGKILL)
        _, status = os.waitpid(worker.pid, 0)
        by_signal = os.WIFSIGNALED(status)
        how = "by signal %d" % os.WTERMSIG(status) if by_signal else "with status %d" % os.WEXITSTATUS(status)
        error = json.dumps("the process of the class ended " + how).encode()
        if worker.asked:
            # The number of a question is its first member.
            self.say(worker.asked.partition(b",")[0] + b',"error":' + error + b"}\n")
        elif not self.ready:
            self.say(b'{"error":' + error + b"}\n")
            self.end()

    def say(self, line):
        """Tells the server a line."""
        try:
            write(answers, line)
        except OSError:
            self.end()

    def end(self):
        """Ends all of it. A class that still waits for something holds nobody up."""
        for worker in self.workers.values():
            os.kill(worker.pid, signal.SIGKILL)
        for worker in self.workers.values():
            os.waitpid(worker.pid, 0)
        sys.stderr.flush()
        os._exit(0)


def text(value):
    """A part of a target, as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def lookup(plugin, question):
    """What a token stands for."""
    found = plugin.lookup(question["token"])
    if not found:
        return {"deny": {}}
    host, port = (text(part) for part in found)
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


def answer(ask, made, source, question):
    """Asks the class and says what it said. Whatever goes wrong, the request is answered."""
    try:
        said = ask(made(), question)
        said["id"] = question["id"]
        line = json.dumps(said).encode() + b"\n"
        if len(line) > LINE:
            raise ValueError("the answer is longer than %d bytes" % LINE)
        return line
    except BaseException as error:
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


def work(asked, says, is_first, ask, maker, source):
    """What a worker does. The first one says whether the class can be made and asked."""
    instances = []

    def made():
        if not instances:
            instances.append(maker(source))
        return instances[0]

    if is_first:
        try:
            if not callable(getattr(made(), ask.__name__, None)):
                raise TypeError("it has no method %s" % ask.__name__)
        except BaseException as error:
            write(says, unfit(error, source))
            return
        # A look-up is told the token alone.
        write(says, b'{"ready":true,"by":"token"}\n' if ask is lookup else b'{"ready":true}\n')
    for line in asked:
        write(says, answer(ask, made, source, json.loads(line)))
    os._exit(0)


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
    # Whatever the module does about its own children, the workers are waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What is loaded stays, and is not copied into each worker for being looked at.
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
    host = Host(hello["concurrency"], lambda *ends: work(*ends, not host.ready, ask, maker, source))
    host.run()


main()
