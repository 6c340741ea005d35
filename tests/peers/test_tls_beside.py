"""Python's websockify and ours beside each other, started with the same words: what TLS clients and plain ones meet.

Where ours means to do better, both are shown, so that a change on either side is seen.
"""

import contextlib
import os
import re
import socket
import ssl
import time

import pytest
from certificates import NAME, openssl, private
from support import BINARY, BUILT, Process, free_port, until

pytestmark = pytest.mark.usefixtures("ours")

THEIRS = BUILT / "peers/venv/bin/websockify"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
GET = b"GET /page?q=1 HTTP/1.1\r\nHost: gateway.test:6080\r\nConnection: close\r\n\r\n"
# How a connection ended: in order, with a reset, or, for TLS, in order but without a close_notify.
ORDERLY, RESET, RAGGED = "orderly", "reset", "ragged"


@pytest.fixture
def run(engine, keep, place):
    """Starts one of the two in an empty directory, in front of a target."""

    def start(program, *words, target="127.0.0.1:1", cwd=None):
        port = free_port()
        ours = ["--engine", engine] if program == BINARY else []
        process = keep(Process([program, *ours, *words, f"127.0.0.1:{port}", target], cwd=cwd or place))
        process.port = port
        return process

    return start


@pytest.fixture
def both(run):
    """Starts both with the same words and waits until they accept: ours, theirs."""

    def start(*words, **options):
        servers = [run(program, *words, **options) for program in (BINARY, THEIRS)]
        for server in servers:
            server.wait_for("proxying from")
            until(lambda server=server: accepts(server), "it accepts")
        return servers

    return start


def accepts(server):
    """Whether it accepts; both say that they listen a moment before they do."""
    assert server.child.poll() is None, server.said()
    try:
        socket.create_connection(("127.0.0.1", server.port), 5).close()
        return True
    except OSError:
        return False


def left(server):
    """The status it left with, and what it said."""
    status = server.child.wait(20)
    server.wait_for(r"\(end of output\)")
    return status, server.said()


def talk(server, request, context=None, name=NAME):
    """Sends this, if anything, and reads to the end: what came, how it ended, and after how many seconds."""
    begun, got = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        try:
            wire = context.wrap_socket(client, server_hostname=name, suppress_ragged_eofs=False) if context else client
            wire.sendall(request)
            while part := wire.recv(4096):
                got += part
                if got.startswith(b"HTTP/1.1 101") and got.endswith(b"\r\n\r\n"):
                    wire.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
            end = ORDERLY
        except (ConnectionResetError, BrokenPipeError):
            end = RESET
        except ssl.SSLEOFError:
            end = RAGGED
    return got, end, time.monotonic() - begun


def status(answer):
    """The status code of an answer; `None` if none came."""
    found = re.match(rb"HTTP/1\.1 (\d+) ", answer[0])
    return int(found[1]) if found else None


def alert(server, authority, *words):
    """The number of the alert that openssl gets; `None` for a handshake that went well and an answer."""
    said = openssl(
        "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.cert, "-ign_eof", *words,
        text=GET.decode(), check=False,
    )  # fmt: skip
    found = re.search(r"SSL alert number (\d+)", said)
    assert bool(found) != ("HTTP/1.1 405" in said), said
    return int(found[1]) if found else None


def context(authority, own=None):
    """A client that trusts the authority, and shows a certificate if it has one."""
    made = ssl.create_default_context(cafile=authority.cert)
    if own:
        made.load_cert_chain(own.both)
    return made


def test_without_a_certificate(run):
    """Nothing is called self.pem here, and only TLS is wanted."""
    for program in (BINARY, THEIRS):
        code, said = left(run(program, "--ssl-only"))
        assert code == 2 and re.search(r"error: SSL only and \S*self\.pem not found(: .*)?\n", said), said


def test_a_hello_without_a_certificate(both):
    """Both close without a word and tell the operator why; a plain client is served."""
    servers = both()
    hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
    assert [talk(server, hello)[0] for server in servers] == [b"", b""]
    servers[0].wait_for("end=no_certificate detail=.* --cert")
    assert [status(talk(server, GET)) for server in servers] == [405, 405]


def test_the_certificate_of_the_start_directory(both, authority, place):
    private(place / "self.pem", authority.sign("plain").both.read_text())
    for server in both("--ssl-only"):
        assert status(talk(server, UPGRADE, context(authority))) == 101
        assert status(talk(server, GET, context(authority))) == 405


def test_a_key_that_does_not_fit(run, authority, place):
    """Theirs finds out when a client comes, and has nothing to say to it; ours does not start."""
    words = ["--cert", authority.sign("plain").cert, "--key", authority.sign("staff").key]
    code, said = left(run(BINARY, *words))
    assert code == 1 and "does not belong to certificate" in said and len(said.splitlines()) == 2, said
    theirs = run(THEIRS, *words)
    until(lambda: accepts(theirs), "it accepts")
    assert talk(theirs, GET, context(authority))[0] == b""
    theirs.wait_for("handler exception: .*(mismatch|KEY_VALUES)")


@pytest.mark.parametrize("word, oldest", [("default", 2), ("tlsv1_1", 2), ("tlsv1_2", 2), ("tlsv1_3", 3)])
def test_the_oldest_version(both, authority, word, oldest):
    for server in both("--cert", authority.sign("plain").both, f"--ssl-version={word}"):
        assert alert(server, authority, "-tls1_3") is None
        assert alert(server, authority, "-tls1_2") == (None if oldest == 2 else 70)
        assert alert(server, authority, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0") in (40, 70)


def test_a_version_that_does_not_exist(run):
    for program in (BINARY, THEIRS):
        code, said = left(run(program, "--ssl-version=tlsv9"))
        assert code == 2 and "error: option --ssl-version: " in said and "tlsv9" in said, said


def test_a_plain_client_where_only_tls_is_wanted(both, run, authority):
    """Theirs closes without a word. Ours sends pages to https and refuses WebSockets, or closes as theirs if told to."""
    words = ["--cert", authority.sign("plain").both]
    ours, theirs = both("--ssl-only", *words)
    strict = run(BINARY, "--ssl-only=strict", *words)
    until(lambda: accepts(strict), "it accepts")
    for request in (GET, UPGRADE):
        for closing in (theirs, strict):
            assert talk(closing, request)[:2] in ((b"", ORDERLY), (b"", RESET))
    assert talk(strict, GET)[1] == ORDERLY, "and without a reset"
    answer = talk(ours, GET)
    assert (status(answer), answer[1]) == (301, ORDERLY)
    assert b"\r\nlocation: https://gateway.test:6080/page?q=1\r\n" in answer[0].replace(b"Location", b"location")
    answer = talk(ours, UPGRADE)
    assert (status(answer), answer[1]) == (403, ORDERLY)
    for server in (ours, theirs, strict):
        assert status(talk(server, UPGRADE, context(authority))) == 101


def test_a_plain_client_where_both_are_wanted(both, authority):
    for server in both("--cert", authority.sign("plain").both):
        for client in (None, context(authority)):
            assert status(talk(server, GET, client)) == 405
            assert status(talk(server, UPGRADE, client)) == 101


def test_certificates_of_clients(both, authority):
    """Both ask for one over TLS. Theirs lets plain clients in nevertheless, which ours does not."""
    words = ["--cert", authority.sign("plain").both, "--verify-client", "--cafile", authority.cert]
    staff = authority.sign("staff", names=["staff.test"])
    ours, theirs = both(*words)
    for server in (ours, theirs):
        assert status(talk(server, UPGRADE, context(authority, staff))) == 101
        assert alert(server, authority, "-tls1_3", "-cert", staff.cert, "-key", staff.key) is None
        assert alert(server, authority, "-tls1_3") == 116
        # RFC 5246 knows only a failure of the handshake; rustls uses the word of version 1.3.
        assert alert(server, authority, "-tls1_2") == (116 if server is ours else 40)
    assert [status(talk(server, UPGRADE)) for server in (ours, theirs)] == [403, 101]
    assert [status(talk(server, GET)) for server in (ours, theirs)] == [403, 405]


def test_silence(both, authority):
    """Closed after three seconds, without a word."""
    servers = both("--cert", authority.sign("plain").both)
    silent = [(socket.create_connection(("127.0.0.1", server.port), 10), time.monotonic()) for server in servers]
    for client, begun in silent:
        with client:
            assert client.recv(1) == b""
            assert 2.5 < time.monotonic() - begun < 5


def test_one_byte_and_no_more(both, authority, run):
    """Theirs waits for ever behind the first byte, of TLS as of a request. Ours gives both the same time from the start."""
    words = ["--cert", authority.sign("plain").both]
    _, theirs = both(*words)
    ours = run(BINARY, "--head-timeout", "2s", *words)
    until(lambda: accepts(ours), "it accepts")
    with contextlib.ExitStack() as held:

        def send(server, first):
            client = held.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            client.sendall(first)
            return client

        begun = time.monotonic()
        waiting = [send(theirs, first) for first in (b"\x16", b"G")]
        for client in [send(ours, first) for first in (b"\x16", b"G")]:
            assert client.recv(1) == b""
            assert 1.5 < time.monotonic() - begun < 4
        for client in waiting:
            client.settimeout(max(0.1, begun + 4 - time.monotonic()))
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_how_a_session_ends(both, authority, target):
    """Ours says close_notify, so that a cut can be told from an end."""
    servers = both("--cert", authority.sign("plain").both, target=target("echo").address)
    for server, end in zip(servers, (ORDERLY, RAGGED)):
        answer, ended, _ = talk(server, UPGRADE, context(authority))
        assert answer.endswith(b"\x88\x02\x03\xe8") and ended == end, (answer, ended)


def test_the_certificate_of_the_hour(both, authority, tmp_path):
    """A file that changed is used, without a word from anybody: theirs at the next client, ours within two seconds."""
    first, second = authority.sign("first"), authority.sign("second")
    used = private(tmp_path / "used.pem", first.both.read_text())
    servers = both("--cert", used)

    def shown(server):
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            with context(authority).wrap_socket(client, server_hostname=NAME) as wire:
                return wire.getpeercert(True)

    def der(pair):
        return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())

    assert [shown(server) for server in servers] == [der(first)] * 2
    os.replace(private(tmp_path / "new.pem", second.both.read_text()), used)
    for server in servers:
        until(lambda server=server: shown(server) == der(second), "the new certificate is shown", 2)
