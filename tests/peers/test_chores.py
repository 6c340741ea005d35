"""Chores of the Makefile that leave something behind, each run on a copy of it in a directory of its own."""

import os
import re
import shutil
import socket
import subprocess

import pytest
from certificates import openssl
from support import BINARY, OURS, ROOT, Process, free_port, until


@pytest.fixture
def make(tmp_path):
    """Runs make in an empty directory; returns the directory, and what became of each run."""
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    place = tmp_path / "place"
    place.mkdir()

    def run(*words, **environment):
        command = [shutil.which("make"), "--no-print-directory", "-f", tmp_path / "Makefile", *words]
        return subprocess.run(command, cwd=place, env={**os.environ, **environment}, capture_output=True, text=True,
                              timeout=60)  # fmt: skip

    return place, run


def programs(tmp_path, **scripts):
    """A directory with these shell scripts as programs."""
    path = tmp_path / "programs"
    path.mkdir()
    for name, script in scripts.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n")
        (path / name).chmod(0o755)
    return path


def test_a_certificate_for_trying(make, engine, keep):
    """What `make cert` leaves is used where it lies, and whoever is told to trust it, and nothing else, is served."""
    place, run = make
    done = run("cert")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert os.listdir(place) == ["self.pem"]
    assert (place / "self.pem").stat().st_mode & 0o777 == 0o600, "a key is its owner's"
    said = openssl("x509", "-in", place / "self.pem", "-noout", "-ext", "subjectAltName,basicConstraints")
    names = {"DNS:localhost", f"DNS:{socket.gethostname()}", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"}
    assert set(re.search(r"Subject Alternative Name: *\n *(.*)\n", said)[1].split(", ")) == names
    assert "Basic Constraints: critical\n    CA:FALSE" in said and "TRUE" not in said, said

    port = free_port()
    words = ["--engine", engine, "--web=builtin:", "--echo"] if OURS else ["--web", ROOT / "tests/peers/page"]
    listen = [f"127.0.0.1:{port}"] + ([] if OURS else ["127.0.0.1:1"])
    server = keep(Process([BINARY, *words, *listen], cwd=place))
    curl = ["curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}",
            "--cacert", place / "self.pem", f"https://localhost:{port}/"]  # fmt: skip

    def asked():
        assert server.child.poll() is None, server.said()
        got = subprocess.run(curl, capture_output=True, text=True, timeout=20)
        # Status 7 of curl: nobody listens yet.
        return got.returncode != 7 and (got.returncode, got.stdout, got.stderr)

    assert until(asked, "the server accepts") == (0, "200", "")


def test_a_certificate_is_never_overwritten(make):
    place, run = make
    (place / "self.pem").write_text("mine")
    done = run("cert")
    assert done.returncode != 0 and "self.pem is there already" in done.stderr
    assert (os.listdir(place), (place / "self.pem").read_text()) == (["self.pem"], "mine")


def test_a_certificate_without_openssl(make, tmp_path):
    place, run = make
    done = run("cert", PATH=str(programs(tmp_path)))
    assert done.returncode != 0 and "openssl is missing: apt install openssl\n" in done.stderr
    assert os.listdir(place) == []


def test_a_certificate_that_fails(make, tmp_path):
    """What openssl complains about is shown, and nothing of what it began is left."""
    place, run = make
    fails = programs(tmp_path, openssl="while [ $# -gt 0 ]; do [ $1 != -keyout ] || echo half > $2; shift; done\n"
                     "echo 'no entropy today' >&2; exit 3")  # fmt: skip
    done = run("cert", PATH=f"{fails}:{os.environ['PATH']}")
    assert done.returncode != 0 and "no entropy today\n" in done.stderr
    assert os.listdir(place) == []


def test_the_list_of_chores(make, tmp_path):
    """Every chore is listed, with no program beyond those that every system has."""
    path = programs(tmp_path)
    for name in ("sh", "awk"):
        (path / name).symlink_to(shutil.which(name))
    listed = make[1](PATH=str(path))
    assert (listed.returncode, listed.stderr) == (0, ""), listed
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert sorted(line.split()[1] for line in listed.stdout.splitlines()) == sorted(phony)
