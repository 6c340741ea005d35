"""TLS as people use it: a browser on a desktop, much data both ways, and certificates that change below many sessions."""

import asyncio
import json
import os
import resource
import signal
import socket
import ssl
import sys
import time

import pytest
from certificates import NAME, private, serial, trusted_home
from playwright.sync_api import Error
from support import GIB, HERE, KIB, MIB, Process
from test_browser import APPLICATION, DEBIAN_NOVNC, PINNED, desktop, pinned_root, visiting, watch_a_desktop
from test_clients import send_up, side_by_side, take_down
from websockets.asyncio.client import connect as connect_async

# Fixtures are found by their names in this module.
assert desktop and pinned_root
SESSIONS = 500
IDLE, IDLE_BYTES = 2_000, 6 * KIB
# How often clients come, and how often at least they have to be served: an open loop that falls behind shows.
RATE, LEAST_RATE = 240, 200
SECONDS, SWAP_AT, PICK_UP = 6.0, 2.0, 2.0


@pytest.mark.parametrize("page", [PINNED, APPLICATION], ids=["library", "application"])
def test_a_desktop_in_a_browser(bridge, engine, authority, desktop, pinned_root, shots, tmp_path, page):
    """Page and WebSocket from one port, over TLS; the browser trusts the authority as it would one of a company."""
    root = pinned_root if page is PINNED else DEBIAN_NOVNC
    words = ["--cert", authority.sign("plain").both, "--ssl-only", "--web", root]
    server = bridge(*words, target=desktop.address)
    with visiting(tmp_path / "profile", trusted_home(tmp_path / "home", authority)) as browser:
        sockets, answers = [], []
        browser.on("websocket", lambda socket: sockets.append(socket.url))
        browser.on("response", lambda answer: answers.append(answer))
        shot = shots / f"wss-{'library' if page is PINNED else 'application'}-{engine}.png"
        watch_a_desktop(browser, page, server.url(page.path, "https"), desktop, shot)
        assert len(sockets) == 2 and all(url.startswith(server.url("", "wss")) for url in sockets), sockets
        assert answers[0].security_details()["protocol"] == "TLS 1.3"
        assert all(url.startswith(server.url("", "https")) for url in browser.asked if not url.startswith("data:"))


def test_a_browser_that_does_not_trust_us(bridge, authority, tmp_path):
    """Without this, a browser that trusts everybody would make the test above pass for the wrong reason."""
    server = bridge("--cert", authority.sign("plain").both, "--web", DEBIAN_NOVNC, target="127.0.0.1:1")
    with visiting(tmp_path / "profile", tmp_path) as browser:
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            browser.goto(server.url("", "https"))


def secured(bridge, target, authority, mode):
    """A server with TLS on both sides, in front of a target of this kind."""
    own = authority.sign("plain")
    words = ["--cert", own.both, "--ssl-target", "--ssl-target-ca", authority.cert]
    return bridge(*words, target=target(mode, own.both).address)


def test_a_gibibyte_up(ours, bridge, target, authority):
    server = secured(bridge, target, authority, "digest")
    side_by_side([lambda: send_up(server, GIB // 2, MIB, trusting(authority))] * 2)


def test_a_gibibyte_down(ours, bridge, target, authority):
    server = secured(bridge, target, authority, "source")
    side_by_side([lambda: take_down(server, GIB // 2, trusting(authority))] * 2)


def trusting(authority):
    """A client's context that trusts this authority and no other."""
    return ssl.create_default_context(cafile=authority.cert)


async def open_secure(server, context, count):
    """So many sessions over TLS, fifty handshakes at a time."""
    gate = asyncio.Semaphore(50)
    options = {"compression": None, "proxy": None, "ping_interval": None, "open_timeout": 30, "ssl": context}

    async def one():
        async with gate:
            return await connect_async(server.url(scheme="wss"), server_hostname=NAME, **options)

    return await asyncio.gather(*(one() for _ in range(count)))


async def talk(session, number, until):
    """A message a second, each of which has to come back."""
    turn = 0
    while time.monotonic() < until:
        message = f"{number}:{turn}".encode()
        await session.send(message)
        assert await asyncio.wait_for(session.recv(), 20) == message
        turn += 1
        await asyncio.sleep(1)
    return turn


@pytest.fixture
def many_files():
    """Allows this process as many open files as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


def test_an_idle_session_takes_little_memory(ours, many_files, bridge, authority):
    """Measured with the process's own pages, which the allocator's and the C library's share are part of."""
    target = socket.create_server(("127.0.0.1", 0), backlog=2 * IDLE)
    server = bridge("--cert", authority.sign("plain").both, target=f"127.0.0.1:{target.getsockname()[1]}")

    async def run():
        # Nobody accepts for the target: the kernel connects, and nothing is ever said. The first sessions bring shards,
        # shelves and pools to their usual size.
        held = await open_secure(server, trusting(authority), IDLE // 4)
        before = server.resident()
        held += await open_secure(server, trusting(authority), IDLE)
        each = (server.resident() - before) / IDLE
        await asyncio.gather(*(session.close() for session in held))
        return each

    with target:
        each = asyncio.run(run())
    print(f"{each:.0f} bytes for an idle session over TLS")
    assert each <= IDLE_BYTES, f"{each:.0f} bytes for an idle session"


def test_a_certificate_changes_under_load(ours, many_files, bridge, keep, authority, tmp_path):
    """Nobody notices: no handshake fails, no session ends, and within two seconds all that come get the new one."""
    first, second = authority.sign("first"), authority.sign("second")
    used = private(tmp_path / "used.pem", first.both.read_text())
    server = bridge("--cert", used, "--ssl-only", "--echo", "--threads", 2)
    output = tmp_path / "visits.json"

    async def run():
        sessions = await open_secure(server, trusting(authority), SESSIONS)
        words = [server.port, authority.cert, NAME, RATE, SECONDS, output]
        load = keep(Process([sys.executable, HERE / "handshakes.py", *words]))
        end = time.monotonic() + SECONDS + 1
        talks = asyncio.gather(*(talk(session, number, end) for number, session in enumerate(sessions)))
        await asyncio.sleep(SWAP_AT)
        os.replace(private(tmp_path / "new.pem", second.both.read_text()), used)
        swapped = time.monotonic()
        assert min(await talks) >= 4, "every session kept talking"
        assert load.child.wait(60) == 0, load.said()
        await asyncio.gather(*(session.close() for session in sessions))
        assert {session.close_code for session in sessions} == {1000}
        return swapped

    swapped = asyncio.run(run())
    visits = json.loads(output.read_text())
    assert [wrong for *_, wrong in visits if wrong] == []
    began, ended = min(began for began, *_ in visits), max(ended for _, ended, *_ in visits)
    rate = len(visits) / (ended - began)
    assert rate >= LEAST_RATE, f"{rate:.0f} handshakes a second"
    before, after = serial(first.cert), serial(second.cert)
    assert {shown for _, end, shown, _ in visits if end < swapped} == {before}
    assert {shown for begin, _, shown, _ in visits if begin > swapped + PICK_UP} == {after}
    server.child.send_signal(signal.SIGQUIT)
    server.wait_for("report tls_renewals=1 tls_renewals_failed=0 tls_stale=0")
    print(f"{rate:.0f} handshakes a second beside {SESSIONS} sessions")
