"""Who may connect: curl and openssl as clients, files by htpasswd, a service of its own, and plugins written in Python."""

import base64
import http.server
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest
from support import ROOT, UPGRADE, Bridge, ask, surroundings, until

pytestmark = pytest.mark.usefixtures("ours")

FORGED = ["SSL_CLIENT_S_DN_CN", "ssl_client_s_dn_cn", "SSL-Client-S-DN-CN", "Ssl_Client-S_Dn_Cn", "HTTP_SSL_CLIENT_S_DN_CN",
          "X-SSL-Client-CN", "Remote-User", "REMOTE_USER", "X-Forwarded-User", "X_FORWARDED_USER", "X-Remote-User"]  # fmt: skip


@pytest.fixture
def serve(bridge, target):
    """Starts the server in front of an echo target, with the Python of the tests."""
    echo = target("echo")
    return lambda *words, modules="": bridge(*words, target=echo.address, env=surroundings(modules))


def test_curl_gives_a_password(serve, tmp_path):
    (tmp_path / "page.html").write_text("page")
    server = serve("--auth-plugin=BasicHTTPAuth", "--auth-source=me:se:cret", "--web-auth", "--web", str(tmp_path))
    for upgrade, path, good in ((True, "", 101), (False, "page.html", 200)):
        status, headers = ask(server, path, upgrade=upgrade)
        assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Websockify"')
        assert int(headers["content-length"]) > 0 and headers["connection"] == "close"
        assert ask(server, path, "--user", "me:se:cret", upgrade=upgrade)[0] == good
        for wrong in ("me:se", "me:", ":", "Me:se:cret"):
            assert ask(server, path, "--user", wrong, upgrade=upgrade)[0] == 401
    assert "se:cret" not in server.said()


def test_certificates_say_who_and_nothing_else_does(serve, authority):
    server = serve("--cert", authority.sign("plain").both, "--verify-client", "--cafile", authority.cert,
                   "--auth-plugin=ClientCertCNAuth", "--auth-source=alice carol")  # fmt: skip
    alice, bob = (authority.sign(f"person-{name}", names=(name,)) for name in ("alice", "bob"))

    def told(person, *words):
        own = ["--cert", str(person.both)] if person else []
        return ask(server, "", "--insecure", *own, *words, scheme="https")[0]

    lies = [word for name in FORGED for word in ("-H", f"{name}: alice")]
    truth = [word for name in FORGED for word in ("-H", f"{name}: bob")]
    assert told(alice) == told(alice, *truth) == 101
    assert told(bob) == told(bob, *lies) == 403
    assert ask(server, "", *lies)[0] == 403, "nor does anybody get in without TLS"


def test_certificates_reach_the_real_plugin(serve, authority):
    server = serve("--cert", authority.sign("plain").both, "--verify-client", "--cafile", authority.cert, "--auth-plugin",
                   "websockify.auth_plugins.ClientCertCNAuth", "--auth-source", "alice")  # fmt: skip
    for person, status in (("alice", 101), ("bob", 403)):
        own = ["--insecure", "--cert", str(authority.sign(f"person-{person}", names=(person,)).both)]
        lies = [word for name in FORGED for word in ("-H", f"{name}: alice" if person == "bob" else f"{name}: bob")]
        assert ask(server, "", *own, *lies, scheme="https")[0] == status


def test_files_of_htpasswd_and_openssl(serve, tmp_path):
    users = tmp_path / "users"
    for user, flags in (("bcrypt", ["-B", "-C", "5"]), ("md5", ["-m"]), ("sha256", ["-2"]), ("sha512", ["-5"])):
        made = subprocess.run(["htpasswd", "-b", *(["-c"] if user == "bcrypt" else []), *flags, users, user, f"p {user}"],
                              capture_output=True, text=True)  # fmt: skip
        if made.returncode and user.startswith("sha"):
            # Older ones do not know these; openssl does.
            number = {"sha256": "-5", "sha512": "-6"}[user]
            hashed = subprocess.run(["openssl", "passwd", number, f"p {user}"], capture_output=True, text=True, check=True)
            users.write_text(users.read_text() + f"{user}:{hashed.stdout}")
        else:
            made.check_returncode()
    server = serve("--auth-plugin=HtpasswdAuth", f"--auth-source={users}")
    for user in ("bcrypt", "md5", "sha256", "sha512"):
        assert ask(server, "", "--user", f"{user}:p {user}")[0] == 101, user
        assert ask(server, "", "--user", f"{user}:p")[0] == 401, user
    assert ask(server, "", "--user", "nobody:p bcrypt")[0] == 401
    subprocess.run(["htpasswd", "-D", users, "md5"], check=True, capture_output=True)
    assert ask(server, "", "--user", "md5:p md5")[0] == 401
    subprocess.run(["htpasswd", "-b", "-B", users, "new", "secret"], check=True, capture_output=True)
    assert ask(server, "", "--user", "new:secret")[0] == 101


def test_unknown_names_take_as_long_as_wrong_passwords(serve, tmp_path):
    users = tmp_path / "users"
    subprocess.run(["htpasswd", "-b", "-c", "-B", "-C", "8", users, "me", "secret"], check=True, capture_output=True)
    server = serve("--auth-plugin=HtpasswdAuth", f"--auth-source={users}")

    def took(pair):
        begun = time.monotonic()
        assert ask(server, "", "--user", pair)[0] == 401
        return time.monotonic() - begun

    pairs = ("me:wrong", "nobody:wrong")
    best = {pair: min(took(pair) for _ in range(7)) for pair in pairs}
    assert best["nobody:wrong"] > best["me:wrong"] / 2 and best["me:wrong"] > best["nobody:wrong"] / 2, best


class Service(http.server.BaseHTTPRequestHandler):
    """Lets those in whose cookie is good, and sends others where one signs in."""

    protocol_version = "HTTP/1.1"
    asked = []

    def do_GET(self):
        self.asked.append(self.headers)
        cookie = self.headers.get("Cookie", "")
        if "session=slow" in cookie:
            time.sleep(8)
        if "session=good" in cookie:
            self.send_response(200)
            self.send_header("Remote-User", "alice")
        elif self.headers.get("Authorization"):
            self.send_response(403)
        else:
            self.send_response(302)
            self.send_header("Location", "https://login.test/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture
def service():
    """That service, on a free port."""
    Service.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_a_service_says_who_may(serve, service):
    server = serve("--auth-plugin=ForwardAuth", f"--auth-source=http://127.0.0.1:{service.server_port}/verify")
    assert ask(server, "desk?token=t", "-H", "Cookie: session=good", "-H", "Remote-User: root")[0] == 101
    asked = Service.asked[-1]
    assert asked["X-Forwarded-Uri"] == "/desk?token=t" and asked["X-Forwarded-For"] == "127.0.0.1"
    assert "Remote-User" not in asked
    server.wait_for(r'open id=.*label\.user="alice"')
    status, headers = ask(server)
    assert (status, headers["location"]) == (302, "https://login.test/")
    assert ask(server, "", "--user", "a:b")[0] == 403
    begun = time.monotonic()
    assert ask(server, "", "-H", "Cookie: session=slow")[0] == 503
    assert time.monotonic() - begun < 7
    service.shutdown()
    service.server_close()
    assert ask(server, "", "-H", "Cookie: session=good")[0] == 503, "nobody there: nobody gets in"


@pytest.mark.parametrize("name", ["BasicHTTPAuth", "websockify.auth_plugins.BasicHTTPAuth"])
def test_the_real_plugin_and_ours_are_one(serve, name):
    server = serve("--auth-plugin", name, "--auth-source=me:secret")
    rows = [([], 401), (["--user", "me:secret"], 101), (["--user", "me:wrong"], 401),
            (["-H", "Authorization: Digest x"], 403),
            (["-H", f"Authorization: Basic {base64.b64encode(b'nocolon').decode()}"], 403)]  # fmt: skip
    for words, status in rows:
        told, headers = ask(server, "", *words)
        assert told == status, words
        assert status != 401 or headers["www-authenticate"] == 'Basic realm="Websockify"'
    assert "secret" not in server.said()


@pytest.mark.parametrize("name", ["ExpectOrigin", "websockify.auth_plugins.ExpectOrigin"])
def test_the_real_origins_and_ours_are_one(serve, name):
    server = serve("--auth-plugin", name, "--auth-source=https://a.test http://b.test:81")
    for origin, status in (("https://a.test", 101), ("http://b.test:81", 101), ("http://a.test", 403), (None, 403)):
        assert ask(server, "", *(["-H", f"Origin: {origin}"] if origin else []))[0] == status, origin


USER = """
    import base64, subprocess, threading, time, sys

    class AuthenticationError(Exception):
        pass

    class Refused(AuthenticationError):
        def __init__(self, code, message, headers):
            super().__init__(message)
            self.code, self.message, self.headers = code, message, headers

    class Broken(Exception):
        code = 403

    class Desk:
        def __init__(self, source):
            self.source = source
            self.thread = None
            print("made with", len(source), "letters")

        def authenticate(self, headers, target_host, target_port):
            self.thread = self.thread or threading.get_ident()
            assert self.thread == threading.get_ident(), "shared between threads"
            who = headers.get("x-DESK")
            if who == "slow":
                time.sleep(1)
            elif who == "bug":
                raise ValueError("a bug about " + self.source + " and " + headers.get("Cookie", ""))
            elif who == "basic":
                raise ValueError("a bug about " + base64.b64decode(headers["Authorization"].split()[1]).decode())
            elif who == "print":
                print("asked by", headers.get("Cookie"), "and", base64.b64decode(headers["Authorization"].split()[1]).decode())
            elif who == "broken":
                raise Broken("the database says no")
            elif who == "steal":
                subprocess.run(["cat"], timeout=30)
            elif who == "own":
                own = ("Content-Type", "Content-Length", "Connection", "Server", "Date", "Transfer-Encoding")
                raise Refused(401, "Who", {**{name: "0" for name in own}, "WWW-Authenticate": "Desk", "X-Why": "you"})
            elif who == "exit":
                import os; os._exit(3)
            elif who == "hang":
                time.sleep(600)
            elif who == "leave":
                sys.exit(1)
            elif who == "where":
                raise Refused(404, "at %s:%s" % (target_host, target_port), {"X-Seen": "%d" % len(headers)})
            elif who != "good":
                raise Refused(401, "No\\n desk", {"WWW-Authenticate": "Desk"})
"""


def test_a_class_of_ones_own(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=the source", modules=module("desks", USER))
    server.wait_for("made with 10 letters")
    assert ask(server, "", "-H", "X-Desk: good")[0] == 101
    status, headers = ask(server, "", "-H", "X-Desk: bad")
    assert (status, headers["www-authenticate"]) == (401, "Desk")
    status, headers = ask(server, "", "-H", "X-Desk: own")
    assert (status, headers["www-authenticate"], headers["x-why"], headers["connection"]) == (401, "Desk", "you", "close")
    assert int(headers["content-length"]) > 0 and headers["content-type"].startswith("text/html")
    status, headers = ask(server, "", "-H", "X-Desk: where")
    assert status == 404 and int(headers["x-seen"]) >= 6
    for trouble in ("bug", "leave"):
        assert ask(server, "", "-H", f"X-Desk: {trouble}", "-H", "Cookie: session=hushhush")[0] == 503
    server.wait_for("ValueError")
    assert "the source" not in server.said() and "hushhush" not in server.said(), "these are secrets"


def test_only_refusals_are_refusals(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=x", modules=module("desks", USER))
    assert ask(server, "", "-H", "X-Desk: broken")[0] == 503
    server.wait_for("Broken: the database says no")


def test_what_a_class_tells_has_no_secrets(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=the source", modules=module("desks", USER))
    words = ("-H", "Cookie: session=hushhush", "--user", "me:verysecret")
    assert ask(server, "", "-H", "X-Desk: basic", *words)[0] == 503
    server.wait_for("ValueError: a bug about")
    assert ask(server, "", "-H", "X-Desk: print", *words)[0] == 101
    server.wait_for("asked by")
    assert not [word for word in ("hushhush", "verysecret") if word in server.said()], server.said()


def test_what_a_class_starts_takes_no_questions(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=x", modules=module("desks", USER))
    # It ends at once, since there is nothing for it to read; and the next question is answered.
    assert ask(server, "", "-H", "X-Desk: steal")[0] == 101
    assert ask(server, "", "-H", "X-Desk: good")[0] == 101


def test_slow_answers_do_not_wait_for_each_other(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=x", modules=module("desks", USER))
    begun = time.monotonic()
    command = ["curl", "--silent", "--http1.1", "--no-buffer", "--max-time", "4", "--parallel", "--parallel-immediate",
               "--parallel-max", "20", *UPGRADE, "-H", "X-Desk: slow", "--write-out", "%{http_code}\n", "--output", "/dev/null",
               *[server.url(str(number)) for number in range(20)]]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert len(re.findall(r"^101$", done.stdout, re.MULTILINE)) == 20 or time.monotonic() - begun < 10, done.stdout
    lines = until(lambda: server.said().count("open id=") == 20, "all are let in", 10)
    assert lines


def test_a_class_that_dies_or_hangs_is_there_again(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=x", modules=module("desks", USER))
    assert ask(server, "", "-H", "X-Desk: exit")[0] == 503
    server.wait_for("error=.*the process of the class ended with status 3")
    assert ask(server, "", "-H", "X-Desk: good")[0] == 101
    begun = time.monotonic()
    assert ask(server, "", "-H", "X-Desk: hang")[0] == 503
    assert time.monotonic() - begun < 7
    assert ask(server, "", "-H", "X-Desk: good")[0] == 101


def test_an_edited_class_is_taken_up_on_sighup(serve, module):
    place = module("desks", USER)
    server = serve("--auth-plugin=desks.Desk", "--auth-source=x", modules=place)
    assert ask(server, "", "-H", "X-Desk: new")[0] == 401
    module("desks", USER.replace('!= "good"', '!= "new"'))
    server.child.send_signal(signal.SIGHUP)
    until(lambda: ask(server, "", "-H", "X-Desk: new")[0] == 101, "the new class is there")


def test_all_processes_go_with_the_server(serve, module):
    server = serve("--auth-plugin=desks.Desk", "--auth-source=x", modules=module("desks", USER))

    def children():
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)], capture_output=True, text=True)
        return found.stdout.split()

    own = until(children, "the host runs")
    own += until(lambda: subprocess.run(["ps", "-o", "pid=", "--ppid", own[0]], capture_output=True, text=True).stdout.split(),
                 "and who asks the class")  # fmt: skip
    assert server.end() == 0
    assert not [pid for pid in own if pathlib.Path(f"/proc/{pid}").exists()]


def test_what_is_told_at_start_has_no_source(keep, engine, module):
    place = module("desks", """
        class Desk:
            def __init__(self, source):
                raise ValueError("cannot use " + source)
    """)  # fmt: skip
    words = ("--auth-plugin=desks.Desk", "--auth-source=hushhush")
    server = keep(Bridge(*words, engine=engine, target="127.0.0.1:1", env=surroundings(place)))
    assert server.child.wait(20) == 1
    server.reader.join(5)
    assert "cannot use" in server.said() and "hushhush" not in server.said(), server.said()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--auth-plugin=nowhere.Desk"], "nowhere.Desk: ModuleNotFoundError: No module named 'nowhere'"),
        (["--auth-plugin=desks.Nothing"], "desks.Nothing: AttributeError"),
        (["--auth-plugin=desks.Desk"], "desks.Desk: TypeError"),
        (["--auth-plugin=desks.Refused", "--auth-source=x"], "desks.Refused: TypeError"),
        (["--auth-plugin=desks.threading.Lock"], "desks.threading.Lock: ModuleNotFoundError"),
        (["--auth-plugin=desks.Desk", "--python=/nonexistent"], "cannot run /nonexistent (name another with --python)"),
    ],
)
def test_what_cannot_be_loaded_is_told_at_start(keep, engine, module, words, part):
    server = keep(Bridge(*words, engine=engine, target="127.0.0.1:1", env=surroundings(module("desks", USER))))
    assert server.child.wait(20) == 1
    server.reader.join(5)
    last = server.said().splitlines()[-2]
    assert "option --auth-plugin: " in last and part in last, server.said()
    assert "Traceback" not in server.said()


def test_the_examples_of_the_page_work(serve, keep, engine, target, tmp_path):
    """What docs/plugins.md shows does what the page says."""
    page = (ROOT / "docs/plugins.md").read_text()
    blocks = re.findall(r"```(python|sh)\n(#![^\n]*\n.*?)```", page, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh"], "an example each, and one for tokens"
    for kind, text in blocks[:2]:
        program = tmp_path / f"example.{kind}"
        program.write_text(text)
        program.chmod(0o755)
        server = serve(f"--auth-plugin=exec:{program}", "--auth-source=secret")
        assert ask(server, "?key=secret")[0] == 101, kind
        status, headers = ask(server, "?key=wrong")
        assert status == 403 and "101" not in headers, kind
        assert ask(server, "")[0] == 403, kind
    echo, program, desks = target("echo"), tmp_path / "desks.sh", tmp_path / "desks"
    program.write_text(blocks[2][1])
    program.chmod(0o755)
    desks.mkdir()
    (desks / "desk-1").write_text(echo.address)
    (tmp_path / "secret").write_text(echo.address)
    server = keep(Bridge(f"--token-plugin=exec:{program}", f"--token-source={desks}", engine=engine)).ready()
    tokens = {"desk-1": 101, "desk-2": 404, "../secret": 404, "a%22,%22token%22:%22desk-1": 404}
    assert {token: ask(server, f"?token={token}")[0] for token in tokens} == tokens
    (desks / "desk-1").unlink()
    assert ask(server, "?token=desk-1")[0] == 101, "the answer is kept"
