"""A real desktop: Xtigervnc on a free display with an xterm of a known colour on its screen."""

import os
import re
import subprocess
import threading

from support import Process, free_port, until

# What the desktop calls itself.
SCREEN = "websplice test"
COLOUR = (0x20, 0x40, 0x60)
OTHER_COLOUR = (0x80, 0x60, 0x20)


def hexed(colour):
    """A colour as X writes it."""
    return "#" + "".join(f"{part:02x}" for part in colour)


class Desktop:
    """Owns the two processes and the directory `place`, where the xterm's shell works."""

    def __init__(self, place):
        self.place = place
        self.port = free_port()
        read, write = os.pipe()
        self.screen = Process(
            ["Xtigervnc", "-displayfd", str(write), "-rfbport", self.port, "-SecurityTypes", "None", "-interface",
             "127.0.0.1", "-geometry", "800x600", "-depth", "24", "-AlwaysShared", "-desktop", SCREEN],
            pass_fds=[write],
        )  # fmt: skip
        os.close(write)
        # The display's number comes when the server is ready; a server that cannot start closes the pipe instead.
        guard = threading.Timer(20, self.screen.child.kill)
        guard.start()
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        guard.cancel()
        assert number, self.screen.said()
        self.display = f":{number}"
        # What the test types is one short line that runs this: it leaves a file and repaints the terminal.
        repaint = rf"printf '\033]11;{hexed(OTHER_COLOUR)}\007'; clear; echo hello from the other side; touch typed"
        (place / "paint").write_text(repaint + "\n")
        ready = place / "ready"
        self.terminal = Process(
            ["xterm", "-display", self.display, "-bg", hexed(COLOUR), "-fg", "#ffffff", "-geometry", "100x40+0+0",
             "-e", "sh", "-c", f"cd {place} && touch {ready.name} && exec sh"],
            env={**os.environ, "ENV": "", "PS1": "$ "},
        )  # fmt: skip
        until(ready.exists, "the xterm runs its shell")
        self.address = f"127.0.0.1:{self.port}"

    def size(self):
        """Width and height of the screen, as the X server tells it; while it changes, xrandr may fail."""

        def told():
            done = subprocess.run(["xrandr", "-display", self.display], capture_output=True, text=True, timeout=10)
            return re.search(r"current (\d+) x (\d+)", done.stdout)

        return tuple(map(int, until(told, "xrandr tells the size").groups()))

    def end(self):
        """Ends both processes, and returns how the screen left."""
        self.terminal.end()
        return self.screen.end()
