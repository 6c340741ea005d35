"""The host of plugins written in Python: loads one class and asks it what the server asks.

The class is one of websockify's own or made in their manner: it is made with its source, and has `lookup(token)` or
`authenticate(headers, target_host, target_port)`. It speaks the protocol of docs/plugins.md over the pipes it was started
with, which what the class starts does not inherit: `questions` is the one to read. What a class prints goes to the log. Each thread has an instance of its own, as each connection of websockify had.
"""

import base64
import http.client
import importlib
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

# Made by what runs this.
questions = globals()["questions"]
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
turn = threading.Lock()
own = threading.local()
spare = []


def say(word):
    """Writes one line, whole."""
    line = json.dumps(word).encode() + b"\n"
    with turn:
        answers.write(line)
        answers.flush()


def load(name, source):
    """The class of this name, and an instance that shows that it can be made."""
    module, _, wanted = name.rpartition(".")
    maker = getattr(importlib.import_module(module), wanted)
    return maker, maker(source)


def instance(maker, source):
    """The instance of this thread."""
    if not hasattr(own, "plugin"):
        try:
            own.plugin = spare.pop()
        except IndexError:
            own.plugin = maker(source)
    return own.plugin


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
        "status": code if 300 <= code <= 599 else 403,
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
    told = [value for name, value in question["headers"] if name.lower() in ("authorization", "cookie")]
    for name, value in question["headers"]:
        if name.lower() == "authorization":
            told += pair(value)
    told += question["cookies"].values()
    for values in question["params"].values():
        told += values
    # What is shorter is part of everything, and no secret.
    told = {value for value in (question["token"], source, *told) if value and len(value) > 2}
    return sorted(told, key=len, reverse=True)


def answer(ask, maker, source, question):
    """Asks the class and says what it said. Whatever goes wrong, the request is answered."""
    try:
        said = ask(instance(maker, source), question)
    except BaseException as error:
        # What it was asked about is nobody's business, its own secrets neither.
        told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        for secret in secrets(question, source):
            told = told.replace(secret, "(secret)")
        sys.stderr.write(told)
        said = {"error": "%s in the plugin" % type(error).__name__}
    said["id"] = question["id"]
    say(said)


def main():
    """Loads the class, then answers until the end of standard input."""
    hello = json.loads(questions.readline())["hello"]
    source = hello["source"]
    ask = {"token": lookup, "auth": authenticate}[hello["kind"]]
    try:
        maker, made = load(hello["name"], source)
        if not callable(getattr(made, ask.__name__, None)):
            raise TypeError("it has no method %s" % ask.__name__)
    except BaseException as error:
        told = "%s: %s" % (type(error).__name__, " ".join(str(error).split()))
        say({"error": told.replace(source, "(secret)") if source else told})
        return
    spare.append(made)
    say({"ready": True})
    with ThreadPoolExecutor(max_workers=hello["concurrency"]) as pool:
        for line in questions:
            try:
                question = json.loads(line)
            except ValueError:
                # Whoever asked is refused in time; nobody else need suffer.
                print("a question that is not JSON", file=sys.stderr)
                continue
            pool.submit(answer, ask, maker, source, question)
        sys.stderr.flush()
        # A class that still waits for something holds nobody up.
        os._exit(0)


main()
