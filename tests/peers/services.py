"""Services that know tokens: a real Redis, and a web service in this process."""

import http.server
import socket
import threading

from support import Process, free_port


class Redis(Process):
    """A Redis on a loopback port, with nothing in it and nothing on disk."""

    def __init__(self, port=None, password=None):
        self.port, self.password = port or free_port(), password
        secret = ["--requirepass", password] if password else []
        super().__init__(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *secret,
             "--logfile", "/dev/stderr"]
        )  # fmt: skip
        self.wait_for("ready to accept connections")

    def do(self, *commands):
        """Has commands done, each a list of words; none may fail."""
        commands = [["AUTH", self.password]] * bool(self.password) + list(commands)
        with socket.create_connection(("127.0.0.1", self.port), 10) as wire:
            for words in commands:
                parts = [f"*{len(words)}\r\n"] + [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
                wire.sendall("".join(parts).encode())
                answer = wire.recv(4096)
                assert answer[:1] in b"+:", answer


class Service:
    """A web service that knows tokens, in this process; a token that begins with slow takes its time."""

    def __init__(self, answer, seconds=5.0, context=None):
        self.asked, self.over = [], threading.Event()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                service.asked.append(self.path)
                if "slow" in self.path:
                    service.over.wait(seconds)
                code, body = answer(self.path)
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        """Stops it; those that wait are answered."""
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        return 0
