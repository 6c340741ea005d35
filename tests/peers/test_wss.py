"""TLS under load: much data, certificates that change below many sessions."""

import asyncio
import json
import os
import resource
import signal
import ssl
import sys
import time

from certificates import NAME, private, serial
from support import HERE, Process
from websockets.asyncio.client import connect as connect_async

SESSIONS = 500
# How often clients come, and how often at least they have to be served: an open loop that falls behind shows.
RATE, LEAST_RATE = 240, 200
SECONDS, SWAP_AT, PICK_UP = 6.0, 2.0, 2.0


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


def test_a_certificate_changes_under_load(ours, bridge, keep, authority, tmp_path):
    """Nobody notices: no handshake fails, no session ends, and within two seconds all that come get the new one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    first, second = authority.sign("first"), authority.sign("second")
    used = private(tmp_path / "used.pem", first.both.read_text())
    server = bridge("--cert", used, "--ssl-only", "--echo", "--threads", 2)
    output = tmp_path / "visits.json"

    async def run():
        sessions = await open_secure(server, trusting(authority), SESSIONS)
        load = keep(Process([sys.executable, HERE / "handshakes.py", server.port, authority.cert, NAME, RATE, SECONDS, output]))
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
