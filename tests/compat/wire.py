"""A client that sends exactly the bytes it is told and reports exactly what comes back: HTTP heads, frames, and the end.

Nothing here judges, so that a server may answer as wrongly as it likes. Every wait has a deadline.
"""

import base64
import dataclasses
import hashlib
import socket
import struct

DEADLINE = 20.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, mask=b"\x11\x22\x33\x44", rsv=0, length=None, form=None):
    """A frame as a client sends it. `mask=None` sends none, `length` announces another length, `form` is 7, 16 or 64 bits."""
    announced = len(payload) if length is None else length
    form = form or (7 if announced < 126 else 16 if announced < 65536 else 64)
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if form == 7:
        head += bytes([masked | announced])
    elif form == 16:
        head += bytes([masked | 126]) + struct.pack(">H", announced)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", announced)
    if not mask:
        return head + payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + mixed.to_bytes(len(payload), "big")


def close(code=None, reason=""):
    """A close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason.encode())


def request(path="/", *lines, method="GET", version="HTTP/1.1"):
    """A request head of these lines."""
    return "\r\n".join([f"{method} {path} {version}", "Host: gateway.test", *lines, "", ""]).encode("latin-1")


def upgrade(path="/", *lines, protocol="binary", leave=(), host="gateway.test", version="13", key=KEY):
    """The head of an upgrade, `leave` naming headers to leave out."""
    headers = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": version,
               "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": protocol}  # fmt: skip
    kept = [f"{name}: {value}" for name, value in headers.items() if value is not None and name not in leave]
    return "\r\n".join([f"GET {path} HTTP/1.1", *kept, *lines, "", ""]).encode("latin-1")


@dataclasses.dataclass
class Answer:
    """What a server answered to one request; `code` 0 if it closed without a word, -1 if it answered without a status line."""

    code: int
    reason: str = ""
    version: str = ""
    headers: list = dataclasses.field(default_factory=list)
    body: bytes = b""

    def header(self, name):
        """All values of a header, joined; None if it is absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def seen(self, **more):
        """A dictionary for rows: code, reason, version, body, and each header by its lower-case name."""
        named = {key.lower(): self.header(key) for key, _ in self.headers}
        own = {"code": self.code, "reason": self.reason, "version": self.version, "body": self.body}
        return Seen({**named, **own, **more})


class Seen(dict):
    """What was seen; what was not there is None."""

    def __missing__(self, key):
        return None


class Late(AssertionError):
    """Nothing came in time."""


class Connection:
    """One connection to a server, whatever it turns into."""

    def __init__(self, stream):
        self.stream, self.buffer, self.ended = stream, b"", None
        stream.settimeout(DEADLINE)

    def send(self, data):
        """Sends all of it; what a server no longer takes is no error here."""
        try:
            self.stream.sendall(data)
        except (ConnectionError, BrokenPipeError):
            pass
        return self

    def finish(self):
        """Ends our side of the stream."""
        try:
            self.stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return self

    def more(self):
        """Receives once; False at the end of the stream, whose manner is then in `ended`."""
        if self.ended:
            return False
        try:
            data = self.stream.recv(1 << 18)
        except TimeoutError:
            raise Late(f"nothing came for {self.stream.gettimeout()} s; so far {self.buffer[:200]!r}") from None
        except OSError as error:
            self.ended = "reset" if isinstance(error, ConnectionError) else f"error {error}"
            return False
        if not data:
            self.ended = "fin"
            return False
        self.buffer += data
        return True

    def take(self, length):
        """So many bytes, or fewer at the end of the stream."""
        while len(self.buffer) < length and self.more():
            pass
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def rest(self):
        """Everything up to the end of the stream."""
        while self.more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def answer(self, head_only=False):
        """One HTTP answer."""
        while b"\r\n\r\n" not in self.buffer and self.more():
            pass
        head, found, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return Answer(-1 if head else 0, body=head)
        first, *lines = head.decode("latin-1").split("\r\n")
        version, code, *reason = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines]
        answer = Answer(int(code), "".join(reason), version, [(name, value.strip()) for name, _, value in pairs])
        if head_only or answer.code in (101, 204, 304, 100):
            return answer
        length = answer.header("Content-Length")
        answer.body = self.rest() if length is None else self.take(int(length))
        return answer

    def then(self, path="/then"):
        """Whether the connection goes on after an answer: `open` or `closed`, found out by one more request."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n".encode())
        return "open" if self.take(9) == b"HTTP/1.1 " else "closed"

    def frame(self):
        """The next frame as (opcode, payload), with more words if it is odd; None at the end of the stream."""
        head = self.take(2)
        if len(head) < 2:
            return None
        odd = [] if head[0] & 0xF0 == 0x80 else [f"first byte {head[0]:#x}"]
        length = head[1] & 0x7F
        if head[1] & 0x80:
            odd.append("masked")
        if length > 125:
            length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
        payload = self.take(length)
        if len(payload) < length:
            odd.append("cut")
        return (head[0] & 0x0F, payload, *odd)

    def data(self, length):
        """So many payload bytes of binary frames; pings are passed over. Fewer if anything else comes."""
        got = b""
        while len(got) < length:
            frame = self.frame()
            if frame is None or frame[0] not in (BINARY, PING) or len(frame) > 2:
                return got, frame
            got += frame[1] if frame[0] == BINARY else b""
        return got

    def farewell(self):
        """What comes until the end of the stream: payload of binary frames, then the close frame as `CODE REASON`."""
        data, said, others = b"", None, []
        while got := self.frame():
            if got[0] == BINARY and said is None:
                data += got[1]
            elif got[0] == CLOSE and said is None:
                said = closing(got[1])
                self.send(frame(CLOSE, got[1]))
            elif got[0] != CLOSE:
                others.append(got)
        return Seen(data=data, close=said, others=others, ended="closed" if self.ended in ("fin", "reset") else self.ended)

    def end(self):
        """Closes the socket."""
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def closing(payload):
    """A close payload in words: `1000 Target closed`, or `empty`."""
    if len(payload) < 2:
        return "empty" if not payload else f"odd {payload!r}"
    return f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='backslashreplace')}".strip()
