"""TLS with certificates of version 1, which `openssl x509 -req` makes where nobody asks for extensions."""

import functools
import ssl

from certificates import NAME, genpkey, openssl, private
from harness import Group, Echo, same
from test_auth import IN, come
from test_tls import FINE, REFUSED, V12, authority, context, directory, making, pair, secured, signed

place = functools.partial(directory, "wsold")


def made(file, by=None, chain=(), new=False, kind="p-256"):
    """A certificate of version 1, or of version 3 if it is to be `new`: signed by the one in the file `by`, or by itself.
    Its file has its key too, and the certificates of `chain`."""
    key = private(place() / f"{file}.key", genpkey(kind))
    cert, request = place() / f"{file}.crt", place() / f"{file}.csr"
    openssl("req", "-new", "-key", key, "-subj", f"/CN={NAME if file != 'root' else 'root'}", "-out", request)
    authority = ["-CA", by[0], "-CAkey", by[1], "-set_serial", str(len(file) + len(chain) + 7)] if by else ["-signkey", key]
    extensions = place() / "extensions"
    extensions.write_text("basicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-days", "2", "-in", request, "-out", cert, *authority, *(["-extfile", extensions] if new else []))
    assert f"Version: {3 if new else 1} " in openssl("x509", "-in", cert, "-noout", "-text")
    both = private(place() / f"{file}.pem", "".join(part.read_text() for part in (cert, *chain, key)))
    return cert, key, both


@functools.cache
def old(name):
    """The file of a client or an authority, by what it is to show."""
    with making:
        ours = authority().cert, authority().key
        return {
            "client": lambda: made("client", ours)[2],
            "rsa": lambda: made("rsa", ours, kind="rsa-2048")[2],
            "foreign": lambda: made("foreign", (authority("stranger").cert, authority("stranger").key))[2],
            "alone": lambda: made("alone")[2],
            "root": lambda: made("root")[0],
            "of-root": lambda: made("of-root", (old("root"), place() / "root.key"))[2],
            "new-of-root": lambda: made("new-of-root", (old("root"), place() / "root.key"), new=True)[2],
            "below": lambda: made("below", client_as_authority(), [client_as_authority()[0]])[2],
            "new-below": lambda: made("new-below", client_as_authority(), [client_as_authority()[0]], new=True)[2],
        }[name]()


def client_as_authority():
    """The client's certificate and key, as somebody uses them who wants to be more than a client."""
    old("client")
    return place() / "client.crt", place() / "client.key"


def setup(half):
    """What a server can be told to show and to trust."""
    pair(half)
    with making:
        both = place() / "both.pem"
        both.write_text(authority().cert.read_text() + client_as_authority()[0].read_text())
    half.note |= {"root": old("root"), "alone": old("alone"), "given": both}


def blind(**more):
    """A client that looks at no server's name: those of version 1 have none where it would be looked for."""
    secure = context(**more)
    secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    return secure


def showing(name, **more):
    """A session with this certificate."""
    return secured(lambda: context(cert=old(name), **more))


def serve(name, cafile, *words, cert="--cert=$both"):
    """A group that wants to see certificates of clients."""
    return Group(f"version1-{name}", (cert, "--verify-client", f"--cafile={cafile}", *words), target=Echo, setup=setup)


VERIFY = serve("verify", "$ca")
GIVEN = serve("given", "$given")
ALONE = serve("alone", "$alone")
ROOT = serve("root", "$root")
SERVER = Group("version1-server", ("--cert=$alone",), target=Echo, setup=setup)
GUARD = ["--ssl-only", "--auth-plugin=ClientCertCNAuth"]
CN = serve("cn", "$ca", *GUARD, f"--auth-source={NAME} second")
CN_OTHER = serve("cn-other", "$ca", *GUARD, "--auth-source=somebody else")

ROWS = [
    same("version1-client", VERIFY, showing("client"), **FINE, version="TLSv1.3"),
    same("version1-client-12", VERIFY, showing("client", high=V12), **FINE, version="TLSv1.2"),
    same("version1-client-rsa", VERIFY, showing("rsa"), **FINE, version="TLSv1.3"),
    same("version1-client-rsa-12", VERIFY, showing("rsa", high=V12), **FINE, version="TLSv1.2"),
    same("version1-client-foreign", VERIFY, showing("foreign"), **REFUSED),
    same("version1-client-self-signed", VERIFY, showing("alone"), **REFUSED),
    same("version1-client-self-signed-given", ALONE, showing("alone"), **FINE),
    same("version1-client-given-other", ALONE, showing("client"), **REFUSED),
    # It is no authority, neither in between nor as part of the file.
    same("version1-below-client", VERIFY, showing("below"), **REFUSED),
    same("version1-below-client-12", VERIFY, showing("below", high=V12), **REFUSED),
    same("version1-below-client-new", VERIFY, showing("new-below"), **REFUSED),
    same("version1-below-given-client", GIVEN, showing("below"), **REFUSED),
    same("version1-below-given-client-new", GIVEN, showing("new-below"), **REFUSED),
    same("version1-beside-given-client", GIVEN, secured(lambda: context(cert=signed("client").both)), **FINE),
    same("version1-given-client", GIVEN, showing("client"), **FINE),
    same("version1-authority", ROOT, showing("of-root"), **FINE),
    same("version1-authority-new", ROOT, showing("new-of-root"), **FINE),
    same("version1-authority-other", ROOT, showing("client"), **REFUSED),
    same("version1-server", SERVER, secured(blind), **FINE, version="TLSv1.3"),
    same("version1-server-12", SERVER, secured(lambda: blind(high=V12)), **FINE, version="TLSv1.2"),
    same("version1-cn", CN, come(tls=lambda: context(cert=old("client"))), **IN),
    same("version1-cn-other", CN_OTHER, come(tls=lambda: context(cert=old("client"))), code=403),
]


def test_row(row, pairs):
    row.judge(pairs)
