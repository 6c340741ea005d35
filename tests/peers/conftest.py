"""Fixtures of the tests against real programs: engines, the server, targets, a desktop and a browser."""

import pathlib
import shutil
import tempfile
import textwrap

import pytest
from certificates import Authority
from desktop import Desktop
from support import BINARY, BUILT, ENGINES, OURS, Bridge, Target, ring_refused, without_excuse


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """No test is left out without an excuse."""
    return without_excuse((yield))


@pytest.fixture(scope="session", autouse=True)
def binary_is_built():
    """Nothing here can work without the server."""
    assert BINARY.exists(), f"{BINARY} is missing: run `cargo build --release`, or set WEBSPLICE_BIN"


@pytest.fixture(params=ENGINES)
def engine(request):
    """Each engine in turn."""
    if request.param == "ring" and ring_refused():
        pytest.skip(f"this machine refuses io_uring with errno {ring_refused()}")
    return request.param


@pytest.fixture
def ours():
    """For what only our own server promises."""
    if not OURS:
        pytest.skip("only our own server promises this")


@pytest.fixture
def wrapper(engine, place):
    """A `websockify` for programs that start it with words of their own: a link to the server, told to run this engine."""
    for folder in ("bin", "linked"):
        (place / folder).mkdir()
    (place / "linked/websockify").symlink_to(BINARY)
    words = f"--engine {engine}" if OURS else ""
    path = place / "bin/websockify"
    path.write_text(f'#!/bin/sh\nexec "{place}/linked/websockify" {words} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def keep():
    """Ends every process it is handed, last one first, when the test is over."""
    kept = []

    def remember(process):
        kept.append(process)
        return process

    yield remember
    slow = [process for process in reversed(kept) if process.end() is None]
    assert not (OURS and slow), f"had to be killed: {slow[0].child.args}"


@pytest.fixture
def bridge(engine, keep):
    """Starts the server with these words and waits until it accepts."""
    return lambda *words, **options: keep(Bridge(*words, engine=engine, **options)).ready()


@pytest.fixture
def target(keep):
    """Starts one of the targets of targets.py; with a file of certificate and key it speaks TLS."""
    return lambda *words: keep(Target(*words))


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """One desktop for all sessions of a module."""
    desktop = Desktop(tmp_path_factory.mktemp("desktop"))
    yield desktop
    desktop.end()


@pytest.fixture
def place():
    """A fresh directory with a short name, which can be typed."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="ws"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shots():
    """Where screenshots are left for people to look at."""
    path = BUILT / "peers/shots"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """The authority that the clients of all tests trust; certificates stay as they are once they are signed."""
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture
def module(tmp_path):
    """Writes a module that a Python finds which is told to look there; returns where."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return tmp_path

    return write
