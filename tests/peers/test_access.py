"""Limits of access, with curl and Python's websockets as clients: targets, connections of one address, hosts."""

import contextlib
import socket

import pytest
from support import PLAIN, ask, status, until
from websockets.exceptions import ConnectionClosed, InvalidMessage
from websockets.sync.client import connect

pytestmark = pytest.mark.usefixtures("ours")
CLOSED = (ConnectionClosed, InvalidMessage, OSError, EOFError)


def test_a_name_that_leads_to_this_machine_is_no_way_in(bridge, target, place):
    """Whatever a file of tokens names, and whoever asks."""
    echo = target("echo")
    ways = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"]
    (place / "tokens").write_text("".join(f"t{at}: {way}:{echo.port}\n" for at, way in enumerate(ways)))
    words = [f"--target-config={place}/tokens"]
    server = bridge(*words)
    assert [status(server, f"?token=t{at}") for at in range(len(ways))] == [101] * len(ways)
    server = bridge(*words, "--deny-target=loopback,link-local,metadata")
    for at in range(len(ways)):
        assert status(server, f"?token=t{at}") == 403
        assert ask(server, f"?token=t{at}")[0] == 403
    server.wait_for(r"status=403 token=\S+ detail=.*--deny-target refuses 127\.0\.0\.1:")
    server = bridge(*words, f"--allow-target=127.0.0.1:{echo.port}")
    assert [status(server, f"?token=t{at}") for at in (0, 1)] == [101] * 2


def test_one_address_has_so_many_connections(bridge):
    """The next one is closed; another address and who comes later are served."""
    server = bridge("--echo", "--max-per-source=3")
    url = server.url(scheme="ws")

    def opened():
        try:
            return connect(url, **PLAIN)
        except CLOSED:
            return None

    with contextlib.ExitStack() as stack:
        # Whoever came to see whether it listens may not have left yet.
        held = [stack.enter_context(until(opened, "there is room")) for _ in range(3)]
        with pytest.raises(CLOSED):
            connect(url, **PLAIN)
        with socket.create_connection(("127.0.0.1", server.port), 10) as one:
            one.settimeout(10)
            assert one.recv(1) == b"", "not a byte"
        server.wait_for(r"closed client=127\.0\.0\.1:\d+: its address has 3 connections")
        other = socket.create_connection(("127.0.0.1", server.port), 10, source_address=("127.0.0.9", 0))
        assert status(server, sock=other) == 101
        for session in held:
            session.send(b"still there")
            assert session.recv(timeout=30) == b"still there"

    with until(opened, "who left made room") as session:
        session.send(b"later")
        assert session.recv(timeout=30) == b"later"


def test_other_hosts_are_not_answered_for(bridge, tmp_path):
    """Files and WebSockets, with the name that a browser would send."""
    (tmp_path / "page").write_text("page")
    server = bridge("--echo", f"--web={tmp_path}", "--allow-host=gateway.test,*.desk.test:6080")
    port = server.port
    for host, code in [("gateway.test", 101), (f"gateway.test:{port}", 101), ("a.desk.test:6080", 101),
                       ("a.desk.test", 421), ("evil.test", 421), ("127.0.0.1", 421)]:  # fmt: skip
        assert ask(server, "", "-H", f"Host: {host}")[0] == code, host
        page = ask(server, "page", "-H", f"Host: {host}", upgrade=False)
        assert page[0] == (200 if code == 101 else 421), host
        assert code == 101 or page[1]["connection"] == "close"
    # As a browser does it: the name leads here, and is what it asks for.
    resolve = ["--resolve", f"evil.test:{port}:127.0.0.1", f"http://evil.test:{port}/page"]
    assert ask(server, "page", *resolve, upgrade=False)[0] == 421
    assert status(server) == 421
    server.wait_for(r"status=421 detail=.*--allow-host")
