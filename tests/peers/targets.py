"""Targets for the bridge: small TCP servers, one thread a connection, named on the command line.

echo     sends back what comes
digest   reads an 8-byte length and so many bytes, answers with their BLAKE2b
source   reads an 8-byte length, sends so many bytes and their BLAKE2b
stall    accepts and never reads
flood    sends for ever and never reads
mixed    reads one byte that says what to be: E echo, S stall, F flood

A second word names a file with certificate and key: then they speak TLS.
"""

import hashlib
import os
import socket
import ssl
import sys
import threading

CHUNK = 256 * 1024


def exactly(connection, length):
    """Reads so many bytes."""
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(length - len(parts))
        if not part:
            raise ConnectionError("ended early")
        parts += part
    return bytes(parts)


def echo(connection):
    """Sends back what comes."""
    while data := connection.recv(CHUNK):
        connection.sendall(data)


def digest(connection):
    """Answers with the digest of what was announced, again and again."""
    buffer = memoryview(bytearray(CHUNK))
    while True:
        left, seen = int.from_bytes(exactly(connection, 8), "big"), hashlib.blake2b()
        while left:
            length = connection.recv_into(buffer, min(left, CHUNK))
            if not length:
                return
            seen.update(buffer[:length])
            left -= length
        connection.sendall(seen.digest())


def source(connection):
    """Sends what was asked for, and its digest behind it."""
    left, sent = int.from_bytes(exactly(connection, 8), "big"), hashlib.blake2b()
    blocks = [os.urandom(CHUNK) for _ in range(4)]
    turn = 0
    while left:
        part = blocks[turn % len(blocks)][:left]
        connection.sendall(part)
        sent.update(part)
        left -= len(part)
        turn += 1
    connection.sendall(sent.digest())
    connection.recv(1)


def stall(_connection):
    """Holds the connection and does nothing with it."""
    threading.Event().wait()


def flood(connection):
    """Sends for ever."""
    block = bytes(CHUNK)
    while True:
        connection.sendall(block)


def mixed(connection):
    """Becomes what the first byte says."""
    {b"E": echo, b"S": stall, b"F": flood}[exactly(connection, 1)](connection)


def serve(behaviour, context, connection):
    """One connection, whatever becomes of it."""
    with connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context:
                with context.wrap_socket(connection, server_side=True) as secured:
                    return behaviour(secured)
            return behaviour(connection)
        except OSError:
            pass


def main():
    """Listens on a port of the kernel's choice and says which."""
    known = {"echo": echo, "digest": digest, "source": source, "stall": stall, "flood": flood, "mixed": mixed}
    behaviour = known[sys.argv[1]]
    context = None
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2])
    threading.stack_size(256 * 1024)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print("listening on", listener.getsockname()[1], file=sys.stderr, flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(behaviour, context, connection), daemon=True).start()


if __name__ == "__main__":
    main()
