"""Names of targets that a name server never answers for: whom they delay, and for how long."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import BINARY, Bridge, Process, free_port, until
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.usefixtures("ours")

# More than there are threads for names.
STUCK = 80
# A name server of our own; nobody else's has this address.
SILENT = "127.53.53.53"
# What others may wait meanwhile. Measured are 2 to 10 ms on two busy cores; a name server is asked again after 5 s.
PROMPT = 1.0


class Secluded(Bridge):
    """The server in surroundings of its own: with another name server, and other names that it knows by itself."""

    def __init__(self, place, hosts, *words, engine):
        (place / "resolv.conf").write_text(f"nameserver {SILENT}\n")
        (place / "hosts").write_text(hosts)
        self.port = free_port()
        mounts = 'mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/hosts" /etc/hosts && shift && exec "$@"'
        Process.__init__(self, ["unshare", "--map-root-user", "--mount", "sh", "-c", mounts, "sh", place, BINARY, "--engine",
                                engine, *words, f"127.0.0.1:{self.port}"])  # fmt: skip


@pytest.fixture
def silence():
    """A name server that takes questions and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((SILENT, 53))
        except PermissionError:
            pytest.skip("only root may play a name server here")
        yield server


def took(server, token):
    """How long it takes until something has gone to the target and back."""
    begun = time.monotonic()
    with connect(server.url(f"?token={token}", "ws"), compression=None, proxy=None, open_timeout=30) as session:
        session.send(b"there and back")
        assert session.recv(timeout=30) == b"there and back"
    return time.monotonic() - begun


def test_names_that_are_stuck_delay_no_other(keep, engine, target, place, silence):
    echo = target("echo")
    lines = [f"stuck-{number}: n{number}.stuck.test:5900" for number in range(STUCK)]
    lines += [f"{token}: {host}:{echo.port}" for token, host in
              (("local", "localhost"), ("known", "desk.test"), ("alias", "DESK"), ("literal", "127.0.0.1"))]  # fmt: skip
    (place / "tokens").write_text("\n".join(lines) + "\n")
    hosts = "127.0.0.1 localhost\n127.0.0.1 desk.test desk # n1.stuck.test\n"
    # Nothing is kept, so that each name is asked for anew.
    server = keep(Secluded(place, hosts, "--token-cache=0", "--target-config", place / "tokens", engine=engine)).ready()
    begun = time.monotonic()
    with contextlib.ExitStack() as held:
        stuck = [held.enter_context(connect(server.url(f"?token=stuck-{number}", "ws"), compression=None, proxy=None,
                                            open_timeout=30)) for number in range(STUCK)]  # fmt: skip
        delay_nobody(server, silence, begun)
        for session in stuck:
            with pytest.raises(ConnectionClosedError) as ended:
                session.recv(timeout=30)
            assert ended.value.rcvd.code == 1011
    assert 7 < time.monotonic() - begun < 20
    until(lambda: server.said().count('detail="the name was not resolved in time"') == STUCK, "all ends are told")


def delay_nobody(server, silence, begun):
    """Whether names that this machine knows are there at once, and those of the name server not yet."""
    assert silence.recv(4096), "the name server is asked"
    for _ in range(20):
        for token in ("local", "known", "alias", "literal"):
            assert took(server, token) < PROMPT, token
    assert time.monotonic() - begun < 7, "they are stuck still"


def test_services_that_are_stuck_leave_no_threads_behind(keep, engine, place, silence):
    words = ["--token-plugin=BaseTokenAPI", "--token-source=http://tokens.test/%s", "--token-timeout=1s", "--token-cache=0"]
    server = keep(Secluded(place, "127.0.0.1 localhost\n", *words, engine=engine)).ready()
    threads = Path(f"/proc/{server.pid}/task")

    def those_for_names():
        return [thread.name for thread in threads.iterdir() if (thread / "comm").read_text().strip() == "names"]

    for _ in range(3):
        begun = time.monotonic()
        with ThreadPoolExecutor(STUCK) as askers:
            answers = list(askers.map(lambda number: refused(server, f"desk-{number}"), range(STUCK)))
        assert answers == [503] * STUCK
        assert time.monotonic() - begun < 5
    # One thread sits on the name, for all who ask. Helpers are one for each question that waits, and as many as ever.
    assert len(those_for_names()) == 1
    assert len(list(threads.iterdir())) < STUCK / 2


def refused(server, token):
    """The status that a client with a token is refused with."""
    with pytest.raises(InvalidStatus) as refusal:
        connect(server.url(f"?token={token}", "ws"), compression=None, proxy=None, open_timeout=30)
    return refusal.value.response.status_code
