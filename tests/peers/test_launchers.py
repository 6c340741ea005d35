"""Start lines of the field, as they are written there, and a plugin of the operator's own: each leads a client that speaks VNC
to a real desktop."""

import os
import pathlib
import signal
import subprocess

from desktop import SCREEN
from rfb import desktop as rfb
from support import Process, free_port, until

def sees(url, **options):
    """Whether a client of this URL gets the desktop and all of its pixels."""
    with rfb(url, **options) as session:
        assert session.name == SCREEN
        width, height = session.size
        assert session.pixels() == width * height


def test_the_start_line_of_open_ondemand(wrapper, screen, tmp_path):
    """In the background by the program's own doing, under the name `run`: `run -D PORT localhost:PORT`."""
    program = tmp_path / "run"
    program.write_text(f'#!/bin/sh\nexec "{wrapper}" "$@"\n')
    program.chmod(0o755)
    port = free_port()
    done = subprocess.run([program, "-D", str(port), f"localhost:{screen.port}"], timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    try:
        sees(f"ws://127.0.0.1:{port}/websockify")
    finally:
        for pid in listeners(port):
            os.kill(pid, signal.SIGTERM)
        until(lambda: not listeners(port), "the daemon is gone")


def test_the_start_line_of_open_ondemand_in_the_foreground(wrapper, screen, keep, tmp_path):
    """In the background by the shell's doing, with its output in a file that is searched for the line it waits for."""
    port = free_port()
    log = tmp_path / "websockify.log"
    script = f'"{wrapper}" {port} --heartbeat=30 localhost:{screen.port} > "{log}" 2>&1'
    keep(Process(["sh", "-c", f"exec {script}"]))
    until(lambda: f"proxying from :{port}" in log.read_text() if log.exists() else False, "the line it waits for")
    sees(f"ws://127.0.0.1:{port}/websockify")


def test_a_plugin_in_python(bridge, screen, tmp_path):
    """A class of the user's own, found where Python finds its modules."""
    (tmp_path / "desks.py").write_text(
        "class Desks:\n"
        "    def __init__(self, src):\n"
        "        self.host, _, self.port = src.rpartition(':')\n"
        "    def lookup(self, token):\n"
        "        return (self.host, int(self.port)) if token == 'mine' else None\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    server = bridge("--token-plugin=desks.Desks", f"--token-source={screen.address}", env=environment)
    sees(server.url("websockify?token=mine", "ws"))


def listeners(port):
    """Ids of the processes that listen on this port of any address."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    holders = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                links = {os.readlink(held) for held in pathlib.Path(f"/proc/{entry}/fd").iterdir()}
            except OSError:
                continue
            if links & inodes:
                holders.append(int(entry))
    return holders
