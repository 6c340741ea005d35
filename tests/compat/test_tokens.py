"""Tokens: where they are found, every built-in plugin with the real thing behind it, plugins in Python, and refusals."""

import dataclasses
import json
import os
import pathlib
import re
import socket
import sys
import time

from harness import THEIRS, Echo, Group, better, elapsed, has, same
from services import Redis, Service, Two, keep, unix_echo
from wire import BINARY, Seen, closing, upgrade

# The three refusals: no token, one that leads nowhere, and nobody who can be asked.
ABSENT, REFUSAL, FAILURE = (
    {"code": code, "reason": reason, "body": lambda body: 0 < len(body) < 1000, "connection": "close"}
    for code, reason in ((403, "Token not present"), (404, "Token not found"), (503, "Service Unavailable")))  # fmt: skip
SILENCE = {"code": 0}
GONE, PROXIES = "http://127.0.0.1:1", ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CLEAR = "F 3.1: answer instead of closing without a word"


def write(half, name, text):
    """A file of the half."""
    (half.place / name).parent.mkdir(parents=True, exist_ok=True)
    (half.place / name).write_text(text)


def targets(half):
    """The addresses of the half's targets, and a Unix one."""
    half.note["other"] = half.target.other
    keep(half, unix_echo(half.place / "echo.sock"))
    return f"127.0.0.1:{half.target.port}", f"127.0.0.1:{half.target.other}"


def token_file(half):
    """A token file with all that may stand in one."""
    first, second = targets(half)
    six = keep(half, Echo(greeting=b"6", family=socket.AF_INET6, where=("::1", 0)))
    text = f"""# comment
   # indented comment

first: {first}
second: {second}
  indented: {first}
blank after:   {second}
with blank: {first}
tab:\t{first}
cr one: {first}\rcr two: {second}
twice: {first}
twice: {second}
unix: unix_socket:{half.place}/echo.sock
refused: 127.0.0.1:1
unknown: no-such-host.invalid:5900
service: localhost:no-such-service
ümlaut: {first}
a/b: {first}
::1: {second}
bare6: ::1:{six.port}
brackets: [::1]:{six.port}
"""
    write(half, "tokens", text)
    write(half, "broken", f"good: {first}\nno colon here\ntight:{first}\nthree: parts: here\nbehind: {second}\n")
    write(half, "noport", f"noport: localhost\ngood: {first}\n")
    write(half, "listed/one", f"one: {first}\n")
    write(half, "listed/two", f"two: {second}\n")
    write(half, "listed/.dot", f"dot: {second}\n")
    write(half, "nested/one", f"one: {first}\n")
    write(half, "nested/within/two", f"two: {second}\n")


def six(half):
    """The address of a target on IPv6."""
    return f"[::1]:{keep(half, Echo(greeting=b'6', family=socket.AF_INET6, where=('::1', 0))).port}"


def token_names(half):
    """A directory where each file is a token."""
    first, second = targets(half)
    for name, text in {"first": first, "second": f"  {second}\n\n", "unix": f"unix_socket:{half.place}/echo.sock",
                       "garbage": "nonsense", "six": six(half)}.items():  # fmt: skip
        write(half, f"names/{name}", text)
    write(half, "names/sub/inner", first)
    write(half, "outside", first)


def sockets(half):
    """A directory with sockets, and one beside it."""
    targets(half)
    for name in ("sockets/one", "sockets/sub/two", "sockets-other/evil"):
        (half.place / name).parent.mkdir(parents=True, exist_ok=True)
        keep(half, unix_echo(half.place / name))
    write(half, "sockets/plain", "no socket")
    (half.place / "sockets/link").symlink_to(half.place / "sockets-other/evil")


def service(half):
    """A web service that knows where tokens lead; both plugins ask it."""
    first, second = targets(half)
    host, _, port = first.partition(":")
    texts = {"first": first, "second": second, "newline": first + "\n", "unix": f"unix_socket:{half.place}/echo.sock",
        "a%2Fb": second,
             "a/b": first, "nonsense": "no target at all", "six": six(half), "marked": f"\ufeff{first}"}  # fmt: skip
    objects = {"first": {"host": host, "port": int(port)}, "text": {"host": host, "port": port},
               "unix": {"host": "unix_socket", "port": str(half.place / "echo.sock")}, "partial": {"host": host}}  # fmt: skip

    def answers(path):
        token = path.split("/", 2)[2]
        if token == "moved":
            return 302, "", ("Location", f"{path.replace('moved', 'first')}")
        if token == "slow":
            # Longer than a look-up may take, and long enough to be told apart from that.
            time.sleep(4.5)
            return 200, first
        if token.startswith("status"):
            return int(token[6:]), "127.0.0.1:1"
        known = texts if path.startswith("/text/") else objects
        if token == "marked" and known is objects:
            return 200, "\ufeff" + json.dumps(objects["first"])
        if token == "notjson":
            return 200, "nonsense"
        return (200, known[token]) if token in known else (404, "unknown")

    half.service = keep(half, Service(answers))
    half.note["service"] = half.service.port


def in_redis(half):
    """A Redis that knows where tokens lead."""
    first, second = targets(half)
    half.redis = server = keep(half, Redis())
    server.fill({"first": first, "second": f"  {second}\n", "json": json.dumps({"host": first}), "garbage": "nonsense",
                 "badjson": "{nonsense", "nohost": '{"port": 1}', "unix": f"unix_socket:{half.place}/echo.sock",
                 "six": six(half)})  # fmt: skip
    server.fill({"in-db": first}, db=2)
    server.fill({"space:first": second, "a:b:first": first, 'in"side":first': second})
    half.note["redis"] = server.port


def locked_redis(half):
    """A Redis with a password."""
    first, _ = targets(half)
    server = keep(half, Redis("--requirepass", "se:cret"))
    server.fill({"first": first}, password="se:cret")
    half.note["redis"] = server.port


def custom(half):
    """A plugin of one's own."""
    first, _ = targets(half)
    host, _, port = first.partition(":")
    keep(half, unix_echo(f"\0{half.place}"))
    write(half, "plugins/mine.py", f"""
class Plugin:
    def __init__(self, src):
        self.source = src

    def lookup(self, token):
        if token == self.source:
            return ({host!r}, {port!r})
        if token == "here":
            return (None, {port})
        if token == "abstract":
            return ("unix_socket", "\\0{half.place}")
        if token == "raise":
            raise RuntimeError("something broke")
        return None
""")  # fmt: skip
    half.note["plugins"] = half.place / "plugins"


def plugin(name, source, setup, *words, **more):
    """A group with a token plugin."""
    options = [f"--token-plugin={name}", *([f"--token-source={source}"] if source is not None else []), *words]
    return Group(f"tokens-{name}-{source}", tuple(options), **{"target": Two, "setup": setup, "to": "", **more})


FILE, BROKEN, NO_PORT, LISTED, NESTED, NO_FILE = (plugin("TokenFile", f"$place/{name}", token_file)
                                                  for name in ("tokens", "broken", "noport", "listed", "nested", "nowhere"))  # fmt: skip
RELATIVE = plugin("TokenFile", "tokens", token_file, "--web=$place/listed")
READ_ONLY = plugin("ReadOnlyTokenFile", "$place/tokens", token_file)
OLD = Group("tokens-target-config", ("--target-config=tokens",), target=Two, setup=token_file, to="")
OVER = Group("tokens-target-config-over", (*OLD.words, "--token-plugin=TokenRedis", "--token-source=127.0.0.1:1"), target=Two,
             setup=token_file, to="")  # fmt: skip
HOST = plugin("TokenFile", "$place/tokens", token_file, "--host-token")
NAMES = plugin("TokenFileName", "$place/names", token_names)
SOCKETS = plugin("UnixDomainSocketDirectory", "$place/sockets", sockets)
TEXTS = plugin("BaseTokenAPI", "http://127.0.0.1:$service/text/%s", service)
OBJECTS = plugin("JSONTokenApi", "http://127.0.0.1:$service/json/%s", service)
NAMED = plugin("BaseTokenAPI", "http://us%%20er:p%%40w@127.0.0.1:$service/text/%s", service)
ESCAPES = plugin("JSONTokenApi", "http://127.0.0.1:$service/js%%20on/%s", service)
NO_SERVICE = plugin("BaseTokenAPI", "http://127.0.0.1:1/%s", service)
# Proxies of the environment that nobody answers for: whoever is led where the service says has not asked them.
PROXIED, *DIRECT = (
    dataclasses.replace(TEXTS, name=f"tokens-proxy-{number}", env={name: "" for name in PROXIES} | said)
    for number, said in enumerate(({"http_proxy": GONE}, {"https_proxy": GONE}, {"http_proxy": GONE, "no_proxy": "a, 127.0.0.1"},
                                   {"http_proxy": GONE, "no_proxy": "127.0.0.0/8"}, {"HTTP_PROXY": GONE})))  # fmt: skip
REDIS, REDIS_DB, REDIS_SPACE, REDIS_QUOTED, REDIS_LETTERS = (
    plugin("TokenRedis", f"127.0.0.1:$redis{rest}", in_redis) for rest in ("", ":2", ":::space", ':::"a:b"', ':::in"side"'))  # fmt: skip
REDIS_LOCKED, REDIS_WRONG = (plugin("TokenRedis", f"127.0.0.1:$redis::{password}", locked_redis)
                             for password in ('"se:cret"', "wrong"))  # fmt: skip
REDIS_DEAD = plugin("TokenRedis", "127.0.0.1:1", token_file)
MINE = plugin("mine.Plugin", "magic", custom, env={"PYTHONPATH": "$plugins"})
# The Python that plugins find first is one that has websockify, whose own classes are plugins too.
OWN = plugin("websockify.token_plugins.TokenFile", "$place/tokens", token_file,
             env={"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"})  # fmt: skip
SOURCE = Group("tokens-command", target=Two, setup=token_names)


def come(path, *lines, **more):
    """An upgrade with this path: the greeting of the target it leads to, or the refusal, or the close frame."""

    def do(half):
        with half.connect() as client:
            answer = client.send(upgrade(half.fill(path), *lines, **more)).answer()
            seen = answer.seen(got=None)
            if answer.code == 101:
                got = client.frame()
                seen["got"] = got[1] if got[0] == BINARY else closing(got[1])
        return seen

    return do


def token(text, **more):
    """An upgrade with this token in the query."""
    return come(f"/?token={text}", **more)


def logged(path, pattern, *lines, **more):
    """An upgrade, and the line of the log that the pattern finds behind it; for ours, whether the secret is in any line."""

    def do(half):
        mark = half.server.mark()
        seen = come(path, *lines, **more)(half)
        line = half.server.since(mark, pattern) if half.name == THEIRS else half.server.since(mark, "end |http |refused|close")
        return Seen(code=seen["code"], line=line or "", secret="secret-token" in "\n".join(half.server.said().splitlines()))

    return do


def edited(half):
    """A line that is added while the server runs, then taken out again."""
    path = half.place / "tokens"
    before = token("added")(half)["code"]
    text = path.read_text()
    path.write_text(text + f"added: 127.0.0.1:{half.target.port}\n")
    with_it = token("added")(half)["got"]
    path.write_text(text)
    return Seen(before=before == 101, got=with_it, after=token("added")(half)["code"] == 101)


def changed(half):
    """A token whose target changes between two sessions that follow each other at once."""
    first, second = f"127.0.0.1:{half.target.port}", f"127.0.0.1:{half.target.other}"
    half.redis.fill({"changing": first})
    before = token("changing")(half)["got"]
    half.redis.fill({"changing": second})
    return Seen(before=before, after=token("changing")(half)["got"])


def asked(path):
    """What the web service is asked for a token."""

    def do(half):
        del half.service.asked[:]
        seen = token(path)(half)
        return Seen(seen, asked=half.service.asked[0], told=half.service.told)

    return do


def late(text):
    """An upgrade with this token, and the seconds until it is answered."""

    def do(half):
        seconds, seen = elapsed(lambda: token(text)(half))
        return Seen(seen, seconds=seconds)

    return do


def warned(half):
    """What is said of a source at the start, before anybody asks for a token."""
    line = half.server.since(0, "nowhere", half.patience(1))
    return Seen(line=half.blank(line or ""))


def at_start(*words, setup=token_names):
    """A start that fails, or one line of it."""

    def do(half):
        run = half.start(*words, "127.0.0.1:$port")
        run.wait_for(r"proxying from|\(end of output\)", 30)
        said = run.said()
        started = "proxying from" in said
        line = re.search(".*proxying from.*", said)
        return Seen(starts=started, status=None if started else run.child.wait(20), said=half.blank(said),
            line=line and half.blank(line[0]))

    return do


def leads(group, prefix, *tokens):
    """Rows of tokens that lead to a target, or fail behind the 101, in both."""
    return [same(f"{prefix}-{re.sub(r'[^a-z0-9]+', '-', ident)}", group, token(text), code=101, got=got) for ident, text,
        got in tokens]


def denied(group, prefix, *tokens, theirs=None, rule=CLEAR, ours=REFUSAL):
    """Rows of tokens that lead nowhere."""
    return [better(f"{prefix}-{ident}", group, token(text), rule, theirs or SILENCE, ours) for ident, text in tokens]


def token_free(half):
    """A request for a page needs no token."""
    with half.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.answer().seen()


FAILED = "1011 Failed to connect to downstream server"
ROWS = [
    # Where a token is found.
    same("token-query", FILE, come("/?token=first"), code=101, got=b"A"),
    same("token-query-path", FILE, come("/some/where?token=second"), code=101, got=b"B"),
    same("token-query-among-others", FILE, come("/?a=b&token=second&c=d"), code=101, got=b"B"),
    same("token-query-first-counts", FILE, come("/?token=second&token=first"), code=101, got=b"B"),
    same("token-query-escaped", FILE, come("/?token=%66irst"), code=101, got=b"A"),
    same("token-query-plus", FILE, come("/?token=with+blank"), code=101, got=b"A"),
    same("token-query-blank", FILE, come("/?token=with%20blank"), code=101, got=b"A"),
    same("token-query-newline-behind", FILE, come("/?token=first%0a"), code=101, got=b"A"),
    same("token-query-empty-then-good", FILE, come("/?token=&token=first"), code=101, got=b"A"),
    same("token-query-utf8", FILE, come("/?token=%C3%BCmlaut"), code=101, got=b"A"),
    *(better(f"token-{ident}", FILE, come(path, *lines), CLEAR, SILENCE, ABSENT) for ident, path, *lines in (
        ("absent", "/"), ("empty", "/?token="), ("name-case", "/?Token=first"), ("semicolon", "/?a=b;token=first"),
        ("in-cookie", "/", "Cookie: token=first"), ("in-header", "/", "token: first"), ("in-path", "/first"))),
    *denied(FILE, "token", ("unknown", "absent"), ("blank-in-front", "+first")),
    same("token-not-for-files", FILE, token_free, code=405),
    better("token-refused-log", FILE, logged("/?token=secret-token", "Token 'secret-token' not found"),
           "F 3.1: tokens are redacted",
           {"code": 0, "line": has("secret-token"), "secret": True}, {"secret": False}),
    # TokenFile.
    *leads(FILE, "tokenfile", ("first", "first", b"A"), ("second", "second", b"B"), ("indented", "indented", b"A"),
           ("blanks-in-name", "blank+after", b"B"), ("later-wins", "twice", b"B"), ("tab", "tab", b"A"), ("cr", "cr+one", b"A"), ("behind-cr", "cr+two", b"B"), ("unix-socket",
               "unix", b"U"),
           ("slash", "a/b", b"A"), ("refused", "refused", FAILED), ("unknown-host", "unknown", FAILED), ("unknown-service",
               "service", FAILED),
           ("bare-ipv6", "bare6", b"6")),
    better("tokenfile-absent", NO_FILE, warned, "F 1.1: what is wrong is said at start", {"line": ""},
           {"line": has("--token-source", "PLACE/nowhere", "503")}),
    *denied(NO_FILE, "tokenfile", ("absent-refused", "first"), ours=FAILURE),
    better("tokenfile-relative-with-web", RELATIVE, token("first"), "F 1.3: relative to where it was started", SILENCE,
           {"code": 101, "got": b"A"}),
    better("tokenfile-ipv6-brackets", FILE, token("brackets"), "F 3.2: brackets are an address's", {"code": 101, "got": FAILED},
           {"code": 101, "got": b"6"}),
    same("tokenfile-edited", FILE, edited, before=False, got=b"A", after=False),
    *leads(BROKEN, "tokenfile-broken", ("good", "good", b"A"), ("behind", "behind", b"B")),
    *denied(BROKEN, "tokenfile-broken", ("tight", "tight"), ("three", "three")),
    *denied(NO_PORT, "tokenfile", ("no-port", "noport")),
    *leads(LISTED, "tokenfile-directory", ("one", "one", b"A"), ("two", "two", b"B"), ("dot", "dot", b"B")),
    *denied(LISTED, "tokenfile-directory", ("unknown", "three")),
    better("tokenfile-directory-nested", NESTED, token("one"), "M 3.2: a directory within is passed over, as in master", SILENCE,
           {"code": 101, "got": b"A"}),
    *denied(NESTED, "tokenfile-directory-nested", ("within", "two")),
    *leads(READ_ONLY, "readonlytokenfile", ("first", "first", b"A"), ("unix", "unix", b"U")),
    *denied(READ_ONLY, "readonlytokenfile", ("unknown", "absent")),
    *leads(OLD, "target-config", ("first", "first", b"A"), ("second", "second", b"B")),
    *denied(OLD, "target-config", ("unknown", "absent")),
    *leads(OVER, "target-config-over-token-plugin", ("first", "first", b"A")),
    # --host-token.
    same("host-token", HOST, come("/", host="first"), code=101, got=b"A"),
    same("host-token-port", HOST, come("/", host="second:6080"), code=101, got=b"B"),
    same("host-token-query-ignored", HOST, come("/?token=first", host="second"), code=101, got=b"B"),
    better("host-token-case", HOST, come("/", host="FIRST"), "F 3.1: names are compared without case", SILENCE, {"code": 101,
           "got": b"A"}),
    better("host-token-brackets", HOST, come("/", host="[::1]:6080"), "F 3.1: brackets are handled", SILENCE, {"code": 101,
           "got": b"B"}),
    better("host-token-unknown", HOST, come("/", host="absent"), CLEAR, SILENCE, REFUSAL),
    better("host-token-absent", HOST, come("/", leave=["Host"]), CLEAR, SILENCE, ABSENT),
    # TokenFileName.
    *leads(NAMES, "tokenfilename", ("first", "first", b"A"), ("trimmed", "second", b"B"), ("unix", "unix", b"U")),
    *denied(NAMES, "tokenfilename", ("unknown", "absent"), ("dot", "."), ("dot-dot", ".."), ("outside", "../outside"),
            ("directory", "sub")),
    better("tokenfilename-path", NAMES, token("anywhere/first"), "S A4: a token is a plain name", {"code": 101, "got": b"A"},
           REFUSAL),
    better("tokenfilename-ipv6", NAMES, token("six"), "F 3.2: IPv6 addresses in every source", SILENCE, {"code": 101,
           "got": b"6"}),
    *denied(NAMES, "tokenfilename", ("garbage", "garbage"), ours=FAILURE),
    # UnixDomainSocketDirectory.
    *leads(SOCKETS, "unixdirectory", ("one", "one", b"U")),
    better("unixdirectory-sub", SOCKETS, token("sub/two"), "S A4: a token is a plain name", {"code": 101, "got": b"U"},
           REFUSAL),
    better("unixdirectory-link", SOCKETS, token("link"), "F 3.2: links are resolved, then strict containment", {"code": 101,
           "got": b"U"}, REFUSAL),
    *denied(SOCKETS, "unixdirectory", ("unknown", "absent"), ("no-socket", "plain"), ("itself", "."), ("dot-dot",
        "../sockets-none/x"),
            ("absolute", "/etc/passwd")),
    better("unixdirectory-sibling", SOCKETS, token("../sockets-other/evil"), "F 3.2: strict containment", {"code": 101,
           "got": b"U"},
           REFUSAL),
    # Web services.
    *leads(TEXTS, "basetokenapi", ("first", "first", b"A"), ("second", "second", b"B"), ("unix", "unix", b"U"),
           ("byte-order-mark", "marked", b"A")),
    *denied(TEXTS, "basetokenapi", ("unknown", "absent"), ("status-400", "status400"), ("status-403", "status403")),
    *denied(TEXTS, "basetokenapi", ("status-500", "status500"), ours=FAILURE),
    *denied(TEXTS, "basetokenapi", ("nonsense", "nonsense"), ours=FAILURE),
    better("basetokenapi-newline", TEXTS, token("newline"), "F 3.2: trim the answer", {"code": 101, "got": FAILED},
           {"code": 101, "got": b"A"}),
    better("basetokenapi-escaped", TEXTS, asked("a/b"), "F 3.2: percent-encode the token", {"asked": "/text/a/b", "got": b"A"},
           {"asked": "/text/a%2Fb", "got": b"B"}),
    better("basetokenapi-ipv6", TEXTS, token("six"), "F 3.2: accept IPv6", SILENCE, {"code": 101, "got": b"6"}),
    better("basetokenapi-slow", TEXTS, late("slow"), "F 10: look-ups have a time-out (wish 12)",
           {"code": 101, "got": b"A", "seconds": lambda seconds: seconds > 4},
           {**FAILURE, "seconds": lambda seconds: seconds < 4}),
    better("basetokenapi-redirect", TEXTS, token("moved"), "S A5: no redirects", {"code": 101, "got": b"A"},
           FAILURE),
    *denied(NO_SERVICE, "basetokenapi", ("dead", "first"), ours=FAILURE),
    *denied(PROXIED, "basetokenapi-proxy", ("dead", "first"), ours=FAILURE),
    *(same(f"basetokenapi-proxy-{ident}", group, token("first"), code=101, got=b"A") for ident, group in zip(
        ("of-the-other-scheme", "exempt-host", "exempt-network", "taken-back"), DIRECT)),
    *leads(OBJECTS, "jsontokenapi", ("number", "first", b"A"), ("text", "text", b"A"), ("unix", "unix", b"U"),
           ("byte-order-mark", "marked", b"A")),
    *denied(OBJECTS, "jsontokenapi", ("unknown", "absent")),
    same("basetokenapi-password", NAMED, asked("first"), got=b"A", told="Basic dXMgZXI6cEB3"),
    same("jsontokenapi-percent", ESCAPES, asked("first"), asked="/js%20on/first", got=b"A"),
    *denied(OBJECTS, "jsontokenapi", ("not-json", "notjson"), ("no-port", "partial"), ours=FAILURE),
    # Redis.
    *leads(REDIS, "tokenredis", ("first", "first", b"A"), ("trimmed", "second", b"B"), ("json", "json", b"A"), ("unix",
        "unix", b"U")),
    *denied(REDIS, "tokenredis", ("unknown", "absent")),
    *denied(REDIS, "tokenredis", ("garbage", "garbage"), ("bad-json", "badjson"), ("no-host", "nohost"), ours=FAILURE),
    better("tokenredis-cached", REDIS, changed, "F 10: look-ups have a short cache (wish 12)", {"before": b"A", "after": b"B"},
           {"before": b"A", "after": b"A"}),
    better("tokenredis-ipv6", REDIS, token("six"), "F 3.2: accept IPv6", SILENCE, {"code": 101, "got": b"6"}),
    *leads(REDIS_DB, "tokenredis-db", ("first", "in-db", b"A")),
    *denied(REDIS_DB, "tokenredis-db", ("other", "second")),
    *leads(REDIS_SPACE, "tokenredis-namespace", ("first", "first", b"B")),
    *denied(REDIS_SPACE, "tokenredis-namespace", ("other", "second")),
    *leads(REDIS_QUOTED, "tokenredis-quoted", ("namespace", "first", b"A")),
    *leads(REDIS_LETTERS, "tokenredis-quotes-inside", ("namespace", "first", b"B")),
    *leads(REDIS_LOCKED, "tokenredis", ("password", "first", b"A")),
    *denied(REDIS_WRONG, "tokenredis", ("password-wrong", "first"), ours=FAILURE),
    *denied(REDIS_DEAD, "tokenredis", ("dead", "first"), ours=FAILURE),
    # One's own.
    *leads(MINE, "token-python", ("known", "magic", b"A"), ("no-host", "here", b"A"), ("abstract-socket", "abstract", b"U")),
    *denied(MINE, "token-python", ("unknown", "absent")),
    *denied(MINE, "token-python", ("raises", "raise"), ours=FAILURE),
    *leads(OWN, "token-python-own", ("first", "first", b"A"), ("unix", "unix", b"U")),
    *denied(OWN, "token-python-own", ("unknown", "absent")),
    # Starts.
    same("token-banner", SOURCE, at_start("--token-plugin=TokenFile", "--token-source=$place/names/first"), alone=True,
           starts=True,
         line="  - proxying from HERE to targets generated by TokenFile"),
    better("token-plugin-unknown", SOURCE, at_start("--token-plugin=NoSuchPlugin", "--token-source=x"), "F 1.1: one clear line",
           {"starts": False, "status": 1, "said": has("Traceback")},
           {"starts": False, "status": lambda status: status in (1, 2),
               "said": lambda said: "NoSuchPlugin" in said and "Traceback" not in said},
           alone=True),
    better("tokenfilename-no-directory", SOURCE, at_start("--token-plugin=TokenFileName", "--token-source=$place/outside"),
           "F 1.1: one clear line", {"starts": False, "status": 1, "said": has("Traceback")},
           {"starts": False, "status": lambda status: status in (1, 2), "said": has("PLACE/outside")}, alone=True),
    better("tokenredis-bad-port", SOURCE, at_start("--token-plugin=TokenRedis", "--token-source=localhost:port"),
           "F 3.2: a bad source is a failure", {"starts": False, "status": 0},
           {"starts": False, "status": lambda status: status in (1, 2), "said": has("--token-source")}, alone=True),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

