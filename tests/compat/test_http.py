"""Plain HTTP: methods, files, directories, conditions, listings, and what is refused."""

import email.utils
import gzip
import os
import re
import time

from harness import Echo, Group, better, between, files, has, lacks, same
from wire import request

OLD = 1_600_000_000
PAST = email.utils.formatdate(OLD, usegmt=True)
RFC_850, ASCTIME = (time.strftime(form, time.gmtime(OLD)) for form in ("%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"))
LATER = email.utils.formatdate(OLD + 5, usegmt=True)
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
TEXT = "".join(f"line {number}\n" for number in range(50))
PACKED = gzip.compress(b"plain")
TYPES = {
    "a.js": "text/javascript", "a.mjs": "text/javascript", "a.css": "text/css", "a.html": "text/html",
    "a.htm": "text/html", "a.json": "application/json", "a.svg": "image/svg+xml", "a.wasm": "application/wasm",
    "a.ico": "image/vnd.microsoft.icon", "a.woff2": "font/woff2", "a.mp3": "audio/mpeg", "a.oga": "audio/ogg",
    "a.png": "image/png", "a.txt": "text/plain", "a.gz": "application/gzip", "a.unknown": "application/octet-stream",
    "none": "application/octet-stream",
}  # fmt: skip


def web(half):
    """A web root, and a file beside it that nobody may see."""
    tree = {f"web/types/{name}": "x" for name in TYPES}
    tree |= {"web/text.txt": TEXT, "web/sub/deep.txt": "deep", "web/.hidden": "hidden", "web/a b.txt": "blank",
             "web/100%.txt": "percent", "web/ü.txt": "umlaut", "web/empty.txt": "", "secret.txt": "secret",
             "web/index/index.html": "<p>index", "web/both/index.html": "html", "web/both/index.htm": "htm",
             "web/htm/index.htm": "<p>htm", "web/list/b.txt": "b", "web/list/A.txt": "a", "web/list/dir": None,
             "web/packed.css": "plain", "web/packed.css.gz": PACKED, "web/list/<i>.txt": "markup",
             "web/then": "then"}  # fmt: skip
    files(tree)(half)
    (half.place / "web/link.txt").symlink_to(half.place / "secret.txt")
    (half.place / "web/inside.txt").symlink_to("text.txt")
    os.mkfifo(half.place / "web/fifo")
    os.utime(half.place / "web/text.txt", (OLD, OLD))


NONE = Group("http-none", target=Echo)
WEB = Group("http-web", ("--web=$place/web",), target=Echo, setup=web)
FILE_ONLY = Group("http-file-only", ("--web=$place/web", "--file-only"), target=Echo, setup=web)


def ask(data, then=False, more=(), head_only=None):
    """Sends these bytes and reports the answer; `then` also whether the connection goes on."""

    def do(half):
        with half.connect() as client:
            client.send(data)
            answer = client.answer(data.startswith(b"HEAD ") if head_only is None else head_only)
            return answer.seen(then=client.then() if then else None)

    return do


def get(path, *lines, **more):
    """A GET."""
    return ask(request(path, *lines), **more)


def pipelined(half):
    """Three requests in one piece."""
    with half.connect() as client:
        client.send(request("/text.txt") + request("/sub/deep.txt") + request("/index/"))
        answers = [client.answer() for _ in range(3)]
        return {"codes": [answer.code for answer in answers], "bodies": [answer.body[:8] for answer in answers]}


def piecewise(half):
    """A request that comes a byte at a time."""
    with half.connect() as client:
        for byte in request("/sub/deep.txt"):
            client.send(bytes([byte]))
        return client.answer().seen()


def silent(half):
    """A client that connects and leaves."""
    with half.connect() as client:
        client.finish()
        return {"rest": client.rest()}


def silent_for_long(half):
    """A client that connects, says nothing and stays."""
    with half.connect() as client:
        start = time.monotonic()
        rest = client.rest()
        return {"rest": rest, "seconds": time.monotonic() - start}


def half_head(half):
    """A client that ends its stream inside its head."""
    with half.connect() as client:
        client.send(b"GET /text.txt HTTP/1.1\r\nHost: x").finish()
        return {"rest": client.rest()[:12]}


ROWS = [
    # Without a web root.
    same("http-none-get", NONE, get("/", then=True), code=405, reason="Method Not Allowed", version="HTTP/1.1", then="closed",
         connection="close", date=DATE, content_type=re.compile("text/html; ?charset=utf-8", re.I), body=has(b"405")),
    same("http-none-head", NONE, ask(request("/", method="HEAD"), then=True), code=405, reason="Method Not Allowed",
         body=b"", then="closed", content_length=re.compile(r"[1-9]\d*")),
    same("http-none-get-file", NONE, get("/text.txt"), code=405),
    # Files.
    same("http-file", WEB, get("/text.txt", then=True), code=200, reason="OK", version="HTTP/1.1", body=TEXT.encode(),
         content_type=re.compile("text/plain.*"), content_length=str(len(TEXT)), last_modified=PAST, date=DATE, then="open"),
    same("http-file-head", WEB, ask(request("/text.txt", method="HEAD"), then=True), code=200, body=b"",
         content_type=re.compile("text/plain.*"), content_length=str(len(TEXT)), last_modified=PAST, then="open"),
    same("http-file-empty", WEB, get("/empty.txt", then=True), code=200, body=b"", content_length="0", then="open"),
    same("http-file-query", WEB, get("/text.txt?token=1&x=y"), code=200, body=TEXT.encode()),
    better("http-file-fragment", WEB, get("/text.txt#part"),
           "S H12: a # in the target is refused, it is never sent by a client",
           {"code": 200, "body": TEXT.encode()}, {"code": 400}),
    same("http-file-escaped", WEB, get("/a%20b.txt"), code=200, body=b"blank"),
    same("http-file-escaped-percent", WEB, get("/100%25.txt"), code=200, body=b"percent"),
    same("http-file-utf8", WEB, get("/%C3%BC.txt"), code=200, body=b"umlaut"),
    same("http-file-deep", WEB, get("/sub/deep.txt"), code=200, body=b"deep"),
    better("http-file-dots-inside", WEB, get("/sub/../sub/./deep.txt"),
           "S W1: dots are no part of a path; clients resolve them",
           {"code": 200, "body": b"deep"}, {"code": 404}),
    same("http-file-link-inside", WEB, get("/inside.txt"), code=200, body=TEXT.encode()),
    same("http-file-slash", WEB, get("/text.txt/"), code=404),
    same("http-file-missing", WEB, get("/absent.txt", then=True), code=404, reason="File not found", connection="close",
         then="closed", body=has(b"404", b"File not found")),
    same("http-file-missing-head", WEB, ask(request("/absent.txt", method="HEAD")), code=404, body=b""),
    same("http-file-version-10", WEB, ask(request("/sub/deep.txt", version="HTTP/1.0"), then=True), code=200,
         version="HTTP/1.1", body=b"deep", then="closed"),
    same("http-file-connection-close", WEB, get("/sub/deep.txt", "Connection: close", then=True), code=200, then="closed"),
    same("http-file-upgrade-other", WEB, get("/sub/deep.txt", "Connection: Upgrade", "Upgrade: h2c"), code=200, body=b"deep"),
    same("http-file-pipelined", WEB, pipelined, codes=[200, 200, 200], bodies=[b"line 0\nl", b"deep", b"<p>index"]),
    same("http-file-piecewise", WEB, piecewise, code=200, body=b"deep"),
    same("http-file-escape-dots", WEB, get("/../secret.txt"), code=404),
    same("http-file-escape-encoded", WEB, get("/%2e%2e/secret.txt"), code=404),
    same("http-file-escape-slash", WEB, get("/..%2fsecret.txt"), code=404),
    better("http-file-hidden", WEB, get("/.hidden"), "S W2: dot files are not served", {"code": 200}, {"code": 404}),
    better("http-file-link-outside", WEB, get("/link.txt"), "S W2: symlinks out of the root are not followed",
           {"code": 200, "body": b"secret"}, {"code": 404}),
    better("http-file-nul", WEB, get("/sub/%00"), "S W1: NUL is answered, not met with silence", {"code": 0}, {"code": 400}),
    better("http-file-range", WEB, get("/text.txt", "Range: bytes=0-3"), "F 2.4: ranges", {"code": 200}, {"code": 206}),
    better("http-file-gzip", WEB, get("/packed.css", "Accept-Encoding: gzip"), "F 2.4: compressed files", {"body": b"plain",
           "content-encoding": None}, {"body": PACKED, "content-encoding": "gzip"}),
    same("http-file-no-gzip", WEB, get("/packed.css"), body=b"plain", content_encoding=None),
    better("http-file-etag", WEB, get("/text.txt"), "F 2.4: a tag", {"etag": None}, {"etag": lambda tag: tag is not None}),
    better("http-file-no-cache", WEB, get("/text.txt"), "F 2.4: caches ask again", {"cache-control": None},
           {"cache-control": "no-cache"}),
    better("http-file-nosniff", WEB, get("/text.txt"), "F 10: security headers", {"x-content-type-options": None},
           {"x-content-type-options": "nosniff"}),
    *(same(f"http-type-{name.lstrip('a.') or name}", WEB, get(f"/types/{name}"), code=200,
           content_type=re.compile(re.escape(kind) + "(; ?charset=utf-8)?")) for name, kind in TYPES.items()),
    # Conditions.
    same("http-304", WEB, get("/text.txt", f"If-Modified-Since: {PAST}", then=True), code=304, body=b"",
         content_length=None, then="open"),
    same("http-304-later", WEB, get("/text.txt", f"If-Modified-Since: {LATER}"), code=304),
    same("http-304-rfc850", WEB, get("/text.txt", f"If-Modified-Since: {RFC_850}"), code=304),
    same("http-304-asctime", WEB, get("/text.txt", f"If-Modified-Since: {ASCTIME}"), code=304),
    same("http-304-head", WEB, ask(request("/text.txt", f"If-Modified-Since: {PAST}", method="HEAD")), code=304),
    same("http-since-before", WEB, get("/text.txt", "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT"), code=200),
    same("http-since-nonsense", WEB, get("/text.txt", "If-Modified-Since: yesterday"), code=200),
    same("http-since-and-none-match", WEB, get("/text.txt", f"If-Modified-Since: {PAST}", 'If-None-Match: "x"'), code=200),
    # Directories.
    same("http-get-directory-301", WEB, get("/sub", then=True), code=301, location="/sub/", content_length="0", body=b"",
         then="open"),
    same("http-get-directory-301-query", WEB, get("/sub?a=b&c"), code=301, location="/sub/?a=b&c"),
    same("http-head-directory-301", WEB, ask(request("/sub", method="HEAD")), code=301, location="/sub/"),
    same("http-directory-index", WEB, get("/index/"), code=200, body=b"<p>index", content_type=re.compile("text/html.*")),
    same("http-directory-index-head", WEB, ask(request("/index/", method="HEAD")), code=200, content_length="8", body=b""),
    same("http-directory-index-htm", WEB, get("/htm/"), code=200, body=b"<p>htm"),
    same("http-directory-index-first", WEB, get("/both/"), code=200, body=b"html"),
    same("http-directory-listing", WEB, get("/list/", then=True), code=200,
           content_type=re.compile("text/html; ?charset=utf-8"),
         body=has(b"Directory listing for /list/", b"A.txt", b"b.txt", b"dir/", b"&lt;i&gt;.txt"), then="open"),
    same("http-directory-listing-order", WEB, get("/list/"), code=200, body=re.compile(r"(?s).*A\.txt.*b\.txt.*dir/.*")),
    same("http-directory-listing-escaped", WEB, get("/list/"), body=lacks(b"<i>.txt")),
    same("http-directory-listing-root", WEB, get("/"), code=200, body=has(b"text.txt", b"sub/")),
    same("http-directory-listing-head", WEB, ask(request("/list/", method="HEAD")), code=200, body=b"",
         content_length=re.compile(r"[1-9]\d*")),
    better("http-directory-listing-hidden", WEB, get("/"), "S W2: dot files are not listed", {"body": has(b".hidden")},
           {"body": lacks(b".hidden")}),
    same("http-directory-missing", WEB, get("/nowhere/"), code=404),
    better("http-double-slash", WEB, get("//sub"), "S W3: no path with two slashes in front", {"code": 301,
           "location": "/sub/"}, {"code": 400}),
    same("http-file-only-directory", FILE_ONLY, get("/list/", then=True), code=404, reason="Not Found", then="closed"),
    same("http-file-only-missing", FILE_ONLY, get("/nowhere/"), code=404, reason="File not found"),
    same("http-file-only-root", FILE_ONLY, get("/"), code=404),
    same("http-file-only-index", FILE_ONLY, get("/index/"), code=200, body=b"<p>index"),
    same("http-file-only-file", FILE_ONLY, get("/text.txt"), code=200),
    same("http-file-only-301", FILE_ONLY, get("/sub"), code=301, location="/sub/"),
    # Methods.
    *(better(f"http-method-{method.lower()}", WEB, ask(request("/text.txt", "Content-Length: 0", method=method)),
             "M 2.3: 405, as in master", {"code": 501}, {"code": 405}) for method in ("POST", "PUT", "PATCH", "DELETE",
                 "OPTIONS")),
    same("http-method-trace", WEB, ask(request("/text.txt", method="TRACE")), code=501),
    same("http-method-unknown", WEB, ask(request("/text.txt", method="BREW")), code=501),
    same("http-method-lower-case", WEB, ask(request("/text.txt", method="get")), code=501),
    better("http-none-post", NONE, ask(request("/", "Content-Length: 0", method="POST")), "M 2.3: 405, as in master",
           {"code": 501}, {"code": 405}),
    # Heads that are refused, or nearly.
    better("http-bad-syntax", WEB, ask(b"nonsense\r\n\r\n", then=True), "N 2.3: a page has a status line in front",
           {"code": -1, "body": has(b"400"), "then": "closed"}, {"code": 400, "then": "closed"}),
    same("http-bad-space", WEB, ask(b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"), code=400),
    better("http-bad-version", WEB, ask(b"GET / HTTP/x.y\r\nHost: x\r\n\r\n"), "N 2.3: a page has a status line in front",
           {"code": -1, "body": has(b"400")}, {"code": 400}),
    better("http-version-3", WEB, ask(b"GET / HTTP/3.0\r\nHost: x\r\n\r\n"), "N 2.3: a page has a status line in front",
           {"code": -1, "body": has(b"505")}, {"code": 505}),
    same("http-target-too-long", WEB, get("/" + "a" * 70000), code=414),
    same("http-header-too-long", WEB, get("/text.txt", "X-Long: " + "a" * 70000), code=431),
    same("http-too-many-headers", WEB, get("/text.txt", *(f"X-{number}: a" for number in range(110))), code=431,
         reason="Too many headers"),
    same("http-many-headers", WEB, get("/text.txt", *(f"X-{number}: a" for number in range(90))), code=200),
    same("http-no-host", WEB, ask(b"GET /sub/deep.txt HTTP/1.1\r\n\r\n"), code=200, body=b"deep"),
    same("http-silent-end", WEB, silent, rest=b""),
    same("http-silent-for-long", WEB, silent_for_long, rest=b"", seconds=between(2.5, 9)),
    better("http-half-head-end", WEB, half_head, "S H4: a head that was cut off is not a request",
           {"rest": b"HTTP/1.1 200"}, {"rest": b""}),
    better("http-lf-only", WEB, ask(b"GET /sub/deep.txt HTTP/1.1\nHost: x\n\n"), "S H4: only CRLF ends a line", {"code": 200},
           {"code": 400}),
    better("http-server", WEB, get("/text.txt"), "N 2.3: the header names who answers, and no version of Python",
           {"server": re.compile(r"WebSockify Python/\d.*")}, {"server": "websplice"}),
    # What is shorter than theirs.
    better("http-target-of-9000", WEB, get("/" + "a" * 9000), "S H1: a target has at most 8 KiB", {"code": 404}, {"code": 414}),
    better("http-header-of-20000", WEB, get("/text.txt", "X-Long: " + "a" * 20000), "S H1: a head has at most 16 KiB",
           {"code": 200},
           {"code": 431}),
    better("http-head-of-20000", WEB, get("/text.txt", *(f"X-{number}: {'a' * 200}" for number in range(90))),
           "S H1: a head has at most 16 KiB", {"code": 200}, {"code": 431}),
    same("http-target-of-8000", WEB, get("/" + "a" * 8000), code=404),
    same("http-header-of-8000", WEB, get("/text.txt", "X-Long: " + "a" * 8000), code=200),
    better("http-expect", WEB, get("/text.txt", "Expect: 100-continue", "Content-Length: 4"),
           "N 2.3: bodies are never read, so nobody is asked for one", {"code": 100}, {"code": 200, "connection": "close"}),
    better("http-host-twice", WEB, get("/text.txt", "Host: other.test"), "S H6: two headers that decide are refused",
           {"code": 200},
           {"code": 400}),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

