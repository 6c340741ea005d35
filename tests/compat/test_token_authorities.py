"""Token services over HTTPS: whom the environment trusts, as Python's requests reads it, which theirs asks with."""

import functools
import pathlib
import shutil
import ssl
import tempfile
import threading
import time

from certificates import Authority, openssl
from harness import Group, better, same
from services import Service, Two, keep
from test_tokens import CLEAR, FAILURE, SILENCE, targets, token
from wire import Seen

VARIABLES = "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"
NONE = {name: "" for name in (*VARIABLES, "http_proxy", "https_proxy", "all_proxy")}
making, kept = threading.Lock(), tempfile.TemporaryDirectory(prefix="wsauth")


@functools.cache
def authorities():
    """The authority of all services here, and one that has nothing to do with them."""
    return tuple(Authority(pathlib.Path(kept.name) / name, name) for name in ("authority", "other"))


def secured(half):
    """A web service over TLS, and files of authorities: its own, somebody else's, and its own in a directory."""
    first, second = targets(half)
    with making:
        own, other = authorities()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.sign("service").both)
    shutil.copy(own.cert, half.place / "own.pem")
    shutil.copy(other.cert, half.place / "other.pem")
    (half.place / "hashed").mkdir()
    shutil.copy(own.cert, half.place / "hashed")
    openssl("rehash", half.place / "hashed")
    known = {"/first": first, "/second": second}

    def answers(path):
        return (200, known[path]) if path in known else (404, "unknown")

    half.note["service"] = keep(half, Service(answers, context)).port


def trusting(name, **variables):
    """A group whose service is judged by what these variables lead to."""
    words = "--token-plugin=BaseTokenAPI", "--token-source=https://localhost:$service/%s"
    return Group(f"token-authorities-{name}", words, target=Two, setup=secured, to="", env=NONE | variables)


def later(half):
    """A token before the file of authorities is there, and when it has come; ours looks again once a second."""
    before = token("first")(half)
    shutil.copy(half.place / "own.pem", half.place / "later.pem")
    until = time.monotonic() + 10
    while (after := token("first")(half))["code"] != 101:
        assert time.monotonic() < until, after
        time.sleep(0.1)
    return Seen(before, after=after["got"])


OWN, OTHER = "$place/own.pem", "$place/other.pem"
GOOD = {
    "requests": trusting("requests", REQUESTS_CA_BUNDLE=OWN),
    "requests-directory": trusting("directory", REQUESTS_CA_BUNDLE="$place/hashed"),
    "requests-before-curl": trusting("first", REQUESTS_CA_BUNDLE=OWN, CURL_CA_BUNDLE=OTHER),
    "requests-before-openssl": trusting("bundle", REQUESTS_CA_BUNDLE=OWN, SSL_CERT_FILE="$place/nowhere.pem"),
    "curl": trusting("curl", CURL_CA_BUNDLE=OWN),
    "curl-behind-empty": trusting("empty", REQUESTS_CA_BUNDLE="", CURL_CA_BUNDLE="$place/hashed"),
}
BAD = {
    "requests-other": trusting("other", REQUESTS_CA_BUNDLE=OTHER, CURL_CA_BUNDLE=OWN),
    "curl-other": trusting("curl-other", CURL_CA_BUNDLE=OTHER, SSL_CERT_FILE=OWN),
    "requests-gone": trusting("gone", REQUESTS_CA_BUNDLE="$place/nowhere.pem", CURL_CA_BUNDLE=OWN),
    "none": trusting("none"),
}
LATER = trusting("later", REQUESTS_CA_BUNDLE="$place/later.pem")
ROWS = [
    *(same(f"token-authorities-{ident}", group, token("first"), code=101, got=b"A") for ident, group in GOOD.items()),
    *(better(f"token-authorities-{ident}", group, token("first"), CLEAR, SILENCE, FAILURE) for ident, group in BAD.items()),
    better("token-authorities-later", LATER, later, CLEAR, {**SILENCE, "after": b"A"}, {**FAILURE, "after": b"A"}),
]


def test_row(row, pairs):
    row.judge(pairs)
