"""Runs the real websockify many times while loading it once: each run is a fork of this process, with argv, environment,
directory and descriptors of its own.

    theirs.py

Standard input is a SOCK_SEQPACKET socket. Each message {"argv": [...], "cwd": ..., "env": {...}} brings four descriptors:
0, 1 and 2 of the run, and a socket that gets its pid and, when it has ended, its wait status. A run whose socket is closed
by the other side is killed with its whole process group, so nothing outlives the tests. Ends when standard input does.
"""

import json
import os
import select
import signal
import socket
import sys


def watch(pid, news):
    """Tells of the end of the run, and ends it when nobody listens any more."""
    ended = os.pidfd_open(pid)
    ready = select.select([news, ended], [], [])[0]
    if ended not in ready:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    news.send(json.dumps({"status": status}).encode())


def become(order, descriptors):
    """Turns this process into the run that was ordered."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["env"])
    # Where Python looks for modules is settled when it starts, so what the environment adds is added by hand.
    sys.path[0] = os.path.dirname(order["argv"][0])
    sys.path[1:1] = [path for path in order["env"].get("PYTHONPATH", "").split(":") if path]
    os.chdir(order["cwd"])
    sys.argv = order["argv"]


def serve():
    """Takes orders until there are no more; returns only in a run."""
    orders = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, 1 << 18, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            orders.close()
            # The run's end is awaited here, in the process between.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            news = socket.socket(fileno=descriptors.pop())
            pid = os.fork()
            if pid == 0:
                news.close()
                become(json.loads(message), descriptors)
                return
            for descriptor in descriptors:
                os.close(descriptor)
            news.send(json.dumps({"pid": pid}).encode())
            watch(pid, news)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    # All that a run would load by itself is loaded once, here.
    for module in ("jwcrypto.jwt", "numpy", "redis", "requests"):
        __import__(module)
    from websockify.websocketproxy import websockify_init

    serve()
    sys.exit(websockify_init())
