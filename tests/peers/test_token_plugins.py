"""Where tokens lead by Python classes: the real websockify's own, each against what it asks, and a user's."""

import concurrent.futures
import contextlib
import json
import signal
import socket
import sqlite3
import threading
import time

import pytest
from jwcrypto import jwk, jwt
from services import Redis, Service
from support import Bridge, ask, children, surroundings, until
from websockets.sync.client import connect

pytestmark = pytest.mark.usefixtures("ours")

LOOKUP = """
    class Lookup:
        def __init__(self, source):
            self.source = source

        def lookup(self, token):
            if token == "bug":
                raise KeyError(token + " is not among " + self.source)
            if token == "unix":
                return ("unix_socket", self.source)
            return ("127.0.0.1", int(self.source)) if token == "good" else None
"""


def comes_back(server, path, **headers):
    """Whether a message comes back from the echo target behind this path."""
    with connect(server.url(path, scheme="ws"), additional_headers=headers, compression=None, proxy=None) as session:
        session.send(b"there")
        return session.recv(10) == b"there"


def leads(keep, engine, modules, *words):
    """A server whose targets come from a plugin."""
    return keep(Bridge(*words, engine=engine, env=surroundings(modules))).ready()


@pytest.mark.parametrize("name", ["TokenFile", "websockify.token_plugins.TokenFile",
                                  "websockify.token_plugins.ReadOnlyTokenFile"])  # fmt: skip
def test_tokens_of_the_real_plugin_and_ours(keep, engine, target, tmp_path, name):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# desks\ngood: {target('echo').address}\n")
    server = leads(keep, engine, "", "--token-plugin", name, "--token-source", tokens)
    assert comes_back(server, "?token=good")
    assert (ask(server, "?token=bad")[0], ask(server)[0]) == (404, 403)


# Whatever the class logs is in the log of the server, so that it is seen that no token is.
TALKATIVE = """
    import logging
    logging.basicConfig(level=logging.DEBUG)
"""
# What has to be escaped in an address, has a meaning in a pattern, and is a whole name of a file.
TOKEN = "hush+17 (desk)"
ASKED = "?token=hush%2B17%20(desk)"


def knows(keep, engine, module, name, source):
    """A server with one of the real package's classes, which logs all it has to say, and what it knows of three tokens."""
    server = leads(keep, engine, module("sitecustomize", TALKATIVE), "-v", "--token-plugin",
                   f"websockify.token_plugins.{name}", "--token-source", source)  # fmt: skip
    assert comes_back(server, ASKED) and comes_back(server, ASKED)
    assert (ask(server, ASKED + "x")[0], ask(server)[0]) == (404, 403)
    server.wait_for("end id=")
    return server


def hushes(server):
    """Whether the token is nowhere in the log, however it was written."""
    said = server.said().lower()
    return not any(word in said for word in ("hush", "17 (desk", "17%20", "17+(desk"))


def test_the_real_class_of_names(keep, engine, target, module, tmp_path):
    (tmp_path / "desks").mkdir()
    (tmp_path / "desks" / TOKEN).write_text(f"{target('echo').address}\n")
    assert hushes(knows(keep, engine, module, "TokenFileName", tmp_path / "desks"))


@pytest.mark.parametrize("name", ["BaseTokenAPI", "JSONTokenApi"])
def test_the_real_classes_of_web_services(keep, engine, target, module, name):
    """The first hands its port out as bytes."""
    echo = target("echo")
    body = f"127.0.0.1:{echo.port}" if name == "BaseTokenAPI" else json.dumps({"host": "127.0.0.1", "port": echo.port})
    service = keep(Service(lambda path: (200, body.encode()) if path.endswith("(desk)") else (404, b"no")))
    server = knows(keep, engine, module, name, f"http://127.0.0.1:{service.port}/desks/%s")
    # A client of HTTP logs what it asks for; tokens that stand in an address in part only are found too.
    server.wait_for("says=.*GET /desks/")
    assert service.asked and hushes(server), server.said()


@pytest.mark.parametrize("form", ["plain", "json"])
def test_the_real_class_of_redis(keep, engine, target, module, form):
    """It logs each token that it looks up."""
    echo, store = target("echo"), keep(Redis(password="pass:word"))
    value = f"127.0.0.1:{echo.port}"
    store.do(["SELECT", "3"], ["SET", f"desks:{TOKEN}", value if form == "plain" else json.dumps({"host": value})])
    server = knows(keep, engine, module, "TokenRedis", f'127.0.0.1:{store.port}:3:"pass:word":desks')
    server.wait_for(r"says=.*resolving token '\(secret\)'")
    assert hushes(server) and "pass:word" not in server.said(), server.said()
    assert store.end() == 0
    assert ask(server, "?token=hush-18")[0] == 503
    server.wait_for("Connection refused")
    assert hushes(server), server.said()


@pytest.mark.parametrize("kind", ["HS256", "RS256"])
def test_the_real_class_of_web_tokens(keep, engine, target, module, tmp_path, kind):
    """Signed with a secret or a private key; what it says of bad ones has none of them in it. Encrypted ones it cannot read."""
    echo = target("echo")
    key = jwk.JWK.generate(kty="RSA", size=2048) if kind == "RS256" else jwk.JWK.generate(kty="oct", size=256)
    (tmp_path / "key").write_bytes(
        key.export_to_pem(private_key=True, password=None) if kind == "RS256" else key.export(as_dict=True)["k"].encode()
    )

    def made(**claims):
        token = jwt.JWT(header={"alg": kind}, claims={"host": "127.0.0.1", "port": echo.port, **claims})
        token.make_signed_token(key)
        return token.serialize()

    server = leads(keep, engine, module("sitecustomize", TALKATIVE), "-v", "--token-plugin=websockify.token_plugins.JWTTokenApi",
                   "--token-source", tmp_path / "key")  # fmt: skip
    good, old = made(exp=time.time() + 600, nbf=time.time() - 600), made(exp=time.time() - 600)
    forged = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB")
    assert comes_back(server, f"?token={good}")
    assert [ask(server, f"?token={token}")[0] for token in (old, forged, "no-token")] == [404] * 3
    server.wait_for("says=.*Expired at")
    server.wait_for("end id=")
    assert not any(part in server.said() for token in (good, old, forged) for part in token.split(".") if len(part) > 2)


def test_a_lookup_of_ones_own(keep, engine, target, module):
    echo = target("echo")
    server = leads(keep, engine, module("desks", LOOKUP), "--token-plugin=desks.Lookup", f"--token-source={echo.port}",
                   "--token-from=query,cookie")  # fmt: skip
    assert comes_back(server, "?token=good")
    assert comes_back(server, "", Cookie="token=good")
    assert ask(server, "?token=bad")[0] == 404
    assert ask(server, "?token=bug")[0] == 503
    server.wait_for("KeyError")
    assert "good" not in server.said() and "bug is not" not in server.said(), server.said()


# What belongs to the thread that made it, and what only the main thread may do.
BOUND = """
    import os
    import signal
    import sqlite3
    import time

    class Base:
        def __init__(self, source):
            self.base = sqlite3.connect(source, timeout=20)

        def lookup(self, token):
            if token.startswith("meet"):
                # Comes back when four of these are asked at once, each in a process of its own.
                with self.base:
                    self.base.execute("insert into present values (?)", (os.getpid(),))
                while self.base.execute("select count(distinct pid) from present").fetchone()[0] < 4:
                    time.sleep(0.01)
            return self.base.execute("select host, port from desks where ? like token", (token,)).fetchone()

    class Alarmed:
        def __init__(self, source):
            self.port = source

        def ring(self, *_):
            raise TimeoutError()

        def lookup(self, token):
            signal.signal(signal.SIGALRM, signal.SIG_DFL if token == "forgot" else self.ring)
            if token in ("slow", "forgot"):
                # Long enough that a worker which stands still for a while has answered by then.
                signal.setitimer(signal.ITIMER_REAL, 1.5)
            if token == "forgot":
                return ("127.0.0.1", self.port)
            try:
                if token == "slow":
                    time.sleep(60)
            except TimeoutError:
                return None
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            return ("127.0.0.1", self.port)
"""


def test_a_class_that_belongs_to_its_thread_is_asked_by_several_at_once(keep, engine, target, module, tmp_path):
    echo, base = target("echo"), sqlite3.connect(tmp_path / "desks.db")
    with base:
        base.execute("create table desks (token, host, port)")
        base.execute("create table present (pid)")
        base.executemany("insert into desks values (?, '127.0.0.1', ?)", [("good", echo.port), ("meet%", echo.port)])
    base.close()
    server = leads(keep, engine, module("desks", BOUND), "--token-plugin=desks.Base", f"--token-source={tmp_path}/desks.db",
                   "--token-timeout=15")  # fmt: skip
    assert comes_back(server, "?token=good") and ask(server, "?token=bad")[0] == 404
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: comes_back(server, f"?token=meet{number}"), range(4))) == [True] * 4
    assert comes_back(server, "?token=good") and "Error" not in server.said(), server.said()


def test_a_class_that_needs_the_main_thread(keep, engine, target, module):
    server = leads(keep, engine, module("desks", BOUND), "--token-plugin=desks.Alarmed",
                   f"--token-source={target('echo').port}", "--token-cache=0")  # fmt: skip
    assert comes_back(server, "?token=good")
    begun = time.monotonic()
    assert ask(server, "?token=slow")[0] == 404 and time.monotonic() - begun < 10
    for _ in range(3):
        # Its alarm ends the process that was asked; somebody else is asked next.
        before = workers(server)
        assert comes_back(server, "?token=forgot")
        until(lambda: before - workers(server), "the alarm has rung")
        assert comes_back(server, "?token=good")
    assert "ended=" not in server.said(), server.said()


def workers(server):
    """Who asks the class of a server's one plugin."""
    (host,) = children(server.pid)
    return children(host)


NOTED = """
    class Noted:
        def __init__(self, source):
            self.port, self.book = source.split(",")

        def lookup(self, token):
            with open(self.book, "a") as book:
                book.write(token + "\\n")
            return ("127.0.0.1", int(self.port)) if token.startswith("good") else None
"""


def test_equal_tokens_are_looked_up_once_in_a_while(keep, engine, target, module, tmp_path):
    echo, book = target("echo"), tmp_path / "book"
    words = ["--token-plugin=desks.Noted", f"--token-source={echo.port},{book}"]

    def asked(server, token, times):
        for _ in range(times):
            assert (comes_back(server, f"?token={token}") if token == "good" else ask(server, f"?token={token}")[0] == 404)
        found = book.read_text().split()
        book.unlink()
        return found

    server = leads(keep, engine, module("desks", NOTED), *words, "--token-cache=60")
    assert asked(server, "good", 3) == ["good"]
    assert asked(server, "bad", 1) == ["bad"]
    # A new process may say something else.
    server.child.send_signal(signal.SIGHUP)
    until(lambda: comes_back(server, "?token=good") and book.exists(), "it is asked again")
    book.unlink()
    # Tokens that are good for once need each request to be asked about.
    server = leads(keep, engine, module("desks", NOTED), *words, "--token-cache=0")
    assert asked(server, "good", 3) == ["good"] * 3
    # So do commands, which are told the whole request and may answer by any of it, unless they say that they do not.
    for ready, times in (("", 3), (',"by":"token"', 1)):
        script = tmp_path / "desk.sh"
        script.write_text(f"read -r hello; echo '{{\"ready\":true{ready}}}'; while read -r line\n"
                          f"do id=${{line#*:}}; id=${{id%%,*}}; echo good >> {book}; echo \"{{\\\"id\\\":$id,\\\"allow\\\":"
                          f"{{\\\"target\\\":\\\"127.0.0.1:{echo.port}\\\"}}}}\"; done\n")  # fmt: skip
        server = leads(keep, engine, "", f"--token-plugin=exec:exec sh {script}", "--token-cache=60")
        assert asked(server, "good", 3) == ["good"] * times


@contextlib.contextmanager
def echo_at(path):
    """Echoes to one client of a Unix socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def echo():
            with listener.accept()[0] as session:
                while data := session.recv(4096):
                    session.sendall(data)

        threading.Thread(target=echo, daemon=True).start()
        yield


def test_a_lookup_may_lead_to_a_unix_socket(keep, engine, place, module):
    path = place / "desk"
    with echo_at(path):
        server = leads(keep, engine, module("desks", LOOKUP), "--token-plugin=desks.Lookup", f"--token-source={path}")
        assert comes_back(server, "?token=unix")


def test_a_socket_named_by_its_token_is_not_told(keep, engine, place, module):
    with echo_at(place / "hushhush"):
        server = leads(keep, engine, "", "--token-plugin=websockify.token_plugins.UnixDomainSocketDirectory",
                       f"--token-source={place}")  # fmt: skip
        assert comes_back(server, "?token=hushhush")
        server.wait_for(f'open id=.* target="{place}/~')
        server.wait_for("end id=")
        assert "hushhush" not in server.said(), server.said()


def test_a_token_and_a_guard_that_is_told_its_target(keep, engine, target, module):
    guard = """
        class AuthenticationError(Exception):
            code = 402

        class Guard:
            def __init__(self, source):
                pass

            def authenticate(self, headers, target_host, target_port):
                if (target_host, int(target_port)) != ("127.0.0.1", %d):
                    raise AuthenticationError()
    """
    echo = target("echo")
    module("guards", guard % echo.port)
    server = leads(keep, engine, module("desks", LOOKUP), "--token-plugin=desks.Lookup", f"--token-source={echo.port}",
                   "--auth-plugin=guards.Guard")  # fmt: skip
    assert comes_back(server, "?token=good")
    module("guards", guard % 1)
    server.child.send_signal(signal.SIGHUP)
    until(lambda: ask(server, "?token=good")[0] == 402, "the edited guard is there")
