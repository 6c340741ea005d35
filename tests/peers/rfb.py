"""The client's side of a VNC session, as far as it takes to know whose desktop it is (RFC 6143 section 7)."""

import contextlib
import struct

from websockets.sync.client import connect


class Rfb:
    """A session that has said hello: `name` and `size` are the desktop's."""

    def __init__(self, socket):
        self.socket = socket
        self.held = b""
        assert self.take(12).startswith(b"RFB 003.")
        self.give(b"RFB 003.008\n")
        kinds = self.take(self.take(1)[0])
        assert 1 in kinds, f"the server wants a password: {kinds}"
        self.give(b"\x01")
        assert self.take(4) == bytes(4), "security"
        self.give(b"\x01")
        *self.size, length = struct.unpack(">HH16xI", self.take(24))
        self.name = self.take(length).decode()

    def take(self, count):
        """The next bytes, however they are cut into messages."""
        while len(self.held) < count:
            self.held += self.socket.recv(timeout=20)
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    def give(self, data):
        """Sends bytes as one message."""
        self.socket.send(data)

    def type(self, text):
        """Presses the keys of this text; Latin letters and signs are their own key symbols."""
        for letter in text:
            symbol = 0xFF0D if letter == "\n" else ord(letter)
            for down in (1, 0):
                self.give(struct.pack(">BBxxI", 4, down, symbol))

    def point(self, across, down):
        """Moves the pointer."""
        self.give(struct.pack(">BBHH", 5, 0, across, down))

    def pixels(self, colour=None):
        """Asks for the whole screen, raw, and returns how many pixels came; with a colour, how many have that one."""
        width, height = self.size
        self.give(struct.pack(">BxHi", 2, 1, 0))
        self.give(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        kind, rectangles = struct.unpack(">BxH", self.take(4))
        assert kind == 0, kind
        pixels = 0
        for _ in range(rectangles):
            _, _, across, down, encoding = struct.unpack(">HHHHi", self.take(12))
            assert encoding == 0, encoding
            data = self.take(across * down * 4)
            # The format that TigerVNC speaks of itself: 32 bits, little-endian, red in the third byte.
            wanted = bytes(reversed(colour)) if colour else None
            pixels += sum(data[at : at + 3] == wanted for at in range(0, len(data), 4)) if wanted else across * down
        return pixels


@contextlib.contextmanager
def desktop(url, **options):
    """A session with the desktop behind this URL."""
    with connect(url, subprotocols=["binary"], max_size=None, open_timeout=20, **options) as socket:
        yield Rfb(socket)
