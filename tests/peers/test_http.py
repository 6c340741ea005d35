"""curl as the client: what the built-in web server answers."""

import subprocess

import pytest
from support import OURS

TEXT = "".join(f"line {number}\n" for number in range(2_000))


@pytest.fixture
def root(tmp_path):
    """A web root with a few files, and a file beside it that nobody may see."""
    root = tmp_path / "web"
    (root / "sub").mkdir(parents=True)
    (root / "text.txt").write_text(TEXT)
    (root / "page.html").write_text("<!DOCTYPE html><title>page</title>")
    (root / "module.js").write_text("export const answer = 42;\n")
    (root / ".hidden").write_text("hidden")
    (root / "sub/deep.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    return root


@pytest.fixture
def server(bridge, root):
    """A server of that root; its target does not matter."""
    return bridge("--web", str(root), target="127.0.0.1:1")


def curl(*words):
    """Runs curl and returns what it printed."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--path-as-is", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ask(server, path, *words):
    """Status, headers (names in lower case) and body of one request."""
    told = curl("--include", *words, server.url(path))
    head, _, body = told.partition("\n\n")
    lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def test_files_and_types(server):
    status, headers, body = ask(server, "text.txt?query=ignored")
    assert (status, body) == (200, TEXT)
    assert int(headers["content-length"]) == len(TEXT)
    kinds = {"page.html": "text/html", "module.js": "text/javascript", "sub/deep.json": "application/json"}
    for path, kind in kinds.items():
        assert ask(server, path)[1]["content-type"].split(";")[0] == kind


def test_head_tells_without_showing(server):
    status, headers, body = ask(server, "text.txt", "--head")
    assert (status, int(headers["content-length"]), body) == (200, len(TEXT), "")


def test_what_is_not_there(server):
    for path in ("absent.txt", "../secret.txt", "sub/../../secret.txt", "%2e%2e/secret.txt", "text.txt/"):
        status, _, body = ask(server, path)
        assert status in (400, 403, 404), path
        assert "secret" not in body.replace("secret.txt", "")
    assert ask(server, "absent.json")[0] == 404


def test_what_is_hidden(server, ours):
    for path in (".hidden", "link.txt", "sub/%00", "sub/../.hidden"):
        status, _, body = ask(server, path)
        assert status in (400, 403, 404), path
        assert "hidden" not in body.replace(".hidden", "")


def test_methods(server):
    for method in ("POST", "PUT", "DELETE"):
        assert ask(server, "text.txt", "--request", method)[0] in ((405,) if OURS else (405, 501))


def test_validators(server):
    modified = ask(server, "text.txt")[1]["last-modified"]
    assert ask(server, "text.txt", "--header", f"If-Modified-Since: {modified}")[0] == 304


def test_tags_and_caching(server, ours):
    _, headers, _ = ask(server, "text.txt")
    assert "no-cache" in headers["cache-control"]
    assert headers["x-content-type-options"] == "nosniff"
    status, again, body = ask(server, "text.txt", "--header", f"If-None-Match: {headers['etag']}")
    assert (status, body, again["etag"]) == (304, "", headers["etag"])
    assert ask(server, "text.txt", "--header", 'If-None-Match: "other"')[0] == 200


def test_ranges(server, ours):
    status, headers, body = ask(server, "text.txt", "--range", "5-11")
    assert (status, body) == (206, TEXT[5:12])
    assert headers["content-range"] == f"bytes 5-11/{len(TEXT)}"
    assert ask(server, "text.txt", "--range", "-7")[2] == TEXT[-7:]
    status, headers, _ = ask(server, "text.txt", "--range", f"{len(TEXT)}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(TEXT)}")


def test_one_connection_serves_many_requests(server):
    told = curl("--write-out", "%{num_connects} ", "--output", "/dev/null", server.url("text.txt"),
                "--output", "/dev/null", server.url("absent.txt?keep"))  # fmt: skip
    assert told.split()[0] == "1"
    told = curl("--write-out", "%{num_connects} ", "--output", "/dev/null", server.url("text.txt"),
                "--output", "/dev/null", server.url("module.js"), "--output", "/dev/null", server.url("page.html"))  # fmt: skip
    assert told.split() == ["1", "0", "0"]


def test_bad_upgrades(server):
    upgrade = ["--header", "Connection: Upgrade", "--header", "Upgrade: websocket"]
    key = ["--header", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    assert ask(server, "", *upgrade, *key)[0] == 400
    assert ask(server, "", *upgrade, "--header", "Sec-WebSocket-Version: 13")[0] == 400
    status, headers, _ = ask(server, "", *upgrade, *key, "--header", "Sec-WebSocket-Version: 99")
    assert status in ((400, 426) if OURS else (400,))
    if OURS:
        assert "13" in headers["sec-websocket-version"]


def test_without_a_web_root(bridge):
    assert ask(bridge(target="127.0.0.1:1"), "")[0] == 405
