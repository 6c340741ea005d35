"""Keys and certificates for tests, made by the real openssl; and the openssl client.

An authority owns a directory of its own. Nothing here is meant to be safe: keys are not kept from anyone but other users.
"""

import collections
import os
import re
import subprocess

# What each kind of key is called by `openssl genpkey`.
KINDS = {
    "rsa-2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa-4096": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    "p-256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"],
    "p-384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-pkeyopt", "ec_param_enc:named_curve"],
    "ed25519": ["-algorithm", "ED25519"],
}
CONFIGURATION = """
[ca]
default_ca = own
[own]
database = {place}/index
new_certs_dir = {place}
certificate = {place}/ca.pem
private_key = {place}/ca.key
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
"""
NAME = "gateway.test"
Pair = collections.namedtuple("Pair", "cert key both")


def openssl(*words, text=None, check=True):
    """Runs openssl; returns what it said on both outputs."""
    command = ["openssl", *(str(word) for word in words)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", timeout=60)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout + done.stderr


def genpkey(kind):
    """A new key in PKCS#8."""
    command = ["openssl", "genpkey", *KINDS[kind]]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def private(path, text):
    """Writes a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


class Authority:
    """Signs certificates for a test, and keeps them in `place`."""

    def __init__(self, place, name="authority of a test"):
        self.place, self.signed = place, {}
        place.mkdir()
        self.cert, self.key = place / "ca.pem", private(place / "ca.key", genpkey("p-256"))
        (place / "index").touch()
        (place / "config").write_text(CONFIGURATION.format(place=place))
        openssl("req", "-x509", "-key", self.key, "-days", "3650", "-subj", f"/CN={name}", "-out", self.cert,
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def sign(self, file, names=(NAME, "localhost", "127.0.0.1"), kind="p-256", until="20990101000000Z"):
        """A certificate for these names; its files are called `file` and something behind. The same when asked again."""
        if file in self.signed:
            return self.signed[file]
        key = private(self.place / f"{file}.key", genpkey(kind))
        cert, request, ext = (self.place / f"{file}.{end}" for end in ("pem", "csr", "ext"))
        openssl("req", "-new", "-key", key, "-subj", f"/CN={names[0]}", "-out", request)
        alternatives = ",".join(("IP:" if re.fullmatch(r"[\d.]+", name) else "DNS:") + name for name in names)
        ext.write_text(f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n"
                       "basicConstraints=CA:FALSE\n")  # fmt: skip
        openssl("ca", "-batch", "-notext", "-config", self.place / "config", "-in", request, "-out", cert, "-extfile", ext,
                "-startdate", "20000101000000Z", "-enddate", until)  # fmt: skip
        both = private(self.place / f"{file}.both", cert.read_text() + key.read_text())
        return self.signed.setdefault(file, Pair(cert, key, both))


def serial(cert):
    """The serial number of a certificate, in upper-case hex."""
    return openssl("x509", "-in", cert, "-noout", "-serial").strip().partition("=")[2]


def trusted_home(place, authority):
    """A home directory whose user's browser trusts this authority for web sites, as certutil notes it."""
    store = place / ".pki/nssdb"
    store.mkdir(parents=True)
    base = ["certutil", "-d", f"sql:{store}"]
    for words in (["-N", "--empty-password"], ["-A", "-n", "test", "-t", "C,,", "-i", str(authority.cert)]):
        subprocess.run(base + words, check=True, capture_output=True, timeout=30)
    return place
