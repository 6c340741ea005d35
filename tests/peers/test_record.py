"""Recordings in the hands of those they are for: a JavaScript engine, and noVNC's own page that plays them.

What websockify records of the same traffic is the measure for the form: all but the times is equal to the byte.
"""

import json
import re
import signal
import subprocess

import pytest
from desktop import COLOUR, OTHER_COLOUR, Desktop
from support import BUILT, Process, free_port, until
from test_browser import APPLICATION, COUNT, DEBIAN_NOVNC, browser, sees  # noqa: F401 - fixtures are used by name
from test_clients import open_session

THEIRS = BUILT / "peers/venv/bin/websockify"
SOURCE = BUILT / "peers/novnc-1.3.0"
# Evaluates a file as a page does, and writes the elements of its array as lists of numbers.
EVALUATE = """
const text = require("fs").readFileSync(process.argv[1], "latin1");
const context = require("vm").createContext({});
require("vm").runInContext(text, context);
const codes = (element) => Array.from(element, (character) => character.charCodeAt(0));
console.log(JSON.stringify(Array.from(context.VNC_frame_data, codes)));
"""


def evaluated(path):
    """The elements of a recording, each as bytes, as a JavaScript engine sees them."""
    done = subprocess.run(["node", "-e", EVALUATE, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [bytes(element) for element in json.loads(done.stdout)]


def entries(path):
    """Its entries, each as whose it is and its payload; the end must be there."""
    *elements, end = evaluated(path)
    assert end == b"EOF"
    matches = [re.fullmatch(rb"([{}])(\d+)\1(.*)", element, re.DOTALL) for element in elements]
    times = [int(match[2]) for match in matches]
    assert times == sorted(times), "time goes on"
    return [(match[1], match[3]) for match in matches]


# Short enough to come back in one read, so that what is recorded does not depend on the weather.
MESSAGES = [bytes(range(256)), b"", b"x", b"it's \\ a \t\r\n <test>", b"'}1}',\n'EOF'];", bytes(reversed(range(256))) * 4,
            "\u2028 and \u00e9".encode(), b"\\x41", b"{{}}"]  # fmt: skip


def exchange(server, fragments):
    """Sends each message and waits for its echo, with a control frame between them; fragments come last."""
    with open_session(server) as session:
        for message in MESSAGES:
            session.send(message)
            if message:
                assert session.recv(timeout=20) == message
            session.ping().wait(20)
        if not fragments:
            return
        session.send([b"frag", b"", b"ments"])
        came = b""
        while len(came) < 9:
            came += session.recv(timeout=20)
        assert came == b"fragments"


def test_node_sees_the_traffic(bridge, target, place):
    server = bridge(f"--record={place}/r", target=target("echo").address)
    exchange(server, fragments=True)
    server.end()
    (path,) = place.glob("r.*")
    seen = entries(path)
    assert [payload for mark, payload in seen if mark == b"}"] == [*MESSAGES, b"fragments"]
    assert b"".join(payload for mark, payload in seen if mark == b"{") == b"".join(MESSAGES) + b"fragments"


def test_every_byte_behind_every_byte(bridge, target, place):
    """Escapes do not run into what follows them, nor numbers into what is in front."""
    pairs = bytes(part for first in range(256) for second in range(256) for part in (first, second))
    server = bridge(f"--record={place}/r", target=target("echo").address)
    with open_session(server) as session:
        session.send(pairs)
        left = len(pairs)
        while left:
            left -= len(session.recv(timeout=20))
    server.end()
    (path,) = place.glob("r.*")
    seen = entries(path)
    assert [payload for mark, payload in seen if mark == b"}"] == [pairs]
    assert b"".join(payload for mark, payload in seen if mark == b"{") == pairs


def test_a_killed_server_leaves_what_node_takes(ours, bridge, target, place):
    server = bridge(f"--record={place}/r", target=target("flood").address)
    with open_session(server) as session:
        for _ in range(200):
            session.recv(timeout=20)
        server.end(signal.SIGKILL)
    (path,) = place.glob("r.*")
    assert sum(len(payload) for _, payload in entries(path)) > 100_000


def test_the_form_is_that_of_websockify(ours, bridge, keep, target, place):
    address = target("echo").address
    server = bridge(f"--record={place}/ours", target=address)
    # Fragments reach a target as they come from us and together from websockify, so it answers in other pieces.
    exchange(server, fragments=False)
    server.end()
    port = free_port()
    theirs = keep(Process([THEIRS, f"--record={place}/theirs", f"127.0.0.1:{port}", address]))
    theirs.wait_for("proxying from")
    theirs.url = lambda scheme: f"{scheme}://127.0.0.1:{port}/"
    exchange(theirs, fragments=False)
    # It writes the last line when the session's process ends.
    (path,) = place.glob("theirs.*")
    until(lambda: path.read_bytes().endswith(b"'EOF'];\n"), "the other recording is complete")
    theirs.end()
    (own,) = place.glob("ours.*")
    timeless = [re.sub(rb"(?m)^'([{}])\d+\1", rb"'\1T\1", file.read_bytes()) for file in (own, path)]
    assert timeless[0] == timeless[1]


@pytest.fixture
def theatre(place):
    """A web root with noVNC's playback page, and a directory of recordings where it looks for them."""
    root = place / "root"
    root.mkdir()
    for folder in ("app", "core", "tests", "vendor"):
        subprocess.run(["cp", "-r", SOURCE / folder, root], check=True)
    (root / "recordings").mkdir()
    return root


# Keeps hold of the canvas, which the page throws away when a recording has come to its end.
KEEP_CANVAS = """new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
        for (const node of addedNodes) {
            window.kept = (node.querySelector && node.querySelector("canvas")) || window.kept;
        }
    }
}).observe(document, { childList: true, subtree: true });"""
KEPT = COUNT.replace("document.querySelector(selector)", "window.kept")


def test_novnc_plays_it(ours, bridge, engine, browser, keep, place, theatre, shots):  # noqa: F811
    """A session with a real desktop, recorded, and played in both modes by noVNC's own page.

    The application is of the same version as the page: what a later one has a desktop send, an earlier one cannot play.
    """
    desktop = keep(Desktop(place))
    words = [f"--record={theatre}/recordings", "--record-name=desk-{number}.js", "--web", DEBIAN_NOVNC]
    server = bridge(*words, target=desktop.address)
    browser.goto(server.url(APPLICATION.path))
    browser.wait_for_selector(APPLICATION.connected, state="attached")
    sees(browser, APPLICATION, COLOUR, 100_000)
    browser.locator(APPLICATION.canvas).click(position={"x": 150, "y": 150})
    browser.keyboard.type(". ./paint\n", delay=5)
    until((desktop.place / "typed").exists, "what was typed has run")
    sees(browser, APPLICATION, OTHER_COLOUR, 100_000)
    browser.evaluate(APPLICATION.leave)
    browser.wait_for_selector(APPLICATION.disconnected, state="attached")
    server.end()
    (recording,) = (theatre / "recordings").iterdir()
    frames = entries(recording)
    assert frames[0] == (b"{", b"RFB 003.008\n") and (b"}", b"RFB 003.008\n") in frames

    stage = bridge("--web", str(theatre), "--echo")
    browser.add_init_script(KEEP_CANVAS)
    for mode in ("perftest", "realtime"):
        query = f"data={recording.name}&iterations=1&mode={mode}"
        browser.goto(stage.url(f"tests/vnc_playback.html?{query}"))
        browser.wait_for_selector("#startButton:enabled")
        browser.click("#startButton")
        told = "document.getElementById('messages').textContent"
        browser.wait_for_function(f"/1 iterations took|disconnected during|Error/.test({told})", timeout=60_000)
        said = browser.evaluate(told)
        assert f"Loaded {len(frames) + 1} frames" in said and "1 iterations took" in said, said
        # What was painted last is what stands at the end; the first colour is gone.
        assert browser.evaluate(KEPT, ["", list(COLOUR)]) < 10_000, said
        assert browser.evaluate(KEPT, ["", list(OTHER_COLOUR)]) >= 100_000, said
        browser.screenshot(path=shots / f"playback-{mode}-{engine}.png")
    assert browser.complaints == []
