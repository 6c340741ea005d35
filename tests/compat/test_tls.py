"""TLS: certificates, versions, ciphers, clients that must or must not have a certificate, and targets that speak it."""

import functools
import pathlib
import re
import shutil
import ssl
import tempfile
import threading
import time
import warnings

from certificates import NAME, Authority, openssl, serial
from harness import Echo, Group, better, files, has, same
from services import keep, unix_echo
from support import until
from wire import BINARY, Seen, close, closing, frame, request, upgrade


@functools.cache
def directory(prefix):
    """A directory for certificates; gone with the tests."""
    kept = tempfile.TemporaryDirectory(prefix=prefix)
    shelf.append(kept)
    return pathlib.Path(kept.name)


place = functools.partial(directory, "wstls")


shelf = []


made, making = {}, threading.RLock()


def authority(name="authority"):
    """An authority that both halves' servers or clients trust; both may ask at once."""
    with making:
        return made.get(name) or made.setdefault(name, Authority(place() / name, name))


def signed(file, by="authority"):
    """A certificate of an authority."""
    with making:
        return authority(by).sign(file)


def context(low=ssl.TLSVersion.TLSv1_2, high=ssl.TLSVersion.TLSv1_3, cert=None, old=False):
    """A client that trusts the authority."""
    secure = ssl.create_default_context(cafile=authority().cert)
    if old:
        secure.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # Python warns of versions that nobody should speak; that they are refused is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        secure.minimum_version, secure.maximum_version = low, high
    if cert:
        secure.load_cert_chain(cert)
    return secure


def short_key(place):
    """A certificate with an RSA key that nobody should use any more."""
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext",
            f"subjectAltName=DNS:{NAME}", "-keyout", place / "short.key", "-out", place / "short.crt")  # fmt: skip
    both = place / "short.pem"
    both.write_text((place / "short.crt").read_text() + (place / "short.key").read_text())
    return both


def pair(half):
    """The certificate of a server, as a note of the half: certificate and key in one file and in two."""
    server = signed("server")
    encrypted = half.place / "encrypted.key"
    openssl("pkey", "-in", server.key, "-aes256", "-passout", "pass:secret", "-out", encrypted)
    half.note |= {"both": server.both, "cert": server.cert, "key": server.key, "ca": authority().cert, "encrypted": encrypted}
    half.note["short"] = short_key(half.place)
    shutil.copy(server.both, half.place / "self.copy")
    files({"web/text.txt": "text"})(half)


@functools.cache
def own():
    """A client's certificate as `openssl req -x509` makes it, signed by nobody but itself."""
    with making:
        both = place() / "own.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=own", "-keyout", both, "-out", place() / "own.crt")  # fmt: skip
        both.write_text((place() / "own.crt").read_text() + both.read_text())
        return both


def known(half):
    """The same pair, and the one client that the server is to know."""
    pair(half)
    half.note["own"] = own()


def self_pem(half):
    """The default certificate in the directory the server starts in."""
    pair(half)
    shutil.copy(half.note["both"], half.place / "self.pem")


def tls_target():
    """An echo target that speaks TLS 1.2 at most."""
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(signed("server").both)
    secure.maximum_version = ssl.TLSVersion.TLSv1_2
    return Echo(secure, b"hello")


def tls13_target():
    """An echo target that speaks TLS 1.3, where the client speaks first."""
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(signed("server").both)
    return Echo(secure)


def serve(name, *words, **more):
    """A group with a certificate."""
    return Group(f"tls-{name}", words, **{"target": Echo, "setup": pair, **more})


BOTH = serve("both", "--cert=$both", "--web=$place/web")
TWO = serve("two", "--cert=$cert", "--key=$key")
DEFAULT = serve("default", setup=self_pem)
LATER = serve("later")
PASSWORD = serve("password", "--cert=$cert", "--key=$encrypted", "--key-password=secret")
ONLY = serve("only", "--cert=$both", "--ssl-only", "--web=$place/web")
ONLY_13 = serve("tls13", "--cert=$both", "--ssl-version=tlsv1_3")
ONLY_12 = serve("tls12", "--cert=$both", "--ssl-version=tlsv1_2")
OLD = serve("tls11", "--cert=$both", "--ssl-version=tlsv1_1")
CIPHER = serve("cipher", "--cert=$both", "--ssl-ciphers=ECDHE-ECDSA-AES256-GCM-SHA384")
WORDS = serve("words", "--cert=$both", "--ssl-ciphers=HIGH:!aNULL:!MD5:ECDHE+AESGCM")
VERIFY = serve("verify", "--cert=$both", "--verify-client", "--cafile=$ca")
VERIFY_OWN = serve("verify-own", "--cert=$both", "--verify-client", "--cafile=$own", setup=known)
OLD_LIST = serve("old-list", "--cert=$both",
                 "--ssl-ciphers=EECDH+AESGCM:HIGH:!aNULL:!MD5:!KRB5-DES-CBC3-SHA:!EDH-DSS-DES-CBC3-SHA:EXP1024-DES-CBC-SHA")
VERIFY_ONLY = serve("verify-only", "--cert=$both", "--ssl-only", "--verify-client", "--cafile=$ca")
NO_CERT = serve("none")
ALONE = serve("alone", "--cert=$place/self.copy")
TRUST = {"SSL_CERT_FILE": str(place() / "authority/ca.pem")}
TARGET_12 = Group("tls-target-12", ("--ssl-target",), target=tls_target, to="localhost:$target", env=TRUST)
TARGET_13 = Group("tls-target-13", ("--ssl-target",), target=tls13_target, to="localhost:$target", env=TRUST)
TARGET_STRANGE = Group("tls-target-strange", ("--ssl-target",), target=tls_target, to="localhost:$target")
TARGET_NAME = Group("tls-target-name", ("--ssl-target",), target=tls_target, to="127.0.0.2:$target", env=TRUST)
TARGET_PLAIN = Group("tls-target-plain", ("--ssl-target",), target=lambda: Echo(greeting=b"SSH-2.0-x\r\n"),
    to="localhost:$target",
                     env=TRUST)  # fmt: skip
TARGET_UNIX = Group("tls-target-unix", ("--ssl-target", "--unix-target=$place/echo.sock"), to="",
                    setup=lambda half: keep(half, unix_echo(half.place / "echo.sock", b"plain")))  # fmt: skip
COMMAND = Group("tls-command", target=Echo, setup=pair)
V12 = ssl.TLSVersion.TLSv1_2


def secured(make=context, name=NAME):
    """A client with TLS: an echo, the version and cipher, and how the stream ends."""

    def do(half):
        try:
            with half.connect(make(), name) as client:
                code = client.send(upgrade()).answer().code
                if code != 101:
                    return Seen(error="no answer", code=code)
                got = client.send(frame(BINARY, b"secret")).data(6)
                stream = client.stream
                client.send(close(1000, "bye"))
                return Seen(code=code, got=got, version=stream.version(), cipher=stream.cipher()[0],
                            close=closing(client.frame()[1]), ended=ending(client))  # fmt: skip
        except (ssl.SSLError, ConnectionError) as error:
            return Seen(error="refused", alert=getattr(error, "reason", None), text=str(error))

    return do


def later(half):
    """A default certificate that comes when the server runs; ours looks for it once a second."""
    half.serve()
    before = secured()(half)
    shutil.copy(half.note["both"], half.place / "self.pem")
    until = time.monotonic() + 10
    while "error" in (seen := secured()(half)):
        assert time.monotonic() < until, seen
        time.sleep(0.1)
    return Seen(seen, before=before["error"])


def ending(client):
    """Whether the stream ends with close_notify."""
    client.stream.suppress_ragged_eofs = False
    try:
        return "notified" if client.stream.recv(1) == b"" else "more"
    except ssl.SSLEOFError:
        return "cut"
    except OSError:
        return "reset"


def plain(data):
    """A client without TLS."""

    def do(half):
        mark = half.server.mark()
        with half.connect() as client:
            seen = client.send(data).answer().seen()
        log = half.server.since(mark, "non-SSL connection received but disallowed") if seen["code"] == 0 else None
        return Seen(seen, log=log)

    return do


def web(half):
    """A file over TLS."""
    with half.connect(context(), NAME) as client:
        client.send(request("/text.txt"))
        return client.answer().seen(then=client.then())


def renewed(half):
    """The certificate file is replaced: which is shown before and after."""
    def shown():
        with half.connect(context(), NAME) as client:
            return client.stream.getpeercert()["serialNumber"]

    half.serve()
    before = shown() == serial(signed("server").cert)
    fresh = signed("fresh")
    (half.place / "new").write_text(fresh.both.read_text())
    (half.place / "new").rename(half.place / "self.copy")
    start = time.monotonic()
    until(lambda: shown() == serial(fresh.cert), "the new certificate is shown", 20)
    return Seen(before=before, quick=time.monotonic() - start < 10)


def start(*words):
    """Whether a server starts with these words; if so, what a TLS client comes to."""

    def do(half):
        half.server = run = half.start(*words, "127.0.0.1:$port", "127.0.0.1:$target")
        run.wait_for(r"proxying from|\(end of output\)", 30)
        said = run.said()
        seen = secured()(half) if "proxying from" in said else Seen(status=run.child.wait(20))
        banner = [line for line in said.splitlines() if line.startswith("  - ")]
        return Seen(seen, starts="proxying from" in said, said=half.blank(said), banner=banner)

    return do


def unix_target(half):
    """A start with TLS to a Unix target; if there is a server, what the target gets."""
    half.server = run = half.start(*half.group.words, "127.0.0.1:$port")
    run.wait_for(r"proxying from|\(end of output\)", 30)
    return target(False)(half) if "proxying from" in run.said() else Seen(status=run.child.wait(20), said=run.said())


def target(speak_first):
    """A session to a target with TLS: its greeting if it has one, else an echo."""

    def do(half):
        with half.connect() as client:
            client.stream.settimeout(half.patience(3))
            code = client.send(upgrade()).answer().code
            try:
                got = client.frame()
                greeting = got[1] if got[0] == BINARY else closing(got[1])
            except AssertionError:
                greeting = "silence"
            return Seen(code=code, got=greeting)

    def first(half):
        with half.connect() as client:
            client.stream.settimeout(half.patience(3))
            code = client.send(upgrade()).answer().code
            # The tickets of TLS 1.3 come behind the handshake; data that comes with them would hide the defect.
            time.sleep(0.3)
            client.send(frame(BINARY, b"first"))
            try:
                got = client.frame()
                return Seen(code=code, got=got[1] if got[0] == BINARY else closing(got[1]))
            except AssertionError:
                return Seen(code=code, got="silence")

    return first if speak_first else do


FINE = {"code": 101, "got": b"secret", "close": "1000 bye"}
REFUSED = {"error": lambda error: error is not None}
EARLY = "F 1.3: checked at start"
FAILED = "1011 Failed to connect to downstream server"
ROWS = [
    same("tls-session", BOTH, secured(), **FINE, version="TLSv1.3"),
    same("tls-12", BOTH, secured(lambda: context(high=V12)), **FINE, version="TLSv1.2"),
    same("tls-two-files", TWO, secured(), **FINE),
    same("tls-self-pem", DEFAULT, secured(), **FINE),
    same("tls-self-pem-later", LATER, later, alone=True, **FINE, before="refused"),
    same("tls-key-password", PASSWORD, secured(), **FINE),
    same("tls-file", BOTH, web, code=200, body=b"text", then="open"),
    same("tls-beside-plain", BOTH, plain(upgrade()), code=101),
    same("tls-beside-plain-file", BOTH, plain(request("/text.txt")), code=200, body=b"text"),
    better("tls-close-notify", BOTH, secured(), "F 2.2: end with close_notify", {"ended": "cut"}, {"ended": "notified"}),
    same("tls-old-client", BOTH, secured(lambda: context(ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1, old=True)), **REFUSED),
    same("tls-version-11-old-client", OLD, secured(lambda: context(ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1, old=True)),
         **REFUSED),
    same("tls-version-11", OLD, secured(lambda: context(high=V12)), **FINE),
    same("tls-version-12", ONLY_12, secured(lambda: context(high=V12)), **FINE),
    same("tls-version-12-with-13", ONLY_12, secured(), **FINE, version="TLSv1.3"),
    same("tls-version-13", ONLY_13, secured(), **FINE, version="TLSv1.3"),
    same("tls-version-13-with-12", ONLY_13, secured(lambda: context(high=V12)), **REFUSED),
    same("tls-ciphers", CIPHER, secured(lambda: context(high=V12)), **FINE, cipher="ECDHE-ECDSA-AES256-GCM-SHA384"),
    same("tls-ciphers-words", WORDS, secured(lambda: context(high=V12)), **FINE),
    same("tls-ciphers-with-13", CIPHER, secured(), **FINE),
    same("tls-without-certificate", NO_CERT, secured(), **REFUSED),
    same("tls-without-certificate-plain", NO_CERT, plain(upgrade()), code=101),
    better("tls-only-plain-file", ONLY, plain(request("/text.txt")), "F 10: a clear answer (wish 5)",
           {"code": 0, "log": has("non-SSL connection received but disallowed")}, {"code": 301,
               "location": re.compile("https://.*")}),
    better("tls-only-plain-upgrade", ONLY, plain(upgrade()), "F 10: a clear answer (wish 5)", {"code": 0}, {"code": 403}),
    same("tls-only", ONLY, secured(), **FINE),
    same("tls-verify-client", VERIFY, secured(lambda: context(cert=signed("client").both)), **FINE),
    same("tls-verify-client-self-signed", VERIFY_OWN, secured(lambda: context(cert=own())), **FINE),
    same("tls-verify-client-self-signed-none", VERIFY_OWN, secured(), **REFUSED),
    same("tls-verify-client-self-signed-other", VERIFY_OWN, secured(lambda: context(cert=signed("client").both)), **REFUSED),
    same("tls-ciphers-old-list", OLD_LIST, secured(lambda: context(high=V12)), **FINE),
    same("tls-verify-client-none", VERIFY, secured(), **REFUSED),
    same("tls-verify-client-none-12", VERIFY, secured(lambda: context(high=V12)), **REFUSED),
    same("tls-verify-client-strange", VERIFY, secured(lambda: context(cert=signed("foreign", "stranger").both)), **REFUSED),
    better("tls-verify-client-plain", VERIFY, plain(upgrade()),
           "F 9: plain clients do not get past --verify-client (defect 15)",
           {"code": 101}, {"code": 403}),
    same("tls-verify-client-only", VERIFY_ONLY, secured(lambda: context(cert=signed("client").both)), **FINE),
    same("tls-verify-client-only-none", VERIFY_ONLY, secured(), **REFUSED),
    same("tls-renewed", ALONE, renewed, alone=True, before=True, quick=True),
    # Starts.
    same("tls-banner", COMMAND, start("--cert=$both"), alone=True, **FINE, banner=has("  - SSL/TLS support")),
    same("tls-banner-only", COMMAND, start("--cert=$both", "--ssl-only"), alone=True, **FINE,
         banner=has("  - SSL/TLS support", "  - Deny non-SSL/TLS connections")),
    better("tls-bad-ciphers", COMMAND, start("--cert=$both", "--ssl-ciphers=NONSENSE"), EARLY, {"starts": True, **REFUSED},
           {"starts": False, "said": has("--ssl-ciphers", "NONSENSE")}, alone=True),
    better("tls-cert-missing", COMMAND, start("--cert=$place/absent.pem"), EARLY, {"starts": True, **REFUSED},
           {"starts": False, "status": 1, "said": has("PLACE/absent.pem")}, alone=True),
    better("tls-key-missing", COMMAND, start("--cert=$cert", "--key=$place/absent.key"), EARLY, {"starts": True, **REFUSED},
           {"starts": False, "status": 1, "said": has("PLACE/absent.key")}, alone=True),
    better("tls-password-wrong", COMMAND, start("--cert=$cert", "--key=$encrypted", "--key-password=wrong"), EARLY,
           {"starts": True, **REFUSED}, {"starts": False, "status": 1}, alone=True),
    better("tls-cert-without-key", COMMAND, start("--cert=$cert"), EARLY, {"starts": True, **REFUSED},
           {"starts": False, "status": 1}, alone=True),
    better("tls-key-of-1024-bits", COMMAND, start("--cert=$short"), EARLY, {"starts": True, **REFUSED},
           {"starts": False, "status": 1, "said": has("RSA")}, alone=True),
    better("tls-cafile-missing", COMMAND, start("--cert=$both", "--verify-client", "--cafile=$place/absent.pem"), EARLY,
           {"starts": True, **REFUSED}, {"starts": False, "status": 1, "said": has("PLACE/absent.pem")}, alone=True),
    # Targets.
    same("tls-target", TARGET_12, target(False), code=101, got=b"hello"),
    better("tls-target-13-client-first", TARGET_13, target(True), "F 9: no hang with TLS 1.3 (defect 5)", {"code": 101,
           "got": "silence"},
           {"code": 101, "got": b"first"}),
    same("tls-target-untrusted", TARGET_STRANGE, target(False), code=101, got=FAILED),
    same("tls-target-other-name", TARGET_NAME, target(False), code=101, got=FAILED),
    better("tls-target-unix", TARGET_UNIX, unix_target, "F 1.3: not silently without TLS", {"code": 101, "got": b"plain"},
           {"code": None, "status": 2, "said": has("--ssl-target-name")}, alone=True),
    same("tls-target-plain", TARGET_PLAIN, target(False), code=101, got=FAILED),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

