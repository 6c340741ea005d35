"""Python's `websockets` behind targets whose bytes a plugin has cut into messages: lines, JSON, lengths, and what is too long."""

import contextlib
import json
import random
import socket
import ssl
import struct
import sys
import textwrap
import threading

import pytest
from support import KIB, MIB, Bridge, ask
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import connect

pytestmark = pytest.mark.usefixtures("ours")

# Leads all tokens to its source, each with the framing that it names: NAME, or NAME,CONFIGURATION.
PLUGIN = """
    import json
    import sys

    target = json.loads(sys.stdin.readline())["hello"]["source"]
    print(json.dumps({"ready": True, "by": "token"}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        framing, *config = question["token"].split(",", 1)
        allow = {"target": target, "framing": framing, "framing_config": config[0] if config else None}
        print(json.dumps({"id": question["id"], "allow": allow}), flush=True)
"""


class Target:
    """Sends these pieces to each who comes, each piece as far as possible by itself, then keeps what it is sent until the end."""

    def __init__(self, family, address, pieces):
        self.pieces, self.heard = pieces, bytearray()
        self.listener = socket.socket(family)
        self.listener.bind(address)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                with self.listener.accept()[0] as client, contextlib.suppress(OSError):
                    client.settimeout(30)
                    if client.family != socket.AF_UNIX:
                        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for piece in self.pieces:
                        client.sendall(piece)
                    client.shutdown(socket.SHUT_WR)
                    while data := client.recv(64 * KIB):
                        self.heard += data

    @property
    def word(self):
        """The target as the plugin says it."""
        name = self.listener.getsockname()
        return f"unix:{name}" if isinstance(name, str) else f"127.0.0.1:{name[1]}"

    def end(self):
        """Waits until who is there has gone; the first time it does."""
        if self.thread.is_alive():
            self.listener.shutdown(socket.SHUT_RDWR)
            self.thread.join(30)
            self.listener.close()
        return None if self.thread.is_alive() else 0


@pytest.fixture
def framed(keep, engine, tmp_path, place):
    """Starts a target and a server in front of it."""
    program = tmp_path / "framing.py"
    program.write_text(textwrap.dedent(PLUGIN))

    def start(pieces, *words, unix=False):
        address = str(place / "target") if unix else ("127.0.0.1", 0)
        target = keep(Target(socket.AF_UNIX if unix else socket.AF_INET, address, pieces))
        plugin = f"--token-plugin=exec:exec {sys.executable} {program}"
        return target, keep(Bridge(plugin, f"--token-source={target.word}", *words, engine=engine)).ready()

    return start


def messages(server, token, say=(), context=None):
    """All messages of a session, and the close behind them."""
    got = []
    url = server.url(f"?token={token}", scheme="wss" if context else "ws")
    with connect(url, ssl=context, compression=None, proxy=None, max_size=None) as session:
        for message in say:
            session.send(message)
        try:
            while True:
                got.append(session.recv(30))
        except (ConnectionClosedOK, ConnectionClosedError) as closed:
            return got, closed.rcvd.code


def shreds(stream, seed):
    """The stream in pieces of all sizes."""
    chance, pieces = random.Random(seed), []
    while stream:
        length = chance.choice((1, 2, 3, 10, 100, 5_000, 200_000))
        pieces.append(stream[:length])
        stream = stream[length:]
    return pieces


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_lines(framed, unix):
    lines = [f"{number} {'é€' * (number % 200)}\r\n" for number in range(20_000)]
    target, server = framed(shreds("".join(lines).encode() + b"rest\r", 1), unix=unix)
    got, code = messages(server, "newline", ["up ", b"\xff", "é"])
    assert (got, code) == ([*lines, "rest\r"], 1000)
    server.wait_for("end=target_closed")
    assert target.end() == 0
    assert target.heard == b"up \xff\xc3\xa9", "what the client says goes there as it is"


def test_each_message_is_what_it_can_be(framed):
    _, server = framed(shreds(b"text\n\xff\xfe\n\xc3\xa9\n", 2))
    assert messages(server, "newline,lf") == (["text\n", b"\xff\xfe\n", "é\n"], 1000)


def test_values_of_json(framed):
    chance = random.Random(3)

    def value(depth):
        kinds = [lambda: chance.randrange(-1000, 1000), chance.random, lambda: "é\"\\\n\u2028" * chance.randrange(9), lambda: None]
        if depth:
            kinds += [lambda: [value(depth - 1) for _ in range(chance.randrange(4))]] * 3
            kinds += [lambda: {f"k{at}\\": value(depth - 1) for at in range(chance.randrange(4))}] * 3
        return chance.choice(kinds)()

    values = [value(5) for _ in range(2_000)]
    written = [json.dumps(one, indent=chance.choice((None, 2)), ensure_ascii=chance.choice((True, False))) for one in values]
    _, server = framed(shreds("\n".join(written).encode() + b"\n{broken\n[1]\n", 4))
    got, code = messages(server, "json")
    assert [json.loads(one) for one in got[: len(values)]] == values
    assert (got[len(values) :], code) == ([b"\n{broken\n", "[1]"], 1000)
    assert messages(server, "json,trim")[0][: len(values)] == written


def test_records_that_say_how_long_they_are(framed):
    chance = random.Random(5)
    records = [chance.randbytes(chance.choice((0, 1, 100, 70_000))) for _ in range(200)]
    wire = [b"XY" + struct.pack(">I", len(record) + 4) + record for record in records]
    _, server = framed(shreds(b"".join(wire), 6))
    assert messages(server, "dynamic32,offset=2,static=-4,endian=big") == (wire, 1000)


def test_text_is_cut_between_characters(framed):
    text = "a¢€\U00010348" * 50_000
    _, server = framed(shreds(text.encode(), 7))
    got, code = messages(server, "text")
    assert ("".join(got), code) == (text, 1000), "a message that is no text would not join"
    assert b"".join(one.encode() if isinstance(one, str) else one for one in messages(server, "auto")[0]) == text.encode()


def test_a_message_that_is_too_long(framed):
    _, server = framed([b"fine\n", b"x" * (MIB - 1) + b"\n", b"x" * MIB + b"\n"])
    got, code = messages(server, "newline,lf")
    assert ([len(one) for one in got], code) == ([5, MIB], 1009)
    server.wait_for("end=message_too_large.*a message of the target is longer than --max-message")


def test_text_that_is_none(framed):
    _, server = framed([b"fine\xff"])
    assert messages(server, "text") == (["fine"], 1007)
    server.wait_for("end=target_unframed.*the target's text is not UTF-8")


def test_behind_tls(framed, authority):
    """The same where nothing can be cut in place."""
    lines = [f"line {number}\n" for number in range(50_000)]
    _, server = framed(shreds("".join(lines).encode(), 8), "--cert", authority.sign("plain").both)
    context = ssl.create_default_context(cafile=authority.cert)
    context.check_hostname = False
    assert messages(server, "newline,lf", context=context) == (lines, 1000)


def test_an_answer_that_makes_no_sense(framed):
    """A token is not told, so what the plugin made of it is not either."""
    _, server = framed([])
    assert ask(server, "?token=odd%22%5Cname")[0] == 503
    server.wait_for(r'framing \\"\(secret\)\\" is not known; there are binary, auto, text, newline')
    assert not any("odd" in line for _, line in server.lines), "what a secret holds may not hide it"
    assert ask(server, "?token=newline,CRLF")[0] == 503
    server.wait_for(r'framing \\"newline\\" cannot be configured as \\"CRLF\\"; write crlf, lfcr, lf or cr')
    assert ask(server, "?token=separator")[0] == 503
    server.wait_for(r'needs a \\"framing_config\\"; write the bytes')
