"""The opening handshake: what is an upgrade, which are refused and how, sub-protocols, and the bytes behind the request."""

import re

from harness import Echo, Group, Hand, better, files, has, same
from wire import ACCEPT, BINARY, Seen, close, frame, request, upgrade

ECHO = Group("upgrade-echo", target=Echo)
HAND = Group("upgrade-hand", target=Hand)
WEB = Group("upgrade-web", ("--web=$place/web",), target=Echo, setup=files({"web/text.txt": "text", "web/index.html": "index"}))


def ask(data):
    """Sends a request; behind a 101 an echo shows that the WebSocket works."""

    def do(half):
        with half.connect() as client:
            answer = client.send(data).answer()
            echo = None
            if answer.code == 101:
                echo = client.send(frame(BINARY, b"ping")).data(4)
            return answer.seen(echo=echo, order=[name for name, _ in answer.headers])

    return do


def offers(protocol, *lines):
    """An upgrade with this offer of sub-protocols."""
    return ask(upgrade("/", *lines, protocol=protocol))


def after(first):
    """An upgrade on a connection that has already served another request."""

    def do(half):
        with half.connect() as client:
            before = client.send(first).answer().code
            answer = client.send(upgrade()).answer()
            return Seen(before=before, code=answer.code, echo=client.send(frame(BINARY, b"ping")).data(4))

    return do


def early(half):
    """Data behind the request in the same segment, and some behind the answer: what the target gets of it."""
    with half.connect() as client:
        code = client.send(upgrade() + frame(BINARY, b"early")).answer().code
        target = half.target.take()
        client.send(frame(BINARY, b"+late") + close(1000))
        return Seen(code=code, got=target.rest())


def piecewise(half):
    """An upgrade that comes a byte at a time."""
    with half.connect() as client:
        for byte in upgrade():
            client.send(bytes([byte]))
        return Seen(code=client.answer().code)


def method(name):
    """The headers of an upgrade with another method."""
    return ask(upgrade().replace(b"GET ", name + b" ", 1))


GOOD = {"code": 101, "reason": "Switching Protocols", "version": "HTTP/1.1", "upgrade": "websocket", "connection": "Upgrade",
        "sec-websocket-accept": ACCEPT, "echo": b"ping"}  # fmt: skip
TRIM = "F 2.5: trim the offers, join repeated headers, prefer binary"
UNKNOWN = "F 2.5: unknown names are passed over, not refused"
LIST = "F 2.5: parse the list"
ROWS = [
    same("upgrade", ECHO, ask(upgrade()), **GOOD, sec_websocket_protocol="binary", date=re.compile(".* GMT"),
         sec_websocket_extensions=None),
    same("upgrade-header-order", ECHO, ask(upgrade()), order=["Server", "Date", "Upgrade", "Connection", "Sec-WebSocket-Accept",
         "Sec-WebSocket-Protocol"]),
    *(same(f"upgrade-version-{version}", ECHO, ask(upgrade(version=version)), **GOOD) for version in ("7", "8", "13")),
    *(better(f"upgrade-version-{version or 'empty'}", ECHO, ask(upgrade(version=version)),
             "F 2.5: add the header with the versions we speak",
             {"code": 400, "reason": f"Unsupported protocol version {version}".strip(), "sec-websocket-version": None},
             {"code": 426, "reason": re.compile(f"Unsupported protocol version ?{version}"),
              "sec-websocket-version": has("13")}) for version in ("6", "14", "0")),
    same("upgrade-version-absent", ECHO, ask(upgrade(leave=["Sec-WebSocket-Version"])), code=400,
         reason="Missing Sec-WebSocket-Version header", connection="close", body=has(b"Missing Sec-WebSocket-Version")),
    same("upgrade-key-absent", ECHO, ask(upgrade(leave=["Sec-WebSocket-Key"])), code=400,
         reason="Missing Sec-WebSocket-Key header"),
    same("upgrade-both-absent", ECHO, ask(upgrade(leave=["Sec-WebSocket-Key", "Sec-WebSocket-Version"])), code=400,
         reason="Missing Sec-WebSocket-Version header"),
    *(better(f"upgrade-{name.lower()}-twice", ECHO, ask(upgrade("/", f"{name}: {value}")),
             "S H6: two headers that decide are refused",
             {"code": 101}, {"code": 400}) for name, value in (("Host", "gateway.test"), ("Sec-WebSocket-Key", ACCEPT))),
    same("upgrade-key-short", ECHO, ask(upgrade(key="short")), code=101, echo=b"ping"),
    same("upgrade-key-words", ECHO, ask(upgrade(key="not base64 at all!")), code=101, echo=b"ping"),
    same("upgrade-key-not-ascii", ECHO, ask(upgrade(key="schl\u00fcssel")), code=400),
    same("upgrade-no-connection", ECHO, ask(upgrade(leave=["Connection"])), **GOOD),
    same("upgrade-connection-keep-alive", ECHO, ask(upgrade("/", "Connection: keep-alive", leave=["Connection"])), **GOOD),
    same("upgrade-connection-list", ECHO, ask(upgrade("/", "Connection: keep-alive, Upgrade", leave=["Connection"])), **GOOD),
    same("upgrade-version-10", ECHO, ask(upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1)), **GOOD),
    same("upgrade-no-host", ECHO, ask(upgrade(leave=["Host"])), **GOOD),
    same("upgrade-origin-foreign", ECHO, ask(upgrade("/", "Origin: http://elsewhere.example")), **GOOD),
    same("upgrade-any-path", WEB, ask(upgrade("/some/where?x=1")), **GOOD),
    same("upgrade-path-of-a-file", WEB, ask(upgrade("/text.txt")), **GOOD),
    same("upgrade-value-case", ECHO, ask(upgrade("/", "Upgrade: WebSocket", leave=["Upgrade"])), **GOOD),
    same("upgrade-name-case", ECHO, ask(upgrade("/", "UPGRADE: websocket", leave=["Upgrade"])), **GOOD),
    same("upgrade-extension-offered", ECHO, ask(upgrade("/", "Sec-WebSocket-Extensions: permessage-deflate")), **GOOD,
         sec_websocket_extensions=None),
    better("upgrade-list", ECHO, ask(upgrade("/", "Upgrade: h2c, websocket", leave=["Upgrade"])), LIST, {"code": 405}, GOOD),
    better("upgrade-second-header", ECHO, ask(upgrade("/", "Upgrade: h2c", "Upgrade: websocket", leave=["Upgrade"])), LIST,
           {"code": 405}, GOOD),
    better("upgrade-value-blanks", ECHO, ask(upgrade("/", "Upgrade: websocket  ", leave=["Upgrade"])), LIST, {"code": 405},
           GOOD),
    same("upgrade-other", ECHO, ask(upgrade("/", "Upgrade: h2c", leave=["Upgrade"])), code=405),
    same("upgrade-other-with-file", WEB, ask(upgrade("/text.txt", "Upgrade: h2c", leave=["Upgrade"])), code=200, body=b"text"),
    same("upgrade-absent", ECHO, ask(upgrade(leave=["Upgrade"])), code=405),
    same("upgrade-head", ECHO, ask(upgrade().replace(b"GET", b"HEAD", 1)), code=405),
    better("upgrade-post", ECHO, method(b"POST"), "M 2.3: 405, as in master", {"code": 501}, {"code": 405}),
    same("upgrade-after-a-file", WEB, after(request("/text.txt")), before=200, code=101, echo=b"ping"),
    same("upgrade-after-301", WEB, after(request("/text.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT")), before=304,
         code=101, echo=b"ping"),
    same("upgrade-piecewise", ECHO, piecewise, code=101),
    better("upgrade-early-data", HAND, early, "F 2.5: carry early bytes over", {"code": 101, "got": b"+late"},
           {"code": 101, "got": b"early+late"}),
    # Sub-protocols.
    same("subprotocol-absent", ECHO, offers(None), **GOOD, sec_websocket_protocol=None),
    same("subprotocol-empty", ECHO, offers(""), **GOOD, sec_websocket_protocol=None),
    same("subprotocol-binary", ECHO, offers("binary"), **GOOD, sec_websocket_protocol="binary"),
    same("subprotocol-binary-base64", ECHO, offers("binary, base64"), **GOOD, sec_websocket_protocol="binary"),
    same("subprotocol-base64-binary-close", ECHO, offers("base64,binary"), **GOOD, sec_websocket_protocol="binary"),
    same("subprotocol-trailing-comma", ECHO, offers("foo,"), **GOOD, sec_websocket_protocol=None),
    same("subprotocol-name-case", ECHO, ask(upgrade("/", "sec-websocket-PROTOCOL: binary", protocol=None)), **GOOD,
         sec_websocket_protocol="binary"),
    better("subprotocol-base64-binary", ECHO, offers("base64, binary"), TRIM,
           {"code": 400, "reason": "Invalid protocol selected"}, {**GOOD, "sec-websocket-protocol": "binary"}),
    better("subprotocol-two-headers", ECHO, offers("foo", "Sec-WebSocket-Protocol: binary"), TRIM,
           {"code": 400, "reason": "Invalid protocol selected"}, {**GOOD, "sec-websocket-protocol": "binary"}),
    *(better(f"subprotocol-{name.lower()}{'-upper' if name == 'Binary' else ''}", ECHO, offers(name), UNKNOWN,
             {"code": 400, "reason": "Invalid protocol selected"}, {**GOOD, "sec-websocket-protocol": None})
      for name in ("base64", "foo", "Binary", "chat")),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

