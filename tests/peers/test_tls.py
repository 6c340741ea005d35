"""openssl and curl as TLS clients: versions, ciphers, keys, certificates, names, tickets, protocols, renegotiation."""

import contextlib
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest
from certificates import KINDS, NAME, Authority, openssl, serial
from support import BINARY, Process, until

pytestmark = pytest.mark.usefixtures("ours")

PAGE = "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n"
VERSIONS = {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}
TLS13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
TLS12 = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]
# What openssl calls alerts, by their numbers (RFC 8446 section 6).
HANDSHAKE_FAILURE, EXPIRED, UNKNOWN_CA, PROTOCOL_VERSION, CERTIFICATE_REQUIRED, NO_PROTOCOL = 40, 45, 48, 70, 116, 120


@pytest.fixture
def start(bridge, authority):
    """Starts an echo server with the built-in page."""
    return lambda *words, cert=None: bridge(
        "--cert", (cert or authority.sign("plain")).both, "--web=builtin:", "--echo", *words
    )


def s_client(server, authority, *words, ask=PAGE):
    """Connects with openssl, asks for the page, and returns what openssl said about it all."""
    common = ["-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.cert, "-verify_return_error"]
    name = [] if "-servername" in words or "-noservername" in words else ["-servername", NAME]
    return openssl("s_client", *common, *name, *words, *(["-ign_eof"] if ask else []), text=ask, check=False)


def is_served(said, *parts):
    """Whether the page came, over a connection that openssl describes like that."""
    for part in ("HTTP/1.1 200 OK", "Verify return code: 0 (ok)", *parts):
        assert part in said, said


def is_refused(said, *alerts):
    """Whether one of these alerts came, and no page."""
    assert "HTTP/1.1" not in said, said
    numbers = [int(number) for number in re.findall(r"SSL alert number (\d+)", said)]
    assert numbers and set(numbers) <= set(alerts), said


def curl(server, authority, *words, scheme="https"):
    """Asks for the page with curl; returns its exit status and what it printed."""
    command = ["curl", "--silent", "--max-time", "20", "--cacert", authority.cert, "--write-out", "%{http_code}",
               "--output", "/dev/null", *words, server.url(scheme=scheme)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout


def still_serves(server, authority):
    """Whether the next client is served, and everything that came before it has been released."""
    assert curl(server, authority) == (0, "200")
    no_session_is_left(server)


def no_session_is_left(server):
    """Asks the shards how many sessions they have until there is none."""

    def none():
        before = len(server.lines)
        server.child.send_signal(signal.SIGQUIT)
        until(lambda: sum("report shard=" in line for _, line in server.lines[before:]) == shards, "all shards report")
        return all(" sessions=0 " in line for _, line in server.lines[before:] if "report shard=" in line)

    shards = len([task for task in threads(server) if task.startswith("shard-")])
    until(none, "no session is left")


def threads(server):
    """The names of the server's threads."""
    return subprocess.run(
        ["ps", "-L", "-o", "comm=", "-p", str(server.pid)], capture_output=True, text=True, check=True
    ).stdout.split()


def test_versions(start, authority):
    server = start()
    for word, name in VERSIONS.items():
        is_served(s_client(server, authority, word), f"Protocol  : {name}")
        assert curl(server, authority, "--tlsv" + name[-3:], "--tls-max", name[-3:]) == (0, "200")
    for word in ("-tls1", "-tls1_1"):
        is_refused(s_client(server, authority, word, "-cipher", "ALL:@SECLEVEL=0"), PROTOCOL_VERSION, HANDSHAKE_FAILURE)
    still_serves(server, authority)


def test_ssl_is_refused(start, authority):
    """Hellos of SSL 3, with a plausible list of ciphers, and of SSL 2 (RFC 6101 sections 5.6.1.2 and E.2)."""
    body = b"\x03\x00" + bytes(32) + b"\x00" + b"\x00\x04\x00\x2f\x00\x0a" + b"\x01\x00"
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    server = start()
    for record in (b"\x16\x03\x00" + len(hello).to_bytes(2, "big") + hello, bytes([0x80, 46, 1, 0, 2]) + bytes(43)):
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(record)
            answer = b""
            while part := client.recv(100):
                answer += part
        assert answer[:1] == b"\x15" and answer[5] == 2, f"a fatal alert, not {answer!r}"
        assert answer[6] in ((PROTOCOL_VERSION, HANDSHAKE_FAILURE) if record[0] == 0x16 else range(256)), answer
    still_serves(server, authority)


def test_only_the_newest_version(start, authority):
    server = start("--ssl-version=tlsv1_3")
    is_served(s_client(server, authority, "-tls1_3"))
    is_refused(s_client(server, authority, "-tls1_2"), PROTOCOL_VERSION)
    still_serves(server, authority)


@pytest.mark.parametrize("kind, word", [("rsa-2048", "RSA"), ("p-256", "ECDSA")])
def test_ciphers_that_clients_ask_for(start, authority, kind, word):
    server = start(cert=authority.sign(kind, kind=kind))
    for cipher in TLS13:
        is_served(s_client(server, authority, "-tls1_3", "-ciphersuites", cipher), f"Cipher    : {cipher}")
    for cipher in TLS12:
        name, other = (f"ECDHE-{sort}-{cipher}" for sort in (word, "ECDSA" if word == "RSA" else "RSA"))
        is_served(s_client(server, authority, "-tls1_2", "-cipher", name), f"Cipher    : {name}")
        is_refused(s_client(server, authority, "-tls1_2", "-cipher", other), HANDSHAKE_FAILURE)
    for unsafe in ("AES128-SHA", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"):
        is_refused(s_client(server, authority, "-tls1_2", "-cipher", unsafe), HANDSHAKE_FAILURE)
    still_serves(server, authority)


@pytest.mark.parametrize("cipher", TLS13 + [f"ECDHE-{sort}-{cipher}" for cipher in TLS12 for sort in ("RSA", "ECDSA")])
def test_ciphers_that_we_allow(start, authority, cipher):
    """With a key of each kind for the same name, and nothing allowed but one cipher."""
    rsa, version = authority.sign("rsa-2048", kind="rsa-2048"), "-tls1_3" if cipher in TLS13 else "-tls1_2"
    limit = f"{cipher}:!TLS_AES_128_GCM_SHA256" if cipher not in TLS13 else cipher
    server = start("--cert", rsa.both, "--ssl-ciphers", limit)
    is_served(s_client(server, authority, version), f"Cipher    : {cipher}")
    others = {"-tls1_3": "-ciphersuites", "-tls1_2": "-cipher"}
    rivals = TLS13 if version == "-tls1_3" else [f"ECDHE-RSA-{name}" for name in TLS12]
    other = next(name for name in rivals if name != cipher)
    is_refused(s_client(server, authority, version, others[version], other), HANDSHAKE_FAILURE)
    still_serves(server, authority)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_keys(start, authority, kind):
    server = start(cert=authority.sign(kind, kind=kind))
    signed = {"rsa": "RSA-PSS", "p": "ECDSA", "ed25519": "ed25519"}[kind.partition("-")[0]]
    for version in VERSIONS:
        is_served(s_client(server, authority, version), f"Peer signature type: {signed}")
        # What the file says, not only the kind: two certificates of one kind would pass else.
        assert serial(authority.sign(kind).cert) in openssl(
            "x509", "-noout", "-serial", text=s_client(server, authority, version)
        )
    assert curl(server, authority) == (0, "200")


# How openssl is asked for an encrypted key, by the kind of key.
LOCKS = {
    "pkcs8-aes256": ("rsa-2048", ["pkcs8", "-topk8", "-v2", "aes-256-cbc"], "ENCRYPTED PRIVATE KEY"),
    "pkcs8-aes128-sha1": ("p-256", ["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"], "ENCRYPTED"),
    "pkcs8-des3": ("rsa-2048", ["pkcs8", "-topk8", "-v2", "des3"], "ENCRYPTED PRIVATE KEY"),
    "pkcs8-scrypt": ("ed25519", ["pkcs8", "-topk8", "-scrypt"], "ENCRYPTED PRIVATE KEY"),
    "traditional-des3": ("rsa-2048", ["rsa", "-traditional", "-des3"], "DEK-Info: DES-EDE3-CBC"),
    "traditional-aes128": ("rsa-2048", ["rsa", "-traditional", "-aes128"], "DEK-Info: AES-128-CBC"),
    "traditional-aes256": ("p-256", ["ec", "-aes256"], "DEK-Info: AES-256-CBC"),
}


@pytest.mark.parametrize("lock", LOCKS)
def test_encrypted_keys(bridge, engine, keep, authority, tmp_path, lock):
    kind, words, mark = LOCKS[lock]
    pair, key = authority.sign(kind, kind=kind), tmp_path / "locked.key"
    openssl(*words, "-in", pair.key, "-out", key, "-passout", "pass:open sesame")
    key.chmod(0o600)
    assert mark in key.read_text()
    given = ["--cert", pair.cert, "--key", key]
    server = bridge(*given, "--key-password=open sesame", "--web=builtin:", "--echo")
    is_served(s_client(server, authority))
    said = tmp_path / "password"
    said.write_text("open sesame\nthe first line counts\n")
    server = bridge(*given, f"--key-password=@{said}", "--web=builtin:", "--echo")
    is_served(s_client(server, authority))
    assert "sesame" not in pathlib.Path(f"/proc/{server.child.pid}/cmdline").read_text()
    for password, complaint in (["--key-password=sesame"], "password of the key is wrong"), ([], "give the password"):
        failed = keep(Process([BINARY, "--engine", engine, *given, *password, "--echo", "127.0.0.1:0"]))
        assert failed.child.wait(10) == 1
        failed.wait_for(r"^\(end of output\)$")
        lines = failed.said().splitlines()
        assert len(lines) == 2 and lines[0].startswith(f"websplice: --key: key {key} ") and complaint in lines[0], lines


def test_client_certificates(start, authority, tmp_path):
    server = start("--verify-client", "--cafile", authority.cert)
    good = authority.sign("staff", names=["staff.test"])
    old = authority.sign("former", names=["staff.test"], until="20010101000000Z")
    foreign = Authority(tmp_path / "foreign", "another authority").sign("staff", names=["staff.test"])

    def showing(pair):
        return ["-cert", pair.cert, "-key", pair.key] if pair else []

    for version in VERSIONS:
        is_served(s_client(server, authority, version, *showing(good)))
        is_refused(s_client(server, authority, version, *showing(old)), EXPIRED)
        is_refused(s_client(server, authority, version, *showing(foreign)), UNKNOWN_CA)
        is_refused(s_client(server, authority, version), CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE)
    assert curl(server, authority, "--cert", good.cert, "--key", good.key) == (0, "200")
    assert curl(server, authority)[1] == "000"
    assert curl(server, authority, "--cert", old.cert, "--key", old.key)[1] == "000"
    # Without --ssl-only nobody is sent elsewhere, and nobody gets in without a certificate.
    assert curl(server, authority, scheme="http") == (0, "403")
    no_session_is_left(server)


def test_the_name_chooses_the_certificate(start, authority):
    first = authority.sign("a", names=["a.test"])
    second = authority.sign("b", names=["b.test", "*.c.test"], kind="rsa-2048")
    server = start("--cert", second.both, cert=first)
    named = {"a.test": first, "b.test": second, "x.c.test": second, "x.y.c.test": first, "B.TEST": second, "": first}
    for name, pair in named.items():
        said = s_client(server, authority, *(["-servername", name] if name else ["-noservername"]))
        is_served(said)
        assert serial(pair.cert) in openssl("x509", "-noout", "-serial", text=said), name


def test_groups(start, authority):
    """Also those of a client whose first guess is one that we do not have, so that it is asked to try again."""
    # In version 1.2 the groups say which kinds of ECDSA keys a client takes, too.
    server = start(cert=authority.sign("rsa-2048", kind="rsa-2048"))
    for version in VERSIONS:
        for group, told in {"X25519": "X25519, 253", "P-256": "ECDH, prime256v1", "P-384": "ECDH, secp384r1"}.items():
            is_served(s_client(server, authority, version, "-groups", group), f"Server Temp Key: {told}")
            is_served(s_client(server, authority, version, "-groups", f"P-521:{group}"), f"Server Temp Key: {told}")
        is_refused(s_client(server, authority, version, "-groups", "P-521"), HANDSHAKE_FAILURE)
    still_serves(server, authority)


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption(start, authority, tmp_path, version):
    """Tickets are good again and again, and no longer when certificates were read anew."""
    server, ticket = start(), tmp_path / "ticket"
    is_served(s_client(server, authority, version, "-sess_out", ticket), "\nNew, ")
    for _ in range(3):
        is_served(s_client(server, authority, version, "-sess_in", ticket), "\nReused, ")
    server.child.send_signal(signal.SIGHUP)
    server.wait_for("tls renewed")
    is_served(s_client(server, authority, version, "-sess_in", ticket), "\nNew, ")
    still_serves(server, authority)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_are_good_on_all_shards(start, authority, version):
    """Connections that are held spread over the shards, so that one of them met a ticket of the other."""
    server, context = start("--threads", 2), ssl.create_default_context(cafile=authority.cert)
    context.minimum_version = context.maximum_version = version

    def connect(session):
        plain = socket.create_connection(("127.0.0.1", server.port), 10)
        return context.wrap_socket(plain, server_hostname=NAME, session=session)

    with contextlib.ExitStack() as held:
        first = held.enter_context(connect(None))
        first.sendall(PAGE.replace("close", "keep-alive").encode())
        assert first.recv(12) == b"HTTP/1.1 200", "in version 1.3 the ticket comes with the first answer"
        for _ in range(40):
            assert held.enter_context(connect(first.session)).session_reused
        server.child.send_signal(signal.SIGQUIT)
        for shard in range(2):
            _, line = server.wait_for(f"report shard={shard} ")
            assert int(re.search(r" sessions=(\d+) ", line)[1]) >= 8, line
    still_serves(server, authority)


def test_reconnecting(start, authority):
    """openssl comes back five times with the session of its first visit."""
    server = start()
    said = s_client(server, authority, "-tls1_2", "-reconnect", ask="")
    assert said.count("Reused, TLSv1.2") == 5, said
    still_serves(server, authority)


def test_protocols(start, authority):
    """An offer without HTTP/1.1 in it is refused by its own alert (RFC 7301 section 3.2)."""
    server = start()
    for version in VERSIONS:
        is_served(s_client(server, authority, version, "-alpn", "h2,http/1.1"), "ALPN protocol: http/1.1")
        is_served(s_client(server, authority, version), "No ALPN negotiated")
        is_refused(s_client(server, authority, version, "-alpn", "h2"), NO_PROTOCOL)
    assert curl(server, authority, "--http2") == (0, "200")
    still_serves(server, authority)


def test_renegotiation(start, authority):
    """A client that wants to shake hands again is told no (RFC 5246 section 7.2.2), and nobody hangs."""
    server, begun = start(), time.monotonic()
    said = s_client(server, authority, "-tls1_2", ask="") + renegotiate(server, authority)
    assert "Secure Renegotiation IS supported" in said, "which is to say that no man in the middle can fake one"
    assert "no renegotiation" in said, said
    assert time.monotonic() - begun < 10
    still_serves(server, authority)


def renegotiate(server, authority):
    """Types `R` when the handshake is done, and waits for openssl to give up."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", str(authority.cert), "-tls1_2"]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    try:
        while "Extended master secret" not in said and (line := client.stdout.readline()):
            said += line
        client.stdin.write("R\n")
        client.stdin.flush()
        client.wait(10)
        return said + client.stdout.read()
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()
