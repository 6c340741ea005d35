"""noVNC in a browser to a real desktop, led there by a token of each kind."""

import json
import socket
import threading
from urllib.parse import quote

import pytest
from jwcrypto import jwk, jwt
from desktop import COLOUR
from test_browser import APPLICATION, DEBIAN_NOVNC, browser, desktop, sees  # noqa: F401  (two are fixtures)
from test_tokens import Redis


def token_file(desktop, place, keep):
    """A line in a file."""
    (place / "tokens").write_text(f"desk 17: {desktop.address}\n")
    return "TokenFile", place / "tokens", "desk 17"


def token_of_redis(desktop, place, keep):
    """A key in Redis."""
    store = keep(Redis())
    store.do(["SET", "desks:desk-17", json.dumps({"host": desktop.address})])
    return "TokenRedis", f"127.0.0.1:{store.port}:::desks", "desk-17"


def signed_token(desktop, place, keep):
    """A token that says the way itself, signed with a key of which the server has the public part."""
    key = jwk.JWK.generate(kty="EC", crv="P-256")
    (place / "key").write_bytes(key.export_to_pem())
    token = jwt.JWT(header={"alg": "ES256"}, claims={"host": "127.0.0.1", "port": desktop.port})
    token.make_signed_token(key)
    return "JWTTokenApi", place / "key", token.serialize()


def token_of_a_socket(desktop, place, keep):
    """The name of a socket in a directory; behind it the desktop."""
    (place / "sockets").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "sockets/desk-17"))
    listener.listen()

    def carry(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def serve():
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", desktop.port))
        threading.Thread(target=carry, args=(near, far), daemon=True).start()
        carry(far, near)

    threading.Thread(target=serve, daemon=True).start()
    return "UnixDomainSocketDirectory", place / "sockets", "desk-17"


@pytest.mark.parametrize("kind", [token_file, token_of_redis, signed_token, token_of_a_socket])
def test_novnc_with_a_token(ours, bridge, browser, desktop, place, keep, kind):  # noqa: F811
    """The page is given the token as part of its path, as portals do; the log shows none of it."""
    plugin, source, token = kind(desktop, place, keep)
    server = bridge("-v", "--web", DEBIAN_NOVNC, "--token-plugin", plugin, "--token-source", source)
    path = quote(f"websockify?token={quote(token)}", safe="")
    browser.goto(server.url(f"vnc.html?autoconnect=1&path={path}"))
    browser.wait_for_selector(APPLICATION.connected, state="attached")
    sees(browser, APPLICATION, COLOUR, 100_000)
    assert browser.complaints == []
    server.wait_for(r"open id=.* token=~[0-9a-f]{8}")
    # Nor does the line of the page, which is only written with -v.
    server.wait_for("request=\"GET /vnc.html")
    said = server.said()
    assert token not in said
    assert quote(token) not in said
