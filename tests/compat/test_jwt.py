"""Tokens that say themselves where they lead: JSON web tokens, signed and encrypted, with every kind of key."""

import base64
import json
import time

from cryptography.hazmat.primitives import serialization
from harness import Group, better, same
from jwcrypto import jwe, jwk, jws, jwt
from services import Two
from test_tokens import ABSENT, CLEAR, FAILURE, REFUSAL, SILENCE, come, write

SECRET = jwk.JWK.generate(kty="oct", size=512)
RSA = jwk.JWK.generate(kty="RSA", size=2048)
OTHER = jwk.JWK.generate(kty="RSA", size=2048)
SHORT = jwk.JWK.generate(kty="RSA", size=1024)
P256 = jwk.JWK.generate(kty="EC", crv="P-256")
P384 = jwk.JWK.generate(kty="EC", crv="P-384")
ED = jwk.JWK.generate(kty="OKP", crv="Ed25519")
# Its text is no base64url, but the base64 that `openssl rand -base64` writes.
PLAIN = base64.b64encode(b"\xfb\xff" * 16).decode()
AES = jwk.JWK(kty="oct", k="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE")


def public(key):
    """The PEM text of the public half."""
    return key.export_to_pem().decode()


def private(key):
    """The PEM text of a key."""
    return key.export_to_pem(private_key=True, password=None).decode()


def traditional(key):
    """The PEM text of the public half of an RSA key, in the form of PKCS #1."""
    loaded = serialization.load_pem_public_key(key.export_to_pem())
    return loaded.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()


def symmetric(key):
    """The text of a symmetric key."""
    return json.loads(key.export())["k"]


def keyed(name, text):
    """A group whose plugin has this key; the address in the tokens is that of the half's first target."""
    return Group(f"jwt-{name}", ("--token-plugin=JWTTokenApi", "--token-source=$place/key"), target=Two, to="",
                 setup=lambda half: write(half, "key", text))  # fmt: skip


def claims(half, **more):
    """What a good token says; None takes a claim away."""
    said = {"host": "127.0.0.1", "port": half.target.port, **more}
    return json.dumps({name: value for name, value in said.items() if value is not None})


def signed(alg, key, said=claims, header=None, **more):
    """An upgrade with a token that is signed so."""

    def do(half):
        token = jws.JWS(said(half, **more).encode())
        token.add_signature(key, alg, json.dumps({"alg": alg, **(header or {})}))
        return come(f"/?token={token.serialize(compact=True)}")(half)

    return do


def nested(alg, enc, outer, inner_alg, inner):
    """An upgrade with a signed token inside an encrypted one."""

    def do(half):
        token = jws.JWS(claims(half).encode())
        token.add_signature(inner, inner_alg, json.dumps({"alg": inner_alg}))
        box = jwe.JWE(token.serialize(compact=True).encode(), json.dumps({"alg": alg, "enc": enc, "cty": "JWT"}))
        box.add_recipient(outer)
        return come(f"/?token={box.serialize(compact=True)}")(half)

    return do


def encrypted(alg, enc, key):
    """An upgrade with a token that is encrypted but not signed."""

    def do(half):
        token = jwt.JWT(header={"alg": alg, "enc": enc}, claims=claims(half))
        token.make_encrypted_token(key)
        return come(f"/?token={token.serialize()}")(half)

    return do


def unsigned(half):
    """A token that says it needs no signature."""
    from base64 import urlsafe_b64encode as encode

    parts = [encode(text.encode()).rstrip(b"=").decode() for text in ('{"alg":"none"}', claims(half))]
    return come(f"/?token={'.'.join(parts)}.")(half)


def confused(half):
    """A token signed with HS256 and the text of the public key: the classic confusion of keys."""
    from base64 import urlsafe_b64encode as encode

    key = jwk.JWK(kty="oct", k=encode(public(RSA).encode()).rstrip(b"=").decode())
    return signed("HS256", key)(half)


def spoiled(half):
    """A token whose last letter was changed."""
    token = jws.JWS(claims(half).encode())
    token.add_signature(RSA, "RS256", json.dumps({"alg": "RS256"}))
    text = token.serialize(compact=True)
    text = text[:-10] + ("A" if text[-10] != "A" else "B") + text[-9:]
    return come(f"/?token={text}")(half)


WITH_SECRET, WITH_RSA = keyed("secret", symmetric(SECRET)), keyed("rsa", public(RSA))
WITH_P256, WITH_P384, WITH_ED = keyed("p256", public(P256)), keyed("p384", public(P384)), keyed("ed", public(ED))
WITH_PRIVATE, WITH_AES, WITH_EC_PRIVATE = keyed("private", private(RSA)), keyed("aes", symmetric(AES)), keyed("ec",
    private(P256))
WITH_NEWLINE = keyed("newline", symmetric(SECRET) + "\n")
WITH_PLAIN, WITH_TRADITIONAL = keyed("plain", PLAIN), keyed("traditional", traditional(RSA))
WITH_SHORT = keyed("short", public(SHORT))
NO_KEY = Group("jwt-absent", ("--token-plugin=JWTTokenApi", "--token-source=$place/absent"), target=Two, to="")
HOUR = 3600
LEADS = {"code": 101, "got": b"A"}
NESTED = "F 3.2: nested tokens are read, as they were meant to be"
FOREVER = {"exp": int(time.time()) + HOUR, "nbf": int(time.time()) - HOUR}


def refused(ident, group, do, ours=None):
    """A row of a token that is refused."""
    return better(ident, group, do, CLEAR, SILENCE, ours or REFUSAL)


ROWS = [
    *(same(f"jwt-{alg.lower()}", WITH_SECRET, signed(alg, SECRET), **LEADS) for alg in ("HS256", "HS384", "HS512")),
    *(same(f"jwt-{alg.lower()}", WITH_RSA, signed(alg, RSA), **LEADS) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384",
           "PS512")),
    same("jwt-es256", WITH_P256, signed("ES256", P256), **LEADS),
    same("jwt-es384", WITH_P384, signed("ES384", P384), **LEADS),
    same("jwt-eddsa", WITH_ED, signed("EdDSA", ED), **LEADS),
    same("jwt-private-key", WITH_PRIVATE, signed("RS256", RSA), **LEADS),
    same("jwt-port-text", WITH_RSA, signed("RS256", RSA, lambda half: claims(half, port=str(half.target.port))), **LEADS),
    same("jwt-exp-later", WITH_RSA, signed("RS256", RSA, **FOREVER), **LEADS),
    same("jwt-other-claims", WITH_RSA, signed("RS256", RSA, iss="anybody", aud="anybody", sub="x"), **LEADS),
    same("jwt-unix-socket", WITH_RSA, signed("RS256", RSA, lambda half: claims(half, host="unix_socket",
           port=str(half.place / "absent"))),
         code=101, got="1011 Failed to connect to downstream server"),
    same("jwt-key-base64", WITH_PLAIN, signed("HS256", jwk.JWK(kty="oct", k=PLAIN.translate(str.maketrans("+/", "-_", "=")))), **LEADS),
    same("jwt-key-traditional", WITH_TRADITIONAL, signed("RS256", RSA), **LEADS),
    better("jwt-key-newline", WITH_NEWLINE, signed("HS256", SECRET), "F 3.2: trim the key", SILENCE, LEADS),
    refused("jwt-expired", WITH_RSA, signed("RS256", RSA, exp=int(time.time()) - HOUR)),
    refused("jwt-not-yet", WITH_RSA, signed("RS256", RSA, nbf=int(time.time()) + HOUR)),
    refused("jwt-exp-text", WITH_RSA, signed("RS256", RSA, exp="tomorrow")),
    refused("jwt-nbf-text", WITH_RSA, signed("RS256", RSA, nbf="yesterday")),
    refused("jwt-no-host", WITH_RSA, signed("RS256", RSA, host=None)),
    refused("jwt-no-port", WITH_RSA, signed("RS256", RSA, port=None)),
    refused("jwt-other-key", WITH_RSA, signed("RS256", OTHER)),
    refused("jwt-spoiled", WITH_RSA, spoiled),
    refused("jwt-none", WITH_RSA, unsigned),
    refused("jwt-confused", WITH_RSA, confused),
    refused("jwt-header-key", WITH_RSA, signed("RS256", OTHER, header={"jwk": json.loads(OTHER.export_public())})),
    refused("jwt-nonsense", WITH_RSA, come("/?token=nonsense")),
    refused("jwt-empty-parts", WITH_RSA, come("/?token=..")),
    refused("jwt-absent", WITH_RSA, come("/"), ours=ABSENT),
    refused("jwt-key-absent", NO_KEY, signed("RS256", RSA), ours=FAILURE),
    better("jwt-key-of-1024-bits", WITH_SHORT, signed("RS256", SHORT), "S A8: RSA keys below 2048 bits are refused", LEADS,
           FAILURE),
    # Encrypted ones.
    *(better(f"jwe-{alg.lower()}", WITH_PRIVATE, nested(alg, "A256GCM", RSA, "RS256", RSA), NESTED, SILENCE, LEADS)
      for alg in ("RSA-OAEP", "RSA-OAEP-256")),
    better("jwe-ecdh-es", WITH_EC_PRIVATE, nested("ECDH-ES", "A128GCM", P256, "ES256", P256), NESTED, SILENCE, LEADS),
    *(better(f"jwe-{alg.lower()}", WITH_AES, nested(alg, "A256GCM", AES, "HS256", AES), NESTED, SILENCE, LEADS)
      for alg in ("dir", "A256KW", "A256GCMKW")),
    refused("jwe-unsigned", WITH_PRIVATE, encrypted("RSA-OAEP", "A256GCM", RSA)),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)
