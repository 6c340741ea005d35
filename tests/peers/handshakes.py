"""Clients that come at a fixed pace, whatever becomes of those before them: each shakes hands, opens a WebSocket, leaves.

    handshakes.py PORT CAFILE NAME RATE SECONDS OUTPUT

Writes a JSON list with an entry a client: when it began and ended (seconds of the system's monotonic clock), the serial
number of the certificate it was shown, and what went wrong, if anything did. All handshakes are full ones.
"""

import itertools
import json
import pathlib
import socket
import ssl
import sys
import threading
import time

WORKERS = 24
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: load\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def visit(context, port, name):
    """One client; returns the serial number it was shown."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as wire:
            serial = wire.getpeercert()["serialNumber"]
            wire.sendall(REQUEST)
            # In version 1.3 only an answer shows that the server, too, saw the handshake end well.
            if not wire.recv(4096).startswith(b"HTTP/1.1 101 "):
                raise ConnectionError("no 101")
            return serial


def main():
    """Runs the load and writes what became of it."""
    port, cafile, name, rate, seconds, output = sys.argv[1:]
    context = ssl.create_default_context(cafile=cafile)
    turns, visits, start = itertools.count(), [], time.monotonic() + 0.1

    def work():
        while (due := start + next(turns) / float(rate)) < start + float(seconds):
            time.sleep(max(0.0, due - time.monotonic()))
            began, serial, wrong = time.monotonic(), None, None
            try:
                serial = visit(context, int(port), name)
            except (OSError, ConnectionError) as error:
                wrong = repr(error)
            visits.append([began, time.monotonic(), serial, wrong])

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pathlib.Path(output).write_text(json.dumps(visits))


if __name__ == "__main__":
    main()
