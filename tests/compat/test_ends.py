"""How sessions begin and end: targets that refuse, close or reset, clients that leave, servers that stop, and deadlines."""

import os
import pathlib
import select
import signal
import socket
import struct
import time

from harness import Echo, Group, Hand, between, better, elapsed, has, same
from services import two_addresses
from support import until
from test_tls import pair
from wire import BINARY, CLOSE, PING, PONG, Late, Seen, close, closing, frame, request, upgrade

class Full(Hand):
    """A target whose queue is full: whoever connects to it waits for ever."""

    def __init__(self):
        super().__init__()
        self.listener.listen(0)
        self.waiting = []
        # The kernel takes one or two more than it is told; the next one's SYN is not answered.
        while len(self.waiting) < 8:
            stream = socket.socket()
            stream.setblocking(False)
            stream.connect_ex(("127.0.0.1", self.port))
            self.waiting.append(stream)

    def end(self):
        """Ends it, and those that filled its queue."""
        super().end()
        for stream in self.waiting:
            stream.close()


HAND = Group("ends-hand", target=Hand)
NOBODY = Group("ends-nobody", to="127.0.0.1:1")
UNKNOWN = Group("ends-unknown", to="no-such-host.invalid:5900")
PORT_0 = Group("ends-port-0", to="127.0.0.1:0")
NO_SOCKET = Group("ends-no-socket", ("--unix-target=$place/absent",), to="")
ALONE = Group("ends-alone", target=Hand)
TWO = Group("ends-two-addresses", target=lambda: Echo(greeting=b"B", where=("127.0.0.3", 0)), setup=two_addresses,
            to="two.test:$target", env={"LD_PRELOAD": "$two"})  # fmt: skip
MUTE = Group("ends-mute", target=Full)
BEAT = Group("ends-heartbeat", ("--heartbeat=1",), target=Hand)
DEAF = Group("ends-heartbeat-deaf", ("--heartbeat=1",), target=Hand, ours=("--pong-timeout=2",))
SILENT = Group("ends-silent", target=Hand)
HELD = Group("ends-held", ("--cert=$both", "--web=$place/web"), target=Hand, setup=pair)
FAILED = "1011 Failed to connect to downstream server"
REFUSED = {"code": 101, "close": FAILED, "ended": "closed", "data": b"", "seconds": between(0, 8)}


def opened(half, path="/"):
    """A client behind its 101."""
    client = half.connect()
    answer = client.send(upgrade(path)).answer()
    assert answer.code == 101, answer
    return client


def refused(half):
    """A target that cannot be reached."""
    with half.connect() as client:
        mark = half.server.mark()
        client.send(upgrade())
        seconds, code = elapsed(lambda: client.answer().code)
        more, seen = elapsed(client.farewell)
    log = half.server.since(mark, "Failed to connect to|end=target_refused")
    return Seen(seen, code=code, seconds=seconds + more, log=half.blank(log or ""))


def refused_with_data(half):
    """A target that cannot be reached, and a client that has sent much by then: the close frame, and how the stream ends for
    a client that reads on without answering it."""
    with half.connect() as client:
        client.send(upgrade() + frame(BINARY, bytes(60_000)) * 20)
        assert client.answer().code == 101
        got = client.frame()
        client.rest()
        return Seen(close=got and closing(got[1]), end=client.ended)


def over_two(half):
    """A target with two addresses, of which only the second one listens."""
    with opened(half) as client:
        got = client.frame()
        return Seen(got=got[1] if got[0] == BINARY else closing(got[1]))


def urgent(half):
    """What comes of a target that sends an urgent byte between two others, as telnet does."""
    with opened(half) as client:
        target = half.target.take()
        target.send(b"a")
        assert client.data(1) == b"a"
        target.stream.send(b"!", socket.MSG_OOB)
        target.send(b"b")
        target.end()
        return client.farewell()


def keep_alive(half):
    """After how many idle seconds the server asks the client's machine whether it is still there."""
    with opened(half) as client:
        target, ours = half.target.take(), client.stream.getsockname()[1]
        wanted = (f"0100007F:{half.port:04X}", f"0100007F:{ours:04X}")

        def timer():
            lines = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
            kind, _, when = next(line[5] for line in lines if (line[1], line[2]) == wanted).partition(":")
            # Anything that is sent has a timer of its own first.
            return int(when, 16) / os.sysconf("SC_CLK_TCK") if kind == "02" else None

        seconds = until(timer, "the connection is idle")
        target.end()
        return Seen(seconds=seconds)


def target_ends(*chunks):
    """A target that sends and ends its stream."""

    def do(half):
        with opened(half) as client:
            target = half.target.take()
            for chunk in chunks:
                target.send(chunk)
            target.end()
            return client.farewell()

    return do


def reset(stream):
    """Ends a socket with a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def target_resets(half):
    """A target that resets its connection."""
    with opened(half) as client:
        target = half.target.take()
        client.send(frame(BINARY, b"x"))
        target.take(1)
        reset(target.stream)
        return client.farewell()


def client_ends(half):
    """A client that ends its stream without a close frame: what it sent still reaches the target."""
    with opened(half) as client:
        target = half.target.take()
        client.send(frame(BINARY, b"last words")).finish()
        got = target.rest()
        return Seen(got=got, end=target.ended, rest=client.rest())


def client_resets(half):
    """A client that resets its connection: the target is closed."""
    client = opened(half)
    target = half.target.take()
    reset(client.stream)
    got = target.rest()
    return Seen(got=got, end=target.ended)


def late_client_data(half):
    """A target that ends only its own direction; the client has data for it."""
    with opened(half) as client:
        target = half.target.take()
        target.finish()
        return client.farewell()


def close_then_data(half):
    """Data behind a close frame is dropped."""
    with opened(half) as client:
        target = half.target.take()
        client.send(frame(BINARY, b"before") + close(1000, "bye") + frame(BINARY, b"behind"))
        return Seen(got=target.rest(), close=closing(client.frame()[1]))


def connecting(half):
    """A client whose target never answers the connect: its ping, and its close frame."""
    with half.connect() as client:
        client.stream.settimeout(half.patience(3))
        assert client.send(upgrade()).answer().code == 101
        try:
            pong = client.send(frame(PING, b"?")).frame()
            client.send(close(1000, "bye"))
            return Seen(got=pong, close=closing(client.frame()[1]))
        except Late:
            return Seen(got="silence")


def stopping(sign):
    """What an open session sees when the server is stopped, and the exit status of the server."""

    def do(half):
        half.serve()
        with opened(half) as client:
            target = half.target.take()
            client.send(frame(BINARY, b"x"))
            target.take(1)
            half.server.tell(sign)
            seen = client.farewell()
            target.end()
            return Seen(seen, status=half.server.child.wait(20))

    return do


def stopping_idle(sign):
    """The exit status of a server without sessions, and what it says."""

    def do(half):
        half.serve()
        # Whoever is answered finds the server past its start.
        with half.connect() as client:
            assert client.send(request("/")).answer().code == 405
        half.server.tell(sign)
        seconds, status = elapsed(lambda: half.server.child.wait(20))
        return Seen(status=status, seconds=seconds)

    return do


def hangup(sign):
    """A server that is told to open its files anew, and a session in it."""

    def do(half):
        half.serve()
        with opened(half) as client:
            target = half.target.take()
            half.server.tell(sign)
            status = None if half.name == "ours" else half.server.child.wait(20)
            alive = half.server.child.poll() is None
            client.send(frame(BINARY, b"still"))
            return Seen(status=status, alive=alive, got=target.take(5))

    return do


def pings(count):
    """Times and payloads of so many pings of a heartbeat of one second, answered as they come."""

    def do(half):
        with opened(half) as client:
            target = half.target.take()
            start, times, payloads = time.monotonic(), [], []
            for _ in range(count):
                got = client.frame()
                times.append(time.monotonic() - start)
                payloads.append(got)
                client.send(frame(10, got[1]))
            target.end()
            return Seen(payloads=payloads, first=times[0], gaps=[after - before for before, after in zip(times, times[1:])])

    return do


def deaf(half):
    """A client that never answers a ping of a heartbeat of one second: what it has heard after seven seconds."""
    with opened(half) as client:
        target = half.target.take()
        deadline, heard = time.monotonic() + 7, []
        while time.monotonic() < deadline:
            client.stream.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                got = client.frame()
            except AssertionError:
                break
            if got is None:
                break
            heard.append(got if got[0] != CLOSE else (CLOSE, closing(got[1])))
            if got[0] == CLOSE:
                break
        target.end()
        return Seen(last=heard[-1], pings=sum(kind == PING for kind, *_ in heard))


def held(half):
    """How long a client may hold its connection with the first byte of a request, with the first byte of TLS, and with
    nothing behind an answer; all three at once. None if it still can after 15 seconds."""
    half.serve()
    clients = {"http": half.connect().send(b"G"), "tls": half.connect().send(b"\x16"), "idle": half.connect()}
    assert clients["idle"].send(request("/text.txt")).answer().code == 200
    start, seen = time.monotonic(), Seen()
    while len(seen) < len(clients) and time.monotonic() - start < 15:
        waiting = [client.stream for name, client in clients.items() if name not in seen]
        ready = select.select(waiting, [], [], max(0, start + 15 - time.monotonic()))[0]
        seen.update({name: time.monotonic() - start for name, client in clients.items() if client.stream in ready})
    for client in clients.values():
        client.end()
    return seen


def unasked(half):
    """What an open session is sent within 33 seconds in which nobody has anything to say."""
    with opened(half) as client:
        target = half.target.take()
        client.stream.settimeout(33)
        try:
            got = client.frame()
        except Late:
            got = "silence"
        target.end()
        return Seen(got=got)


def crowd(half):
    """How many processes serve three sessions."""
    half.serve()
    clients = [opened(half) for _ in range(3)]
    targets = [half.target.take() for _ in clients]
    count = len(half.server.group())
    for stream in [*clients, *targets]:
        stream.end()
    return Seen(processes=count)


def killed(half):
    """A server that is killed while a session runs: whether the session goes on, and whether its port is free again."""
    half.serve()
    with opened(half) as client:
        target = half.target.take()
        half.server.child.send_signal(signal.SIGKILL)
        half.server.child.wait(20)
        client.send(frame(BINARY, b"still"))
        got = target.take(5)
        # The kernel may close a ring, and what it holds, a moment after its process.
        deadline, taken = time.monotonic() + half.patience(1), True
        while taken and time.monotonic() < deadline:
            with socket.socket() as probe:
                # As a server does that is started again.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", half.port))
                    probe.listen(1)
                    taken = False
                except OSError:
                    time.sleep(0.01)
        target.end()
        return Seen(got=got, taken=taken)


ROWS = [
    # Targets that cannot be reached.
    same("target-refused", NOBODY, refused, **REFUSED),
    better("target-refused-with-data", NOBODY, refused_with_data,
           "F 2.6: half-close, drain, then close: no reset overtakes 1011",
           {"end": "reset"}, {"close": FAILED, "end": "fin"}),
    same("target-unknown-host", UNKNOWN, refused, **REFUSED),
    same("target-port-0", PORT_0, refused, **REFUSED),
    same("target-no-socket", NO_SOCKET, refused, **REFUSED),
    *(better(f"target-{what}-log", group, refused, "F 6.2: a line at the end of each session, with its reason",
             {"log": has(f"Failed to connect to {theirs}: ")}, {"log": has("close=1011", "end=target_refused", ours)})
      for what, group, theirs, ours in (
          ("refused", NOBODY, "127.0.0.1:1", 'target="127.0.0.1:1"'),
          ("unknown-host", UNKNOWN, "no-such-host.invalid:5900", 'target="no-such-host.invalid:5900"'),
          ("no-socket", NO_SOCKET, "None:None", 'target="PLACE/absent"'))),
    better("target-second-address", TWO, over_two, "F 2.6: all addresses are tried", {"got": FAILED}, {"got": b"B"}),
    better("target-never-answers", MUTE, connecting, "F 2.6: stay responsive while connecting", {"got": "silence"},
           {"got": (PONG, b"?"), "close": "1000 bye"}),
    better("target-urgent", HAND, urgent, "F 2.7: an urgent byte is a byte of the stream", {"data": b"b"}, {"data": b"!b"}),
    better("client-keep-alive", HAND, keep_alive, "F 10: dead clients are noticed (wish 9)", {"seconds": between(3600, 7300)},
           {"seconds": between(1, 600)}),
    # Ends.
    same("target-closes", HAND, target_ends(), data=b"", close="1000 Target closed", ended="closed"),
    same("target-closes-with-data", HAND, target_ends(b"goodbye"), data=b"goodbye", close="1000 Target closed", ended="closed"),
    same("target-closes-with-much-data", HAND, target_ends(bytes(3_000_000)), data=bytes(3_000_000),
           close="1000 Target closed"),
    same("target-half-closes", HAND, late_client_data, close="1000 Target closed", ended="closed"),
    better("target-resets", HAND, target_resets, "F 2.10: a close frame with a reason", {"close": None, "ended": "closed"},
           {"close": "1011 Target reset", "ended": "closed"}),
    same("client-ends", HAND, client_ends, got=b"last words", end="fin", rest=b""),
    same("client-resets", HAND, client_resets, got=b""),
    same("client-close-then-data", HAND, close_then_data, got=b"before", close="1000 bye"),
    # Stopping.
    *(better(f"stop-{sign.name.lower()}-session", ALONE, stopping(sign), "F 2.10: 1001", {"close": None, "ended": "closed",
           "status": 0},
             {"close": "1001 Server is stopping", "ended": "closed", "status": 0}, alone=True)
      for sign in (signal.SIGTERM, signal.SIGINT)),
    *(same(f"stop-{sign.name.lower()}-idle", ALONE, stopping_idle(sign), alone=True, status=0, seconds=between(0, 8))
      for sign in (signal.SIGTERM, signal.SIGINT)),
    *(better(f"stop-{sign.name.lower()}", ALONE, hangup(sign), "F 8.2: a wish for fresh files is no reason to die",
             {"status": -sign, "alive": False, "got": b"still"}, {"alive": True, "got": b"still"}, alone=True)
      for sign in (signal.SIGHUP, signal.SIGUSR1)),
    # Heartbeats and deadlines.
    same("heartbeat-pings", BEAT, pings(3), payloads=[(PING, b"")] * 3, first=between(0.5, 5),
         gaps=lambda gaps: all(0.2 < gap < 5 for gap in gaps)),
    same("heartbeat-patience", BEAT, deaf, last=(PING, b""), pings=between(3, 8)),
    better("heartbeat-unanswered", DEAF, deaf, "F 2.8: an optional pong timeout", {"last": (PING, b""),
           "pings": between(3, 8)}, {"last": (CLOSE, "1008 Ping not answered"), "pings": between(1, 4)}),
    better("heartbeat-by-itself", SILENT, unasked, "F 10: a heartbeat by default (wish 9)", {"got": "silence"},
           {"got": (PING, b"")}),
    better("head-deadlines", HELD, held, "F 2.2: bound the whole handshake, and idle connections", {"http": None, "tls": None,
           "idle": None}, {name: between(8, 14) for name in ("http", "tls", "idle")}, alone=True),
    # Processes.
    better("process-one", ALONE, crowd, "F 9: no process a connection (defect 1)", {"processes": 4}, {"processes": 1},
           alone=True),
    better("process-killed", ALONE, killed, "F 9: nothing outlives the server and holds its port (defect 13)",
           {"got": b"still", "taken": True}, {"got": b"", "taken": False}, alone=True),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

