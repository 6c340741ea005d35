"""A real browser and the server under test. noVNC to a real desktop: as a library pinned from npm, and as the application
of the Debian package; started directly, and by noVNC's own launcher. And the page that is built into the server."""

import contextlib
import os
import shutil
import signal

import pytest
from desktop import COLOUR, OTHER_COLOUR, Desktop
from playwright.sync_api import sync_playwright
from support import BINARY, BUILT, HERE, OURS, Process, free_port, until

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
DEBIAN_NOVNC = "/usr/share/novnc"
NEWER_NOVNC = str(BUILT / "peers/novnc-1.6.0")
# Counts the pixels of noVNC's canvas that have a colour, give or take what a lossy encoding does to it.
COUNT = """([selector, [r, g, b]]) => {
    const canvas = document.querySelector(selector);
    if (!canvas || !canvas.width) return 0;
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
        if (Math.abs(data[i] - r) < 9 && Math.abs(data[i + 1] - g) < 9 && Math.abs(data[i + 2] - b) < 9) count += 1;
    }
    return count;
}"""


class Page:
    """What the two pages have in common: where their canvas is, and how one sees and changes their state."""

    def __init__(self, path, canvas, connected, disconnected, leave, join):
        self.path, self.canvas = path, canvas
        self.connected, self.disconnected = connected, disconnected
        self.leave, self.join = leave, join


PINNED = Page(
    "index.html", "#screen canvas", "body[data-state=connected]", "body[data-state=disconnected]",
    "window.rfb.disconnect()", "window.connect()",
)  # fmt: skip
APPLICATION = Page(
    "vnc.html?autoconnect=1&resize=remote&path=websockify", "#noVNC_container canvas", "html.noVNC_connected",
    "html:not(.noVNC_connected):not(.noVNC_connecting):not(.noVNC_disconnecting)",
    "document.getElementById('noVNC_disconnect_button').click()",
    "document.getElementById('noVNC_connect_button').click()",
)  # fmt: skip


@pytest.fixture
def desktop(place, keep):
    """A desktop whose shell works in `place`."""
    return keep(Desktop(place))


@pytest.fixture
def browser(tmp_path):
    """A browser with nothing remembered; its page collects what it complains about and what it asks for."""
    with visiting(tmp_path / "profile") as page:
        yield page


@contextlib.contextmanager
def visiting(profile, home=None):
    """A page of a browser with this profile; the authorities it trusts are those of the user whose home this is."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": 900, "height": 700},
            env={**os.environ, "HOME": str(home)} if home else None,
        )  # fmt: skip
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda message: complain(page, message))
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page
        context.close()


def complain(page, message):
    """Keeps errors, except those on the files that the application asks for without needing them."""
    optional = message.location.get("url", "").endswith((".json", "favicon.ico"))
    missing = "404" in message.text and (optional or "package.json" in message.text)
    if message.type == "error" and not missing:
        page.complaints.append(message.text)


@pytest.fixture(scope="session")
def pinned_root():
    """A web root with our small page and the library it uses, without links out of it."""
    root = BUILT / "peers/pinned"
    library = BUILT / "peers/node_modules/@novnc/novnc"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(HERE / "page", root)
    for folder in ("core", "vendor"):
        shutil.copytree(library / folder, root / folder)
    return root


def sees(browser, page, colour, at_least):
    """Waits until the canvas shows so many pixels of a colour."""
    browser.wait_for_selector(page.canvas, state="attached")
    count = f"(given) => ({COUNT})(given) >= {at_least}"
    browser.wait_for_function(count, arg=[page.canvas, list(colour)])


def watch_a_desktop(browser, page, url, desktop, shot):
    """The whole visit: look, type, resize, leave, come back."""
    browser.goto(url)
    browser.wait_for_selector(page.connected, state="attached")
    sees(browser, page, COLOUR, 100_000)

    browser.locator(page.canvas).click(position={"x": 150, "y": 150})
    browser.keyboard.type(". ./paint\n", delay=5)
    until((desktop.place / "typed").exists, "what was typed has run")
    sees(browser, page, OTHER_COLOUR, 100_000)
    browser.screenshot(path=shot)

    before = desktop.size()
    browser.set_viewport_size({"width": 1000, "height": 560})
    until(lambda: desktop.size() != before, "the desktop follows the window")
    width, height = desktop.size()
    same = "([s, w, h]) => { const c = document.querySelector(s); return c.width === w && c.height === h; }"
    browser.wait_for_function(same, arg=[page.canvas, width, height])
    assert abs(width - 1000) <= 8 and abs(height - 560) <= 8

    browser.evaluate(page.leave)
    browser.wait_for_selector(page.disconnected, state="attached")
    browser.evaluate(page.join)
    browser.wait_for_selector(page.connected, state="attached")
    sees(browser, page, OTHER_COLOUR, 100_000)
    assert browser.complaints == []


def test_pinned_library(bridge, engine, browser, desktop, pinned_root, shots):
    server = bridge("--web", str(pinned_root), target=desktop.address)
    watch_a_desktop(browser, PINNED, server.url(PINNED.path), desktop, shots / f"library-{engine}.png")


def test_application(bridge, engine, browser, desktop, shots):
    server = bridge("--web", DEBIAN_NOVNC, target=desktop.address)
    watch_a_desktop(browser, APPLICATION, server.url(APPLICATION.path), desktop, shots / f"application-{engine}.png")


@pytest.mark.parametrize(("novnc", "ending"), [
    pytest.param(DEBIAN_NOVNC, "terminate", id="package-terminate"),
    pytest.param(DEBIAN_NOVNC, "interrupt", id="package-interrupt"),
    pytest.param(NEWER_NOVNC, "terminate", id="newer-terminate"),
])
def test_launcher(browser, desktop, engine, wrapper, keep, place, shots, novnc, ending):
    """The launcher of the Debian package, or of a newer noVNC, unchanged, with our binary first in PATH as `websockify`."""
    path = f"{wrapper.parent}:{os.environ['PATH']}"
    port = free_port()
    launcher = keep(Process(
        [f"{novnc}/utils/novnc_proxy", "--listen", port, "--vnc", desktop.address, "--heartbeat", "30"],
        env={**os.environ, "PATH": path}, cwd=place,
    ))  # fmt: skip
    launcher.wait_for(f"proxying from :{port} to {desktop.address}")
    if OURS:
        held = [os.readlink(f"/proc/{member}/exe") for member in launcher.group()]
        assert os.path.realpath(BINARY) in held, held
        assert launcher.has_ring() == (engine == "ring")
    # The launcher looks after a second whether the server it started still lives; only then has it not failed.
    until(lambda: accepts(browser, f"http://127.0.0.1:{port}/vnc.html"), "the page is delivered")
    url = f"http://127.0.0.1:{port}/{APPLICATION.path}"
    watch_a_desktop(browser, APPLICATION, url, desktop, shots / f"launcher-{os.path.basename(novnc)}-{ending}-{engine}.png")

    if ending == "terminate":
        launcher.child.send_signal(signal.SIGTERM)
    else:
        os.killpg(launcher.pid, signal.SIGINT)
    launcher.child.wait(15)
    until(lambda: not launcher.group(), "launcher and server leave no process", 10)


def accepts(browser, url):
    """Whether the server answers this address well."""
    try:
        return browser.request.get(url).ok
    except Exception:  # Not yet listening is told in many ways, and all mean: ask again.
        return False


# A figure of the page that is above zero; before the first measurement a dash stands there.
SHOWS_A_FIGURE = "(id) => Number.parseFloat(document.getElementById(id).textContent) > 0"
# Starts the throughput, waits for its figures and stops it, all within the page: the browser reports every single frame to
# the test, and what it reports about full speed takes the test far longer to read than the page to send.
MEASURE = f"""async (figures) => {{
    const shows = {SHOWS_A_FIGURE};
    const deadline = performance.now() + 20_000;
    document.getElementById("bulk").click();
    while (!figures.every(shows) && performance.now() < deadline) await new Promise((done) => setTimeout(done, 20));
    document.getElementById("bulk").click();
    return figures.filter((figure) => !shows(figure));
}}"""


def test_built_in_page(ours, bridge, engine, browser, shots):
    """It connects, measures, leaves and comes back, and never asks anyone but its own server."""
    server = bridge("--web=builtin:", "--echo")
    browser.goto(server.url())
    browser.wait_for_selector("#light[data-state=open]")
    for figure in ("trip-now", "trip-min", "trip-median", "trip-p99"):
        browser.wait_for_function(SHOWS_A_FIGURE, arg=figure)
    browser.select_option("#size", "1024")
    assert browser.evaluate(MEASURE, ["bulk-down", "bulk-up", "bulk-rate", "bulk-total"]) == []
    browser.screenshot(path=shots / f"built-in-{engine}.png", full_page=True)

    browser.click("#toggle")
    browser.wait_for_selector("#light[data-state=closed]")
    assert browser.inner_text("#state").startswith("Closed: 1000")
    browser.click("#toggle")
    browser.wait_for_selector("#light[data-state=open]")
    browser.wait_for_function(SHOWS_A_FIGURE, arg="trip-now")
    assert browser.inner_text("#note") == ""
    assert browser.complaints == []
    assert [url for url in browser.asked if not url.startswith(server.url())] == []
