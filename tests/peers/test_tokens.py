"""Tokens: a real Redis, web services over HTTP and HTTPS, tokens made by jwcrypto, and noVNC's way of handing one over."""

import json
import os
import socket
import ssl
import threading
import time

import pytest
import support
from jwcrypto import jwe, jwk, jwt
from services import Redis, Service
from support import until

# What others may wait while services that know tokens are slow or gone. Measured are 1 to 5 ms on two busy cores.
PROMPT = 0.5


def status(server, token=None, **options):
    """What a client with this token hears."""
    path = f"websockify?token={token}" if token else "websockify"
    return support.status(server, path, **options)


def test_redis(ours, bridge, target, keep, place):
    """Password, database and namespace; both forms of values; changes; a Redis that goes and comes back."""
    echo, store = target("echo"), keep(Redis(password="pass:word"))
    store.do(
        ["SELECT", "3"],
        ["SET", "desks:plain", f"127.0.0.1:{echo.port}\n"],
        ["SET", "desks:json", json.dumps({"host": f"localhost:{echo.port}"})],
        ["SET", "desks:v6", f"[::ffff:127.0.0.1]:{echo.port}"],
        ["SET", "desks:odd", "{"],
        ["LPUSH", "desks:list", "x"],
        ["SET", "plain2", f"127.0.0.1:{echo.port}"],
    )
    (place / "source").write_text(f'127.0.0.1:{store.port}:3:"pass:word":desks\n')
    words = ["--token-plugin", "TokenRedis", "--token-cache", "0", "--token-source"]
    server = bridge(*words, f"@{place}/source")
    assert [status(server, token) for token in ("plain", "json", "v6")] == [101] * 3
    assert [status(server, token) for token in ("none", "plain2", "odd", "list")] == [404, 404, 503, 503]
    assert status(server) == 403
    store.do(["SELECT", "3"], ["SET", "desks:later", f"127.0.0.1:{echo.port}"], ["DEL", "desks:plain"])
    assert [status(server, token) for token in ("later", "plain")] == [101, 404]
    wrong = bridge(*words, f"127.0.0.1:{store.port}:3:hunter2:desks")
    assert status(wrong, "later") == 503
    wrong.wait_for("TokenRedis .* Redis refused with WRONGPASS")
    # Gone: everybody hears so at once. Back: it is found again.
    assert store.end() == 0
    for _ in range(10):
        began = time.monotonic()
        assert status(server, "later") == 503
        assert time.monotonic() - began < 1
    again = keep(Redis(store.port, "pass:word"))
    again.do(["SELECT", "3"], ["SET", "desks:later", f"127.0.0.1:{echo.port}"])
    until(lambda: status(server, "later") == 101, "Redis is found again")
    said = server.said() + wrong.said()
    assert not any(secret in said for secret in ("pass:word", "hunter2", "later", "plain"))


@pytest.mark.parametrize("trust", [None, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_web_services(ours, engine, bridge, target, keep, authority, trust):
    """In text and in JSON, with tokens that an address could take for something else; with TLS by a private authority that the
    environment names in each of its ways."""
    echo = target("echo")
    known = {"/t/one": b"127.0.0.1:%d\n" % echo.port, "/t/a%2F..%3Fb%20%26": b"localhost:%d" % echo.port}
    known["/t/json"] = json.dumps({"host": "127.0.0.1", "port": str(echo.port)}).encode()
    context, environment = None, {name: value for name, value in os.environ.items() if not name.endswith("_CA_BUNDLE")}
    if trust:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.sign("tokens").both)
        environment[trust] = str(authority.cert)
    service = keep(Service(lambda path: (200, known[path]) if path in known else (404, b"no"), context=context))
    source = f"{'https' if trust else 'http'}://localhost:{service.port}/t/%s"
    server = bridge("--token-plugin", "BaseTokenAPI", "--token-source", source, env=environment)
    assert [status(server, token) for token in ("one", "a%2f..%3Fb+%26", "two", "json")] == [101, 101, 404, 503], server.said()
    server = bridge("--token-plugin", "JSONTokenApi", "--token-source", source, env=environment)
    assert [status(server, token) for token in ("json", "one")] == [101, 503]


def test_an_authority_that_nobody_knows(ours, bridge, keep, authority):
    """A service whose certificate cannot be judged is not asked for anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.sign("tokens").both)
    service = keep(Service(lambda path: (200, b"127.0.0.1:1"), context=context))
    server = bridge("--token-plugin=BaseTokenAPI", f"--token-source=https://localhost:{service.port}/%s")
    assert status(server, "one") == 503
    server.wait_for("BaseTokenAPI .* invalid peer certificate")
    assert not service.asked


def handshake(server, line):
    """How long a request without a token takes to be answered, and with what."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 30) as wire:
        wire.sendall(
            f"GET {line} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        answer = wire.recv(4096)
    return time.monotonic() - began, int(answer.split()[1])


@pytest.mark.parametrize("kind", ["slow", "dead"])
def test_nobody_waits_for_somebody_elses_service(ours, bridge, target, keep, kind):
    """A service of five seconds, or one that takes no connection, beside handshakes that need neither."""
    echo = target("echo")
    service = keep(Service(lambda path: (200, b"127.0.0.1:%d" % echo.port)))
    if kind == "slow":
        words = ["BaseTokenAPI", f"--token-source=http://127.0.0.1:{service.port}/%s", "--token-cache=1h"]
    else:
        # A listener whose queue is full: connecting to it takes for ever.
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        words = ["TokenRedis", f"--token-source=127.0.0.1:{full.getsockname()[1]}"]
    server = bridge("--token-plugin", *words)
    if kind == "slow":
        assert status(server, "known") == 101
    over, heard = threading.Event(), []

    def pester(number):
        while not over.is_set():
            heard.append(handshake(server, f"/?token=slow{number}-{len(heard)}"))

    threads = [threading.Thread(target=pester, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: kind == "dead" and heard or len(service.asked) > 16, "look-ups are waiting")
        times = sorted(handshake(server, "/")[0] for _ in range(500))
        if kind == "slow":
            assert handshake(server, "/?token=known")[1] == 101, "what is known needs nobody"
        assert times[494] < PROMPT, f"p99 of {times[494]} s"
    finally:
        over.set()
        for thread in threads:
            thread.join()
    # Each that needed the service was told within its time that it is of no use.
    assert heard
    assert {code for _, code in heard} == {503}
    assert max(seconds for seconds, _ in heard) < 2.0 + 1.5
    if kind == "dead":
        for one in (full, *crowd):
            one.close()


KEYS = {
    "oct": {"kty": "oct", "size": 512},
    "oct256": {"kty": "oct", "size": 256},
    "rsa": {"kty": "RSA", "size": 2048},
    "p256": {"kty": "EC", "crv": "P-256"},
    "p384": {"kty": "EC", "crv": "P-384"},
    "p521": {"kty": "EC", "crv": "P-521"},
    "k256": {"kty": "EC", "crv": "secp256k1"},
    "ed": {"kty": "OKP", "crv": "Ed25519"},
}
SIGNED = {
    "oct": ["HS256", "HS384", "HS512"],
    "oct256": ["HS256"],
    "rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "p256": ["ES256"],
    "p384": ["ES384"],
    "p521": ["ES512"],
    "k256": ["ES256K"],
    "ed": ["EdDSA"],
}
AGREED = ["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"]
WRAPPED = {
    "oct256": ["A256KW", "A256GCMKW"],
    "rsa": ["RSA-OAEP", "RSA-OAEP-256"],
    "p256": AGREED,
    "p384": AGREED,
    "p521": AGREED,
}
CONTENT = ["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"]


def signed(key, algorithm, **claims):
    """A token of this kind."""
    token = jwt.JWT(header={"alg": algorithm}, claims=claims, algs=[algorithm])
    token.make_signed_token(key)
    return token.serialize()


def sealed(key, inner, algorithm, content):
    """The same, encrypted."""
    token = jwe.JWE(inner.encode(), json.dumps({"alg": algorithm, "enc": content}), algs=[algorithm, content])
    token.add_recipient(key)
    return token.serialize(compact=True)


@pytest.mark.parametrize("kind", KEYS)
def test_tokens_of_jwcrypto(ours, bridge, target, place, kind):
    """Every way to sign, and every way to encrypt what is signed, with this kind of key."""
    echo, key, path = target("echo"), jwk.JWK.generate(**KEYS[kind]), place / "key"
    if kind.startswith("oct"):
        path.write_text(key.export(as_dict=True)["k"] + "\n")
    else:
        path.write_bytes(key.export_to_pem(private_key=True, password=None))
    server = bridge("--token-plugin=JWTTokenApi", f"--token-source={path}")
    lead = {"host": "127.0.0.1", "port": str(echo.port)}
    for algorithm in SIGNED[kind]:
        assert status(server, signed(key, algorithm, **lead)) == 101, algorithm
        assert status(server, signed(key, algorithm, **lead, exp=time.time() + 60, nbf=time.time() - 1)) == 101
        assert status(server, signed(key, algorithm, **lead, exp=time.time() - 1)) == 404
        assert status(server, signed(key, algorithm, **lead, nbf=time.time() + 60)) == 404
    inner = signed(key, SIGNED[kind][0], **lead)
    for algorithm in WRAPPED.get(kind, []):
        for content in CONTENT:
            assert status(server, sealed(key, inner, algorithm, content)) == 101, (algorithm, content)
    if kind == "oct":
        assert status(server, sealed(key, inner, "dir", "A256CBC-HS512")) == 101
    if kind == "oct256":
        for content in ("A256GCM", "A128CBC-HS256"):
            assert status(server, sealed(key, inner, "dir", content)) == 101
        assert status(server, sealed(key, json.dumps(lead), "dir", "A256GCM")) == 404, "signed by nobody"
        assert status(server, sealed(key, sealed(key, inner, "dir", "A256GCM"), "dir", "A256GCM")) == 404, "too deep"
        zipped = jwe.JWE(inner.encode(), json.dumps({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}))
        zipped.add_recipient(key)
        assert status(server, zipped.serialize(compact=True)) == 404, "compressed"
    other = jwk.JWK.generate(**KEYS[kind])
    assert status(server, signed(other, SIGNED[kind][0], **lead)) == 404
    assert "eyJ" not in server.said()
    # Only the public part: what is signed passes, what is encrypted cannot be read.
    if not kind.startswith("oct"):
        path.write_bytes(key.export_to_pem())
        assert status(server, inner) == 101
        if kind in WRAPPED:
            assert status(server, sealed(key, inner, WRAPPED[kind][0], "A256GCM")) == 404
