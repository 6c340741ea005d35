"""What token plugins ask: a real Redis, and a web service that says where a token leads. One of each for a half."""

import http.server
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import redis
from harness import Echo, free_port
from support import until


class Two:
    """Two targets that can be told apart: they greet with `A` and `B`; the port of a pair is that of the first."""

    def __init__(self):
        self.first, self.second = Echo(greeting=b"A"), Echo(greeting=b"B")
        self.port, self.other = self.first.port, self.second.port

    def end(self):
        """Ends both."""
        self.first.end()
        self.second.end()


def unix_echo(path, greeting=b"U"):
    """An echo target on a Unix socket."""
    return Echo(greeting=greeting, family=socket.AF_UNIX, where=str(path))


def keep(half, thing, *ends):
    """Ends a thing with the half that it was made for."""
    half.note.setdefault("_end", []).extend(ends or [thing.end])
    return thing


# Names with two addresses, which no resolver has to know: what stands in front of the C library's. Nobody has the second
# address of lost.test (RFC 5737).
TWO_ADDRESSES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    int lost = name && !strcmp(name, "lost.test");
    if (!lost && (!name || strcmp(name, "two.test"))) return real(name, port, hints, found);
    int failed = real("127.0.0.2", port, hints, found);
    if (failed) return failed;
    struct addrinfo *last = *found;
    while (last->ai_next) last = last->ai_next;
    return real(lost ? "192.0.2.1" : "127.0.0.3", port, hints, &last->ai_next);
}
"""


def two_addresses(half):
    """Makes the library that knows the names two.test and lost.test; a group names it as `$two` in LD_PRELOAD."""
    half.note["two"] = build(half.place, "two", TWO_ADDRESSES, "-shared", "-fPIC").rename(half.place / "two.so")


def build(place, name, source, *words):
    """A program in C."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is missing"
    (place / f"{name}.c").write_text(source)
    subprocess.run([compiler, *words, "-o", name, f"{name}.c"], cwd=place, check=True, timeout=60, capture_output=True)
    return place / name


class Redis:
    """A Redis server on a free port, without anything on disk."""

    def __init__(self, *words):
        self.port = free_port()
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="wsredis"))
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: run scripts/setup-test.sh"
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--daemonize", "no",
                   "--dir", str(self.place), *words]  # fmt: skip
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        until(self._answers, "Redis answers")

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            assert self.child.poll() is None, "Redis has left"
            return False

    def fill(self, values, db=0, password=None):
        """Puts these keys."""
        client = redis.Redis(port=self.port, db=db, password=password)
        for key, value in values.items():
            client.set(key, value)
        client.close()

    def end(self):
        """Ends it."""
        self.child.terminate()
        self.child.wait(10)
        shutil.rmtree(self.place, ignore_errors=True)


class Service:
    """A web service, over TLS with a context: `answers` gives status and body for a path; what was asked is in `asked`, who asked
    last in `told`."""

    def __init__(self, answers, context=None):
        self.asked, service = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers from the table."""

            def do_GET(self):
                """One question."""
                service.asked.append(self.path)
                service.told = self.headers["Authorization"]
                status, body, *headers = answers(self.path)
                body = json.dumps(body).encode() if isinstance(body, dict) else body.encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nothing is logged."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        if context:
            # Who does not trust it ends in the middle of the handshake, which is then that connection's own business.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
