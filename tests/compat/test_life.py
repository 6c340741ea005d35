"""How long a server lives: one session, a time, idleness, and how it tells why it left."""

import time

from harness import Group, Hand, between, better, files, has, same
from wire import BINARY, Seen, close, closing, frame, request, upgrade


def life(name, *words, **more):
    """A group whose servers end by themselves."""
    return Group(f"life-{name}", words, **{"target": Hand, **more})


ONCE = life("once", "--run-once")
ONCE_WEB = life("once-web", "--run-once", "--web=$place/web", setup=files({"web/text.txt": "text"}))
ONCE_NOBODY = life("once-nobody", "--run-once", to="127.0.0.1:1")
FOR = life("timeout", "--timeout=2")
FOR_EVER = life("timeout-0", "--timeout=0", "--idle-timeout=0")
BEFORE = life("timeout-negative", "--timeout=-1")
IDLE = life("idle", "--idle-timeout=2")
BOTH = life("both", "--idle-timeout=1", "--run-once")


def talk(half, leave=True):
    """A short session; gives the client if it is to stay."""
    client = half.connect()
    assert client.send(upgrade()).answer().code == 101
    target = half.target.take()
    client.send(frame(BINARY, b"hello"))
    assert target.take(5) == b"hello"
    if leave:
        client.send(close(1000))
        assert closing(client.frame()[1]) == "1000"
        target.rest()
        client.rest()
        client.end()
    return client, target


def leave(client, target):
    """Ends a session that stayed."""
    client.send(close(1000))
    client.rest()
    client.end()
    target.end()


def ended(half, seconds=20):
    """The exit status, the seconds it took, and the last lines."""
    start = time.monotonic()
    status = half.server.child.wait(seconds)
    took = time.monotonic() - start
    half.server.wait_for(r"\(end of output\)")
    return Seen(status=status, seconds=took, said=half.server.said())


def once(half):
    """One session."""
    half.serve()
    talk(half)
    return ended(half)


def once_refused(half):
    """One session whose target refuses."""
    half.serve()
    with half.connect() as client:
        code = client.send(upgrade()).answer().code
        seen = client.farewell()
    return Seen(ended(half), code=code, close=seen["close"])


def once_after_files(half):
    """Requests for pages, a failed handshake, then one session."""
    half.serve()
    codes = []
    for data in (request("/text.txt"), request("/absent"), upgrade(version="99")):
        with half.connect() as client:
            codes.append(client.send(data).answer().code)
    alive = half.server.child.poll() is None
    talk(half)
    return Seen(ended(half), codes=codes[:2], refused=codes[2] >= 400, alive=alive)


def once_second(half):
    """Somebody who comes while the one session runs."""
    half.serve()
    client, target = talk(half, leave=False)
    with half.connect() as second:
        second.send(upgrade())
        leave(client, target)
        seen = ended(half)
        return Seen(seen, second=second.answer().code)


def once_behind_silence(half):
    """Somebody who comes behind a client that says nothing."""
    half.serve()
    with half.connect() as silent:
        start = time.monotonic()
        talk(half)
        waited = time.monotonic() - start
        return Seen(ended(half), waited=waited, rest=silent.rest())


def for_a_time(half):
    """Nobody comes."""
    start = time.monotonic()
    half.serve()
    seen = ended(half)
    return Seen(seen, lived=time.monotonic() - start)


def for_a_time_with_session(half):
    """A session that outlives the time."""
    half.serve()
    client, target = talk(half, leave=False)
    line = half.server.since(0, "listener exit due to --timeout 2")
    client.send(frame(BINARY, b"still"))
    got = target.take(5)
    alive = half.server.child.poll() is None
    leave(client, target)
    return Seen(ended(half), line=line, got=got, alive=alive)


def for_a_time_late(half):
    """Somebody who comes when the time is over and a session still runs: refused, or left waiting."""
    half.serve()
    client, target = talk(half, leave=False)
    assert half.server.since(0, "listener exit due to --timeout 2")
    try:
        with half.connect() as late:
            late.stream.settimeout(half.patience(1))
            try:
                answer = late.send(upgrade()).answer().code
            except AssertionError:
                answer = "waits"
    except ConnectionRefusedError:
        answer = "refused"
    leave(client, target)
    return Seen(answer=answer)


def idle_after_session(half):
    """A session that is longer than the time, and then nobody."""
    half.serve()
    client, target = talk(half, leave=False)
    time.sleep(3.2)
    alive = half.server.child.poll() is None
    leave(client, target)
    return Seen(ended(half), alive=alive)


def at_once(half):
    """A start that must end by itself at once."""
    half.server = half.start(*half.group.words, "127.0.0.1:$port", "127.0.0.1:$target")
    return ended(half)


def stays(half):
    """Still there after a while, in which nobody came."""
    half.serve()
    talk(half)
    time.sleep(1.5)
    return Seen(alive=half.server.child.poll() is None)


ROWS = [
    same("once", ONCE, once, alone=True, status=0, seconds=between(0, 8), said=has("exiting due to --run-once")),
    same("once-refused", ONCE_NOBODY, once_refused, alone=True, status=0, code=101,
         close="1011 Failed to connect to downstream server", seconds=between(0, 8)),
    same("once-after-files", ONCE_WEB, once_after_files, alone=True, status=0, codes=[200, 404], refused=True, alive=True),
    same("once-second", ONCE, once_second, alone=True, status=0, second=0),
    same("once-behind-silence", ONCE, once_behind_silence, alone=True, status=0, waited=between(2.5, 9), rest=b""),
    same("once-and-idle", BOTH, once, alone=True, status=0, said=has("exiting due to --run-once")),
    same("timeout", FOR, for_a_time, alone=True, status=0, lived=between(1.8, 10),
           said=has("listener exit due to --timeout 2")),
    same("timeout-with-session", FOR, for_a_time_with_session, alone=True, status=0, got=b"still", alive=True,
         line=has("listener exit due to --timeout 2"), seconds=between(0, 8)),
    better("timeout-late", FOR, for_a_time_late, "F 2.10: nobody is left waiting", {"answer": "waits"},
           {"answer": lambda answer: answer in ("refused", 0, 503)}, alone=True),
    same("timeout-0", FOR_EVER, stays, alone=True, alive=True),
    same("timeout-negative", BEFORE, at_once, alone=True, status=0, seconds=between(0, 8)),
    same("idle-timeout", IDLE, for_a_time, alone=True, status=0, lived=between(1.8, 10),
           said=has("listener exit due to --idle-timeout 2")),
    same("idle-timeout-after-session", IDLE, idle_after_session, alone=True, status=0, alive=True, seconds=between(1.0, 10),
         said=has("listener exit due to --idle-timeout 2")),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)
