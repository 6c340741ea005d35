"""Python's `websockets` as the client: much data, many sessions, large frames, and sides that stop reading."""

import asyncio
import hashlib
import os
import resource
import socket
import threading
import time

from support import GIB, KIB, MIB, OURS
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect

# With another server in our place the amounts shrink: what is tested then is the test.
BULK = GIB if OURS else 32 * MIB
FRAME = MIB if OURS else 64 * KIB
LARGE_FRAME = 64 * MIB if OURS else MIB
SESSIONS = 2_000 if OURS else 50
BUSY = 100 if OURS else 20
BUSY_SECONDS = 5
# How much the server may grow. Measured are 4 to 13 MiB: two shards, each with a hot buffer of 256 KiB and up to 4 MiB of
# spare chunks, and what the allocator rounds up. One large frame held whole would be twice this limit.
GROWTH = 32 * MIB
# What a client gets rid of while its target reads nothing. Measured are 8 to 12 MiB, nearly all of it in four socket
# buffers of the kernel, which may be tuned to be larger; without back pressure it would be some hundred in the time.
POURED = 48 * MIB
DIGEST = hashlib.blake2b().digest_size
PLAIN = {"compression": None, "max_size": None, "proxy": None, "ping_interval": None, "open_timeout": 30}


def open_session(server, context=None):
    """A session of a client that may block; over TLS with a context for that."""
    return connect(server.url(scheme="wss" if context else "ws"), ssl=context, **PLAIN)


def side_by_side(works):
    """Runs these at the same time and passes on what goes wrong in any of them."""
    wrong = []

    def guarded(work):
        try:
            work()
        except BaseException as error:  # A thread has no caller that could see it.
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def send_up(server, total, frame, context=None):
    """Sends so much in frames of this size to a digest target, and compares."""
    blocks = [os.urandom(frame) for _ in range(4)]
    sent, left, turn = hashlib.blake2b(), total, 0
    with open_session(server, context) as session:
        session.send(total.to_bytes(8, "big"))
        while left:
            part = blocks[turn % len(blocks)]
            part = part if left >= frame else part[:left]
            session.send(part)
            sent.update(part)
            left -= len(part)
            turn += 1
        assert received(session, DIGEST) == sent.digest()


def received(session, length):
    """The next bytes of a session, however they are cut into messages."""
    got = b""
    while len(got) < length:
        message = session.recv(timeout=60)
        assert isinstance(message, bytes), "targets speak in binary messages"
        got += message
    assert len(got) == length
    return got


def take_down(server, total, context=None):
    """Receives so much from a source target, and compares with the digest that follows it."""
    with open_session(server, context) as session:
        session.send(total.to_bytes(8, "big"))
        seen, left, tail = hashlib.blake2b(), total, b""
        while len(tail) < DIGEST:
            message = session.recv(timeout=60)
            assert isinstance(message, bytes) and len(message) <= MIB, "messages stay of moderate size"
            payload = message[:left]
            seen.update(payload)
            left -= len(payload)
            tail += message[len(payload):]
        assert tail == seen.digest()


def test_a_gibibyte_up(bridge, target):
    server = bridge(target=target("digest").address)
    side_by_side([lambda: send_up(server, BULK // 2, FRAME)] * 2)


def test_a_gibibyte_down(bridge, target):
    server = bridge(target=target("source").address)
    side_by_side([lambda: take_down(server, BULK // 2)] * 2)


def test_large_single_frames(bridge, target):
    server = bridge(target=target("digest").address)
    before = server.resident()
    send_up(server, 3 * LARGE_FRAME, LARGE_FRAME)
    if OURS:
        grown = server.peak() - before
        assert grown < GROWTH, f"a frame streams through; it is never held whole, but memory grew by {grown / MIB:.0f} MiB"


async def ping_pong(session, name, enough):
    """Exchanges numbered messages with an echo target until told that it is enough; returns how many, and the slowest."""
    count, slowest = 0, 0.0
    while not enough(count):
        message = f"{name}:{count}:".encode() + b"x" * (count * 37 % 4096)
        begun = time.monotonic()
        await session.send(message)
        answer = b""
        while len(answer) < len(message):
            answer += await asyncio.wait_for(session.recv(), 30)
        assert answer == message
        slowest = max(slowest, time.monotonic() - begun)
        count += 1
    return count, slowest


async def open_many(server, count):
    """So many sessions, a hundred handshakes at a time."""
    gate = asyncio.Semaphore(100)

    async def one():
        async with gate:
            return await connect_async(server.url(scheme="ws"), **PLAIN)

    return await asyncio.gather(*(one() for _ in range(count)))


def test_many_sessions_at_once(bridge, target):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    server = bridge(target=target("echo").address)

    async def run():
        sessions = await open_many(server, SESSIONS)
        rounds = [ping_pong(session, index, lambda count: count == 3) for index, session in enumerate(sessions)]
        assert [count for count, _ in await asyncio.gather(*rounds)] == [3] * SESSIONS
        await asyncio.gather(*(session.close() for session in sessions))
        assert {session.close_code for session in sessions} == {1000}

    asyncio.run(run())


def deaf_client(server):
    """A client that asks its target for a flood and then never reads again."""
    deaf = socket.create_connection(("127.0.0.1", server.port))
    deaf.sendall(
        b"GET / HTTP/1.1\r\nHost: deaf\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert deaf.recv(12) == b"HTTP/1.1 101"
    deaf.sendall(b"\x82\x81\0\0\0\0F")
    return deaf


async def pour(session, poured):
    """Sends for ever to a target that does not read, and counts what went out."""
    await session.send(b"S")
    while True:
        await session.send(bytes(64 * KIB))
        poured.append(64 * KIB)


async def busy_beside_stuck(server, poured):
    """A hundred pairs talk for a while beside a client that pours; returns the fewest rounds and the slowest."""
    sessions = await open_many(server, BUSY + 1)
    stuck = sessions.pop()
    pouring = asyncio.create_task(pour(stuck, poured))
    for session in sessions:
        await session.send(b"E")
    end = time.monotonic() + BUSY_SECONDS
    talks = [ping_pong(session, index, lambda _: time.monotonic() > end) for index, session in enumerate(sessions)]
    told = await asyncio.gather(*talks)
    assert not pouring.done(), "the session that is stuck stays open"
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    stuck.transport.abort()
    await asyncio.gather(*(session.close() for session in sessions))
    return min(count for count, _ in told), max(slowest for _, slowest in told)


def test_sides_that_stop_reading(bridge, target):
    """One client does not read a flood, one target does not read what is poured into it: nobody else notices."""
    sides = target("mixed")
    server = bridge(target=sides.address)
    before, poured = server.resident(), []
    with deaf_client(server):
        fewest, slowest = asyncio.run(busy_beside_stuck(server, poured))
    assert fewest >= 3, "every pair kept talking"
    assert slowest < 5.0, f"a round took {slowest:.2f} s"
    grown = server.peak() - before
    sides.end()  # Else the server, told to stop, would wait its ten seconds for the target that does not read.
    if OURS:
        assert sum(poured) < POURED, f"{sum(poured) / MIB:.0f} MiB went out to a target that does not read"
        assert grown < GROWTH, f"memory grew by {grown / MIB:.0f} MiB"
