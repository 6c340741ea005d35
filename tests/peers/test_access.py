"""Limits of access, with curl and Python's websockets as clients: targets."""

import pytest
from support import ask
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.usefixtures("ours")
PLAIN = {"compression": None, "proxy": None, "ping_interval": None, "open_timeout": 30}


def status(server, path="", **options):
    """What a WebSocket client hears: 101 if something went there and back, else the status."""
    try:
        with connect(server.url(path, "ws"), **PLAIN, **options) as session:
            session.send(b"there and back")
            assert session.recv(timeout=30) == b"there and back"
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


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
