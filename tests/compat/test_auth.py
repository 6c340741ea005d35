"""Who may come: passwords, origins, names in certificates, plugins in Python, and their order beside tokens."""

import base64
import os
import pathlib
import sys

from harness import Echo, Group, better, files, has, same
from test_tls import context, pair, signed
from test_tokens import REFUSAL, SILENCE, write
from wire import BINARY, Seen, frame, request, upgrade


def basic(text, scheme="Basic"):
    """An Authorization header."""
    return f"Authorization: {scheme} {base64.b64encode(text.encode('latin-1')).decode()}"


def custom(half):
    """A plugin of one's own, which refuses with a status and a header of its own."""
    write(half, "plugins/guard.py", """
import signal
import sqlite3

from websockify.auth_plugins import AuthenticationError

class Main:
    # Has what belongs to the thread that made it, and does what only the main thread may.

    def __init__(self, src=None):
        self.base = sqlite3.connect(":memory:")
        self.base.execute("create table passes as select ? as word", (src,))

    def ring(self, *_):
        raise AuthenticationError(response_code=408, response_msg="late")

    def authenticate(self, headers, target_host, target_port):
        signal.signal(signal.SIGALRM, self.ring)
        if headers.get("X-Pass") == "slow":
            signal.setitimer(signal.ITIMER_REAL, 1)
            signal.pause()
        if not self.base.execute("select 1 from passes where word = ?", (headers.get("X-Pass"),)).fetchone():
            raise AuthenticationError(response_code=401, response_headers={"WWW-Authenticate": "Base"})

class Usual:
    # Refuses with headers that an answer has anyway.

    def __init__(self, src=None):
        pass

    def authenticate(self, headers, target_host, target_port):
        said = {"Content-Type": "text/html", "Content-Length": "0", "Connection": "close", "Server": "mine",
                "Date": "Mon, 01 Jan 2024 00:00:00 GMT", "WWW-Authenticate": 'Basic realm="mine"', "X-Why": "no pass"}
        raise AuthenticationError(response_code=int(headers.get("X-Code")), response_headers=said)

class Target:
    # Says where its request would go.

    def __init__(self, src=None):
        self.source = src

    def authenticate(self, headers, target_host, target_port):
        said = "%s %s" % (target_host, str(target_port) == self.source)
        raise AuthenticationError(response_code=403, response_headers={"X-Target": said})

class Guard:
    def __init__(self, src=None):
        self.source = src

    def authenticate(self, headers, target_host, target_port):
        if self.source not in (headers.get("X-Pass"), headers.get("X-Forwarded-User")):
            raise AuthenticationError(response_code=418, response_headers={"X-Why": "no pass"}, response_msg="teapot")
""")  # fmt: skip
    half.note["plugins"] = half.place / "plugins"


def with_tokens(half):
    """A web root and a token file."""
    files({"web/text.txt": "text"})(half)
    write(half, "tokens", f"good: 127.0.0.1:{half.target.port}\n")


def custom_with_tokens(half):
    """Both of these."""
    custom(half)
    with_tokens(half)


def auth(name, source, *words, **more):
    """A group with an auth plugin."""
    options = [f"--auth-plugin={name}", *([f"--auth-source={source}"] if source is not None else []), *words]
    return Group(f"auth-{name}-{source}-{len(words)}", tuple(options), **{"target": Echo, "setup": with_tokens, **more})


BASIC = auth("BasicHTTPAuth", "user:pass:word", "--web=$place/web")
BASIC_WEB = auth("BasicHTTPAuth", "user:pass:word", "--web=$place/web", "--web-auth")
COMMAND = Group("auth-command", target=Echo)
ORIGIN = auth("ExpectOrigin", "http://good.example https://other.example:8443")
ORIGIN_LIST = auth("ExpectOrigin", "HTTP://GOOD.example:80")
SECRET = auth("BasicHTTPAuth", "@$place/secret", setup=files({"secret": "user:from-a-file\nno more\n"}))
CN = auth("ClientCertCNAuth", "gateway.test second", "--cert=$both", "--ssl-only", "--verify-client", "--cafile=$ca",
    setup=pair)
CN_OTHER = auth("ClientCertCNAuth", "somebody else", "--cert=$both", "--ssl-only", "--verify-client", "--cafile=$ca",
    setup=pair)
TOKENS = auth("BasicHTTPAuth", "user:pass", "--token-plugin=TokenFile", "--token-source=$place/tokens", to="")
# The Python that plugins find first is one that has websockify, as it was where these plugins were used before.
BESIDE = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
MINE = auth("guard.Guard", "open", setup=custom, env={"PYTHONPATH": "$plugins", "PATH": BESIDE})
MAIN, USUAL = (auth(f"guard.{name}", "open", setup=custom, env={"PYTHONPATH": "$plugins", "PATH": BESIDE})
               for name in ("Main", "Usual"))  # fmt: skip
TOLD = auth("guard.Target", "$target", "--web=$place/web", "--web-auth", setup=custom_with_tokens,
    env={"PYTHONPATH": "$plugins", "PATH": BESIDE})
MINE_TOKENS = auth("guard.Guard", "open", "--token-plugin=TokenFile", "--token-source=$place/tokens", to="",
    setup=custom_with_tokens, env={"PYTHONPATH": "$plugins", "PATH": BESIDE})

OWN = auth("websockify.auth_plugins.BasicHTTPAuth", "user:pass", env={"PATH": BESIDE})


def come(*lines, path="/", tls=None):
    """An upgrade with these headers; behind a 101 an echo shows that it works."""

    def do(half):
        with half.connect(*([tls(), "gateway.test"] if tls else [])) as client:
            answer = client.send(upgrade(path, *lines)).answer()
            return answer.seen(echo=client.send(frame(BINARY, b"ping")).data(4) if answer.code == 101 else None)

    return do


def ask(*lines, path="/text.txt", method="GET"):
    """A request for a file with these headers."""

    def do(half):
        with half.connect() as client:
            client.send(request(path, *lines, method=method))
            return client.answer(method == "HEAD").seen()

    return do


def begin(*words):
    """What becomes of a start with these words; if there is a server, of a client with a password and an origin."""

    def do(half):
        half.server = run = half.start(*words, "127.0.0.1:$port", "127.0.0.1:$target")
        run.wait_for(r"proxying from|\(end of output\)", 30)
        if "proxying from" in run.said():
            return come(basic("a:b"), "Origin: http://good.example")(half)
        return Seen(status=run.child.wait(20), said=run.said())

    return do


def own_certificate():
    """A client whose certificate is in the name of gateway.test."""
    return context(cert=signed("client").both)


IN = {"code": 101, "echo": b"ping"}
BODY = "F 4: refusals say how long they are and that they close"
ASKED = {"code": 401, "www-authenticate": 'Basic realm="Websockify"'}
NEAT = {"content-length": lambda length: length is not None, "connection": "close"}


def refused(ident, group, do, code, **more):
    """Two rows of a refusal: the same code and headers in both, and ours is complete."""
    return [same(ident, group, do, code=code, **more),
            better(f"{ident}-complete", group, do, BODY, {"code": code, "content-length": None, "connection": None},
                   {"code": code, **NEAT})]  # fmt: skip


GOOD, WRONG = basic("user:pass:word"), basic("user:wrong")
ROWS = [
    same("auth-basic", BASIC, come(GOOD), **IN),
    *refused("auth-basic-none", BASIC, come(), 401, www_authenticate='Basic realm="Websockify"'),
    *refused("auth-basic-wrong", BASIC, come(WRONG), 401, www_authenticate='Basic realm="Websockify"'),
    *refused("auth-basic-nothing-said", BASIC, come("Authorization:"), 401, www_authenticate='Basic realm="Websockify"'),
    *refused("auth-basic-other-scheme", BASIC, come("Authorization: Bearer abc"), 403),
    same("auth-basic-no-colon", BASIC, come(basic("user")), code=403),
    same("auth-basic-wrong-user", BASIC, come(basic("other:pass:word")), code=401),
    same("auth-basic-prefix", BASIC, come(basic("user:pass")), code=401),
    same("auth-basic-longer", BASIC, come(basic("user:pass:words")), code=401),
    same("auth-basic-empty", BASIC, come(basic(":")), code=401),
    better("auth-basic-padding", BASIC, come("Authorization: Basic dXNlcjpwYXNzOndvcmQ"[:-1]), "F 4: broken base64 is answered",
           SILENCE, {**ASKED, **NEAT}),
    *(better(f"auth-basic-scheme-{scheme}", BASIC, come(basic("user:pass:word", scheme)),
             "F 4: the name of a scheme has no case",
             {"code": 403}, IN) for scheme in ("basic", "BASIC")),
    better("auth-basic-twice", BASIC, come(GOOD, WRONG), "S A9: two headers that decide are refused", IN, {"code": 400}),
    better("auth-basic-secret-in-a-file", SECRET, come(basic("user:from-a-file")),
           "F 9: secrets need no command line (defect 20)",
           {"code": lambda code: code in (401, 403)}, IN),
    better("auth-basic-no-source", COMMAND, begin("--auth-plugin=BasicHTTPAuth"), "N 4: what lets nobody in is said at start",
           {"code": 401}, {"code": None, "status": 1, "said": has("--auth-plugin", "BasicHTTPAuth")}, alone=True),
    better("auth-plugin-unknown", COMMAND, begin("--auth-plugin=NoSuchPlugin"), "F 1.1: one clear line",
           {"status": 1, "said": has("Traceback")},
           {"status": lambda status: status in (1, 2), "said": lambda said: "NoSuchPlugin" in said and "Traceback" not in said},
           alone=True),
    same("auth-basic-files-free", BASIC, ask(), code=200, body=b"text"),
    same("auth-basic-any-path", BASIC, come(path="/text.txt"), code=401),
    # --web-auth.
    same("auth-web", BASIC_WEB, ask(GOOD), code=200, body=b"text"),
    *refused("auth-web-none", BASIC_WEB, ask(), 401, www_authenticate='Basic realm="Websockify"'),
    same("auth-web-head", BASIC_WEB, ask(method="HEAD"), code=401),
    same("auth-web-absent-file", BASIC_WEB, ask(path="/absent"), code=401),
    same("auth-web-absent-file-good", BASIC_WEB, ask(GOOD, path="/absent"), code=404),
    same("auth-web-upgrade", BASIC_WEB, come(GOOD), **IN),
    same("auth-web-upgrade-none", BASIC_WEB, come(), code=401),
    better("auth-web-post", BASIC_WEB, ask(method="POST"), "M 2.3: 405 without authentication, as in master", {"code": 501},
           {"code": 405}),
    # Origins.
    same("auth-origin", ORIGIN, come("Origin: http://good.example"), **IN),
    same("auth-origin-second", ORIGIN, come("Origin: https://other.example:8443"), **IN),
    *refused("auth-origin-wrong", ORIGIN, come("Origin: http://evil.example"), 403, reason="Invalid Origin"),
    same("auth-origin-absent", ORIGIN, come(), code=403),
    same("auth-origin-null", ORIGIN, come("Origin: null"), code=403),
    same("auth-origin-scheme", ORIGIN, come("Origin: https://good.example"), code=403),
    same("auth-origin-port", ORIGIN, come("Origin: http://good.example:8080"), code=403),
    same("auth-origin-longer", ORIGIN, come("Origin: http://good.example.evil"), code=403),
    *(better(f"auth-origin-{ident}", ORIGIN, come(f"Origin: {origin}"), "S A1: origins are compared as browsers write them",
             {"code": 403}, IN)
      for ident, origin in (("case", "HTTP://Good.Example"), ("default-port", "http://good.example:80"))),
    better("auth-origin-list-case", ORIGIN_LIST, come("Origin: http://good.example"),
           "S A1: origins are compared as browsers write them", {"code": 403}, IN),
    better("auth-origin-no-list", COMMAND, begin("--auth-plugin=ExpectOrigin"), "N 4: what lets nobody in is said at start",
           {"code": 403}, {"code": None, "status": 1, "said": has("--auth-plugin", "ExpectOrigin")}, alone=True),
    better("auth-origin-no-origin", COMMAND,
           begin("--auth-plugin=ExpectOrigin", "--auth-source=http://good.example http://desk/"),
           "N 4: what fits no page is said at start", {"code": 101},
           {"code": None, "status": 1, "said": has("ExpectOrigin", "'http://desk/' is no origin")}, alone=True),
    # Certificates.
    same("auth-cn", CN, come(tls=own_certificate), **IN),
    same("auth-cn-other", CN_OTHER, come(tls=own_certificate), code=403),
    same("auth-cn-header", CN_OTHER, come("SSL_CLIENT_S_DN_CN: somebody", tls=own_certificate), code=403),
    same("auth-cn-header-dashes", CN_OTHER, come("SSL-Client-S-DN-CN: somebody", tls=own_certificate), code=403),
    # Beside tokens.
    same("auth-token-good", TOKENS, come(basic("user:pass"), path="/?token=good"), **IN),
    same("auth-token-no-password", TOKENS, come(path="/?token=good"), code=401),
    better("auth-token-unknown", TOKENS, come(basic("user:pass"), path="/?token=bad"),
           "F 3.1: answer instead of closing without a word",
           SILENCE, REFUSAL),
    better("auth-token-unknown-no-password", TOKENS, come(path="/?token=bad"),
           "F 3.1: 401 comes first, so that only who may come learns which tokens lead somewhere", SILENCE, {**ASKED, **NEAT}),
    # One's own.
    same("auth-python", MINE, come("X-Pass: open"), **IN),
    same("auth-python-refused", MINE, come("X-Pass: shut"), code=418, x_why="no pass"),
    same("auth-python-absent", MINE, come(), code=418),
    same("auth-python-main-thread", MAIN, come("X-Pass: open"), **IN),
    same("auth-python-main-thread-refused", MAIN, come("X-Pass: shut"), code=401, www_authenticate="Base"),
    same("auth-python-main-thread-alarm", MAIN, come("X-Pass: slow"), code=408, reason="late"),
    *(same(f"auth-python-usual-headers-{code}", USUAL, come(f"X-Code: {code}"), code=code,
           www_authenticate='Basic realm="mine"', x_why="no pass")
      for code in (401, 403)),
    same("auth-python-target", TOLD, come(), code=403, x_target="127.0.0.1 True"),
    same("auth-python-target-of-a-file", TOLD, ask(), code=403, x_target="127.0.0.1 True"),
    same("auth-python-target-of-no-file", TOLD, ask(path="/absent"), code=403, x_target="127.0.0.1 True"),
    better("auth-python-claimed", MINE, come("X-Forwarded-User: open"), "F 4: what a client claims of itself plays no part", IN,
           {"code": 418}),
    # A class is told the target, so the token is looked up before it is asked.
    same("auth-python-token", MINE_TOKENS, come("X-Pass: open", path="/?token=good"), **IN),
    same("auth-python-token-refused", MINE_TOKENS, come(path="/?token=good"), code=418),
    better("auth-python-token-unknown", MINE_TOKENS, come(path="/?token=bad"),
           "F 3.1: answer instead of closing without a word", SILENCE, REFUSAL),
    same("auth-python-own", OWN, come(basic("user:pass")), **IN),
    same("auth-python-own-wrong", OWN, come(basic("user:wrong")), code=401, www_authenticate='Basic realm="Websockify"'),
    same("auth-python-own-none", OWN, come(), code=401),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

