"""Runs of the real websockify, which one process has loaded for all of them (theirs.py does the loading)."""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent


class Loaded:
    """The process that has websockify loaded (theirs.py); one for all tests."""

    one, lock = None, threading.Lock()

    def __init__(self):
        self.orders, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.child = subprocess.Popen([sys.executable, "-B", HERE / "theirs.py"], stdin=far)
        far.close()

    @classmethod
    def run(cls, argv, cwd, env, descriptors):
        """Starts a run; returns the socket that tells of it."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order = json.dumps({"argv": argv, "cwd": str(cwd), "env": env}).encode()
        with cls.lock:
            cls.one = cls.one or Loaded()
            socket.send_fds(cls.one.orders, [order], [*descriptors, far.fileno()])
        far.close()
        return near

    @classmethod
    def end(cls):
        """Ends it; runs that still live end with it."""
        if cls.one:
            cls.one.orders.close()
            cls.one.child.wait(10)
            cls.one = None


class Forked:
    """A run of the loaded websockify, with the face of a `subprocess.Popen`."""

    def __init__(self, argv, cwd, env, descriptors):
        self.args, self.returncode, self.lock = argv, None, threading.Lock()
        read, write = os.pipe()
        self.stderr = open(read, errors="replace")
        self.news = Loaded.run(argv, cwd, env, [*descriptors, write])
        os.close(write)
        self.news.settimeout(20)
        self.pid = json.loads(self.news.recv(200))["pid"]

    def poll(self):
        """The exit status, or None while it runs."""
        return self._status(0)

    def wait(self, timeout=None):
        """Waits for the end and returns the exit status."""
        if self._status(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _status(self, seconds):
        with self.lock:
            if self.returncode is None and select.select([self.news], [], [], seconds)[0]:
                told = self.news.recv(200)
                self.returncode = os.waitstatus_to_exitcode(json.loads(told)["status"]) if told else -signal.SIGKILL
                self.news.close()
        return self.returncode

    def send_signal(self, sign):
        """As of a Popen."""
        if self.poll() is None:
            # It may have ended a moment ago without that being known here yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sign)
