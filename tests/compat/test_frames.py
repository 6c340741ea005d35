"""Frames of an open WebSocket: data both ways, control frames, and the rules that clients break."""

import select
import socket
import threading

from harness import Echo, Group, Hand, better, same
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Late, Seen, close, closing, frame, upgrade

class Narrow(Echo):
    """An echo whose sockets have small buffers."""

    def __init__(self):
        super().__init__()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.listener.setsockopt(socket.SOL_SOCKET, buffer, 8192)


ECHO = Group("frames-echo", target=Echo)
HAND = Group("frames-hand", target=Hand)
NARROW = Group("frames-narrow", target=Narrow)
ALL = bytes(range(256))


def opened(half):
    """A client behind its 101."""
    client = half.connect()
    answer = client.send(upgrade()).answer()
    assert answer.code == 101, answer
    return client


def echoed(*pieces, length):
    """Sends these pieces and reports so many echoed bytes; an ordinary close at the end must be answered."""

    def do(half):
        with opened(half) as client:
            for piece in pieces:
                client.send(piece)
            got = client.data(length)
            return Seen(got=got, **after(client.send(close(1000, "done"))))

    return do


def after(client):
    """How a conversation ends, without data."""
    seen = client.farewell()
    return {"close": seen["close"], "ended": seen["ended"]}


def broken(*pieces):
    """Sends these pieces, the last of which breaks a rule, and reports the close frame; then answers it and waits for the end."""

    def do(half):
        with opened(half) as client:
            for piece in pieces:
                client.send(piece)
            return client.farewell()

    return do


def cut(data):
    """Sends this and ends our side, and reports what comes until the server ends its own."""

    def do(half):
        with opened(half) as client:
            return client.send(data).finish().farewell()

    return do


def answers(*pieces, count):
    """Sends these pieces and reports the frames that come."""

    def do(half):
        with opened(half) as client:
            for piece in pieces:
                client.send(piece)
            return Seen(frames=[client.frame() for _ in range(count)])

    return do


def ping_between_fragments(half):
    """A ping inside a fragmented message is answered at once, and the message still arrives."""
    with opened(half) as client:
        target = half.target.take()
        client.send(frame(BINARY, b"a", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"b"))
        return Seen(pong=client.frame(), got=target.take(2))


def pings_at_once(half):
    """Three pings in one piece, with data behind them: which are answered before the echo has come."""
    with opened(half) as client:
        client.send(b"".join(frame(PING, word) for word in (b"a", b"b", b"c")) + frame(BINARY, b"x"))
        frames = [client.frame()]
        while not {(BINARY, b"x"), (PONG, b"c")} <= set(frames):
            frames.append(client.frame())
        return Seen(pongs=[payload for kind, payload in frames if kind == PONG])


def goodbye(data):
    """A client's close frame: what comes back, and that the server then ends the stream."""

    def do(half):
        with opened(half) as client:
            got = client.send(data).frame()
            rest = client.rest()
            return Seen(got=got and (got[0], closing(got[1])), rest=rest, ended=client.ended)

    return do


def from_target(*chunks):
    """What the target sends: opcodes, payload in all, and whether any frame is odd."""

    def do(half):
        with opened(half) as client:
            target = half.target.take()
            got, kinds = b"", set()
            for chunk in chunks:
                target.send(chunk)
                wanted = len(got) + len(chunk)
                while len(got) < wanted:
                    kind, payload, *odd = client.frame()
                    got += payload
                    kinds.add((kind, *odd))
            target.end()
            return Seen(got=got == b"".join(chunks), kinds=kinds, **after(client))

    return do


def to_target(*pieces, length):
    """What of these pieces reaches the target."""

    def do(half):
        with opened(half) as client:
            target = half.target.take()
            for piece in pieces:
                client.send(piece)
            got = target.take(length)
            client.send(close(1000))
            rest = target.rest()
            target.end()
            return Seen(got=got, rest=rest, end=target.ended, **after(client))

    return do


def after_error(half):
    """Whether data behind a violation still reaches the target."""
    with opened(half) as client:
        target = half.target.take()
        client.send(frame(BINARY, b"good") + frame(TEXT, b"bad") + frame(BINARY, b"more"))
        got = client.frame()
        client.send(close(1003))
        reached = target.rest()
        return Seen(close=closing(got[1]), reached=reached)


def ping_while_target_is_silent(half):
    """A ping while nothing else happens."""
    with opened(half) as client:
        target = half.target.take()
        got = client.send(frame(PING, b"there?")).frame()
        target.end()
        return Seen(got=got)


def close_flushes(half):
    """A close right behind much data: all of it reaches the target."""
    block = bytes(1000) * 64
    with opened(half) as client:
        target = half.target.take()
        for _ in range(32):
            client.send(frame(BINARY, block))
        client.send(close(1000, "bye"))
        reached = len(target.rest())
        target.end()
        return Seen(reached=reached, end=target.ended, **after(client))


def unfinished(*pieces):
    """What has reached the target of a message whose end has not come yet."""

    def do(half):
        with opened(half) as client:
            target = half.target.take()
            target.stream.settimeout(half.patience(2))
            for piece in pieces:
                client.send(piece)
            try:
                got = target.take(5)
            except Late:
                got = "nothing"
            target.end()
            return Seen(got=got)

    return do


def swallowed(half):
    """How much a client can send before it has to wait for a target that reads nothing; 48 MiB at the most."""
    piece, sent = frame(BINARY, bytes(65536)), 0
    with opened(half) as client:
        target = half.target.take()
        client.stream.setblocking(False)
        while sent < 48 << 20:
            # Who is not asked for more within two seconds has to wait.
            if not select.select([], [client.stream], [], 2)[1]:
                break
            # A frame that is sent in part is a frame of the next turn's bytes; nobody looks at what they are.
            sent += client.stream.send(piece)
        target.end()
        return Seen(all=sent >= 48 << 20, sent=sent)


def crossed(half):
    """One large frame to an echo with small buffers: whether it comes back while both directions are full."""
    size = 4 << 20
    with opened(half) as client:
        client.stream.settimeout(half.patience(8))
        try:
            # Reading goes on while it is sent, as in a browser.
            threading.Thread(target=client.send, args=[frame(BINARY, bytes(size))], daemon=True).start()
            got = client.data(size)
        except Late:
            return Seen(whole=False)
        return Seen(whole=got == bytes(size))


def masks(*keys):
    """Frames with these masking keys."""
    return [frame(BINARY, ALL, mask=key) for key in keys]


OK = {"close": "1000 done", "ended": "closed"}
SPELLED = "N 2.7: Procotol is a slip of the pen"
RULE5 = "F 2.7: control frames are at most 125 bytes"


def breaks(ident, *pieces, theirs, ours, rule=SPELLED):
    """A row where both object, ours in better words or with the right code."""
    return better(f"frame-{ident}", ECHO, broken(*pieces), rule, {"close": theirs, "ended": "closed"},
                  {"close": ours, "ended": "closed"})  # fmt: skip


def refused(ident, *pieces, said):
    """A row where both object in the same words."""
    return same(f"frame-{ident}", ECHO, broken(*pieces), close=said, ended="closed")


ROWS = [
    # Data.
    same("frame-binary", ECHO, echoed(frame(BINARY, b"hello"), length=5), got=b"hello", **OK),
    same("frame-all-bytes", ECHO, echoed(frame(BINARY, ALL), length=256), got=ALL, **OK),
    same("frame-length-125", ECHO, echoed(frame(BINARY, bytes(125)), length=125), got=bytes(125), **OK),
    same("frame-length-126", ECHO, echoed(frame(BINARY, bytes(126)), length=126), got=bytes(126), **OK),
    same("frame-length-65535", ECHO, echoed(frame(BINARY, (ALL * 256)[:65535]), length=65535),
         got=(ALL * 256)[:65535], **OK),
    same("frame-length-65536", ECHO, echoed(frame(BINARY, ALL * 256), length=65536), got=ALL * 256, **OK),
    same("frame-length-200000", ECHO, echoed(frame(BINARY, bytes(200000)), length=200000), got=bytes(200000), **OK),
    same("frame-empty", ECHO, echoed(frame(BINARY), frame(BINARY, b"x"), length=1), got=b"x", **OK),
    same("frame-many", ECHO, echoed(*(frame(BINARY, bytes([n])) for n in range(200)), length=200), got=bytes(range(200)), **OK),
    same("frame-many-in-one-piece", ECHO, echoed(b"".join(frame(BINARY, bytes([n])) for n in range(200)), length=200),
         got=bytes(range(200)), **OK),
    same("frame-byte-by-byte", ECHO, echoed(*(bytes([byte]) for byte in frame(BINARY, b"slowly")), length=6), got=b"slowly",
           **OK),
    same("frame-mask-zero", ECHO, echoed(frame(BINARY, ALL, mask=bytes(4)), length=256), got=ALL, **OK),
    same("frame-masks", ECHO, echoed(*masks(b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"abcd"), length=768), got=ALL * 3, **OK),
    same("frame-fragments", ECHO, echoed(frame(BINARY, b"one", fin=False), frame(CONTINUATION, b"two", fin=False),
         frame(CONTINUATION, b"three"), length=11), got=b"onetwothree", **OK),
    same("frame-fragments-empty-middle", ECHO, echoed(frame(BINARY, b"one", fin=False), frame(CONTINUATION, b"", fin=False),
         frame(CONTINUATION, b"two"), length=6), got=b"onetwo", **OK),
    same("frame-fragments-empty-last", ECHO, echoed(frame(BINARY, b"one", fin=False), frame(CONTINUATION), length=3),
           got=b"one", **OK),
    better("frame-fragments-empty-first", ECHO, broken(frame(BINARY, fin=False), frame(CONTINUATION, b"x"), close(1000)),
           "F 2.7: an empty first fragment is legal", {"close": "1002 Procotol error: Unexpected continuation frame"},
           {"close": "1000"}),
    better("frame-non-minimal", ECHO, broken(frame(BINARY, b"padded", form=16), close(1000)), "S F4: lengths are minimal",
           {"close": "1000"}, {"close": "1002 Protocol error: Length not minimal"}),
    better("frame-length-top-bit", ECHO, cut(frame(BINARY, length=1 << 63)), "S F4: no length beyond 63 bits",
           {"close": None}, {"close": "1002 Protocol error: Length out of range"}),
    better("frame-unfinished", HAND, unfinished(frame(BINARY, b"first", length=1 << 40)),
           "F 2.7: payload is streamed as it arrives",
           {"got": "nothing"}, {"got": b"first"}),
    better("frame-fragment-unfinished", HAND, unfinished(frame(BINARY, b"first", fin=False)),
           "F 2.7: payload is streamed as it arrives", {"got": "nothing"}, {"got": b"first"}),
    better("frame-back-pressure", HAND, swallowed, "F 2.7: a slow target slows its client down", {"all": True}, {"all": False}),
    better("frame-both-ways-full", NARROW, crossed, "F 2.7: never let one direction wait for the other", {"whole": False},
           {"whole": True}),
    same("frame-ping-between-fragments", HAND, ping_between_fragments, pong=(PONG, b"p"), got=b"ab"),
    same("frame-to-target", HAND, to_target(frame(BINARY, b"abc"), frame(BINARY, b"def"), length=6), got=b"abcdef", rest=b"",
         close="1000", ended="closed"),
    same("frame-to-target-fragments", HAND, to_target(frame(BINARY, b"abc", fin=False), frame(CONTINUATION, b"def"), length=6),
         got=b"abcdef", rest=b""),
    same("frame-from-target", HAND, from_target(b"RFB 003.008\n"), got=True, kinds={(BINARY,)}, close="1000 Target closed",
         ended="closed"),
    same("frame-from-target-bytes", HAND, from_target(*(bytes([n]) for n in range(64))), got=True, kinds={(BINARY,)}),
    same("frame-from-target-125-to-127", HAND, from_target(bytes(125), bytes(126), bytes(127)), got=True, kinds={(BINARY,)}),
    same("frame-from-target-65535", HAND, from_target(bytes(65535), bytes(65536), bytes(65537)), got=True, kinds={(BINARY,)}),
    same("frame-from-target-all-bytes", HAND, from_target(ALL * 1000), got=True, kinds={(BINARY,)}),
    # Control frames.
    same("frame-ping", ECHO, answers(frame(PING, b"payload"), count=1), frames=[(PONG, b"payload")]),
    better("frame-pings-at-once", ECHO, pings_at_once, "N 2.8: of pings that come at once the last is answered (RFC 6455, 5.5.3)",
           {"pongs": [b"a", b"b", b"c"]}, {"pongs": [b"c"]}),
    same("frame-ping-empty", ECHO, answers(frame(PING), count=1), frames=[(PONG, b"")]),
    same("frame-ping-125", ECHO, answers(frame(PING, bytes(125)), count=1), frames=[(PONG, bytes(125))]),
    same("frame-ping-silent-target", HAND, ping_while_target_is_silent, got=(PONG, b"there?")),
    same("frame-pong-ignored", ECHO, answers(frame(PONG, b"unasked"), frame(BINARY, b"x"), count=1), frames=[(BINARY, b"x")]),
    # Closes.
    same("close-1000", ECHO, goodbye(close(1000)), got=(CLOSE, "1000"), rest=b""),
    same("close-reason", ECHO, goodbye(close(1000, "thank you")), got=(CLOSE, "1000 thank you"), rest=b""),
    same("close-1001", ECHO, goodbye(close(1001, "tab closed")), got=(CLOSE, "1001 tab closed"), rest=b""),
    same("close-4000", ECHO, goodbye(close(4000, "own")), got=(CLOSE, "4000 own"), rest=b""),
    same("close-3000", ECHO, goodbye(close(3000)), got=(CLOSE, "3000"), rest=b""),
    same("close-umlaut", ECHO, goodbye(close(1000, "tschüß")), got=(CLOSE, "1000 tschüß"), rest=b""),
    same("close-empty", ECHO, goodbye(close()), got=(CLOSE, "empty"), rest=b""),
    same("close-flushes", HAND, close_flushes, reached=64000 * 32, end="fin", close="1000 bye", ended="closed"),
    *(better(f"close-code-{code}", ECHO, goodbye(close(code)), "S F3: invalid codes are never echoed",
           {"got": (CLOSE, str(code))},
             {"got": (CLOSE, "1002 Protocol error: Invalid close code")}) for code in (0, 999, 1004, 1005, 1006, 1015, 5000)),
    better("close-one-byte", ECHO, goodbye(frame(CLOSE, b"\x03")), "S F3: a close payload of one byte is an error",
           {"got": (CLOSE, "empty")}, {"got": (CLOSE, "1002 Protocol error: Close payload of one byte")}),
    # Violations.
    breaks("unmasked", frame(BINARY, b"x", mask=None), theirs="1002 Procotol error: Frame not masked",
           ours="1002 Protocol error: Frame not masked"),
    refused("text", frame(TEXT, b"text"), said="1003 Unsupported: Text frames are not supported"),
    refused("text-empty", frame(TEXT), said="1003 Unsupported: Text frames are not supported"),
    breaks("stray-continuation", frame(CONTINUATION, b"x"), theirs="1002 Procotol error: Unexpected continuation frame",
           ours="1002 Protocol error: Unexpected continuation frame"),
    breaks("new-inside-message", frame(BINARY, b"x", fin=False), frame(BINARY, b"y"),
           theirs="1002 Procotol error: Unexpected new frame", ours="1002 Protocol error: Unexpected new frame"),
    breaks("ping-fragmented", frame(PING, b"x", fin=False), theirs="1003 Unsupported: Fragmented ping",
           ours="1002 Protocol error: Fragmented control frame", rule="S F3: a fragmented control frame is 1002"),
    breaks("pong-fragmented", frame(PONG, b"x", fin=False), theirs="1003 Unsupported: Fragmented pong",
           ours="1002 Protocol error: Fragmented control frame", rule="S F3: a fragmented control frame is 1002"),
    breaks("close-fragmented", frame(CLOSE, b"\x03\xe8", fin=False), theirs="1003 Unsupported: Fragmented close",
           ours="1002 Protocol error: Fragmented control frame", rule="S F3: a fragmented control frame is 1002"),
    *(breaks(f"opcode-{opcode:x}", frame(opcode, b"x"), theirs=f"1003 Unsupported: Unknown opcode 0x{opcode:02x}",
             ours="1002 Protocol error: Unknown opcode", rule="S F2: reserved opcodes are 1002")
      for opcode in (3, 7, 0xB, 0xF)),
    breaks("close-not-utf8", frame(CLOSE, b"\x03\xe8\xff\xfe"), theirs="1002 Procotol error: Invalid UTF-8 in close",
           ours="1007 Protocol error: Invalid UTF-8 in close", rule="S F3: 1007 for UTF-8"),
    *(better(f"frame-rsv{bit}", ECHO, broken(frame(BINARY, b"x", rsv=bit), frame(BINARY, b"y"), close(1000)),
             "F 2.7: reserved bits fail with 1002", {"close": "1000"}, {"close": "1002 Protocol error: Reserved bits set"})
      for bit in (1, 2, 4)),
    better("frame-ping-126", ECHO, broken(frame(PING, bytes(126)), close(1000)), RULE5, {"close": "1000"},
           {"close": "1002 Protocol error: Control frame too long"}),
    better("frame-after-error", HAND, after_error, "F 2.7: stop forwarding", {"reached": b"goodmore"}, {"reached": b"good"}),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)
