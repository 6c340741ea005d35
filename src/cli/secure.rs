//! The rows of the option table that are about TLS. `table` puts them in their place.

use super::args::SslOnly;
use super::option::{Act, Category, Complete, Opt, Refusal, Value};
use super::table::{file, free};
use super::values::text;
use crate::tls::{Secret, Version};
use std::ffi::OsStr;
use std::path::PathBuf;

/// A value that names a file, and may be given several times.
const FILES: Value = Value { word: "FILE", choices: &[], complete: Complete::Files, repeats: true };

/// The path in a value; an empty one means that the option was not given.
fn path(value: &OsStr) -> Option<PathBuf> {
    (!value.is_empty()).then(|| value.into())
}

pub(super) const CERT: Opt = Category::Tls.row(
    "cert",
    "certificate file for wss:// and https://",
    "A PEM file with the server's certificate, then those of its issuers, and its key unless --key names one. Clients may \
     then use TLS on the same port as plain ones. May be given several times: a client gets the certificate for the name \
     it asks for, else the first. A changed file is taken up within two seconds, or at once on SIGHUP; a broken one is \
     reported, and the one before stays.\n\n\
     Without this option self.pem is used, if there is one in the directory that the program was started in, or as soon \
     as there is one.",
    "(self.pem, if it is there)",
    "--cert=/etc/ssl/desk.pem --key=/etc/ssl/desk.key 6080 localhost:5901",
    Act::Take(FILES, |options, value| {
        options.tls.certs.extend(path(value));
        Ok(())
    }),
);

pub(super) const KEY: Opt = Category::Tls.row(
    "key",
    "key file, if the key is not in the cert file",
    "A PEM file with the key: PKCS#8 or traditional, encrypted or not, RSA, ECDSA or Ed25519. With several --cert the \
     first key belongs to the first certificate, and so on.",
    "",
    "--cert=/etc/ssl/desk.pem --key=/etc/ssl/desk.key 6080 localhost:5901",
    Act::Take(FILES, |options, value| {
        options.tls.keys.extend(path(value));
        Ok(())
    }),
);

pub(super) const KEY_PASSWORD: Opt = Category::Tls.row(
    "key-password",
    "what the keys are encrypted with",
    "The password of the keys of --cert and --key. @FILE takes the first line of FILE, so that it does not stand in the \
     list of processes, where other users of the machine may see it: on Linux with /proc until the server has taken it out, \
     elsewhere for as long as the server runs. One that begins with @ has that doubled.",
    "",
    "--cert=/etc/ssl/desk.pem --key-password=@/etc/ssl/desk.password 6080 localhost:5901",
    Act::Take(free("PASSWORD|@FILE"), |options, value| {
        options.tls.password = Some(Secret(text(value)?));
        Ok(())
    }),
);

pub(super) const SSL_ONLY: Opt = Category::Tls.row(
    "ssl-only",
    "refuse clients without TLS",
    "Plain requests for pages are redirected to https://, plain WebSockets are refused with 403. With =strict plain \
     clients are closed without an answer.",
    "",
    "--ssl-only --cert=/etc/ssl/desk.pem 6080 localhost:5901",
    Act::Maybe("strict", |options, strict| {
        options.tls.only = if strict { SslOnly::Strict } else { SslOnly::Yes };
    }),
);

pub(super) const SSL_VERSION: Opt = Category::Tls.row(
    "ssl-version",
    "minimum TLS version for clients",
    "default, tlsv1_1 and tlsv1_2 all mean 1.2 at least, tlsv1_3 means 1.3 only. Versions before 1.2 are broken and not \
     spoken at all (RFC 8996). Targets of --ssl-target may speak 1.2 and 1.3 whatever is said here.",
    "default",
    "--ssl-version=tlsv1_3 --cert=/etc/ssl/desk.pem 6080 localhost:5901",
    Act::Take(free("VERSION"), |options, value| {
        let word = text(value)?;
        options.tls.version =
            Version::parse(&word).map_err(|why| Refusal::Message(format!("option --ssl-version: {why}")))?;
        Ok(())
    }),
);

pub(super) const SSL_CIPHERS: Opt = Category::Tls.row(
    "ssl-ciphers",
    "cipher suites that clients may use",
    "A list in the manner of OpenSSL, separated by colons, with its names or those of the standard. Unknown names are an \
     error that lists the known ones; without a certificate, where the list has no use, a warning.",
    "(all that are safe)",
    "--ssl-ciphers=ECDHE+AESGCM --cert=/etc/ssl/desk.pem 6080 localhost:5901",
    Act::Take(free("LIST"), |options, value| {
        let list = text(value)?;
        options.tls.ciphers = Some(list).filter(|list| !list.is_empty());
        Ok(())
    }),
);

pub(super) const VERIFY_CLIENT: Opt = Category::Tls.row(
    "verify-client",
    "require a certificate of clients",
    "Only clients with a certificate from an authority of --cafile are let in. Plain clients are refused with 403; with \
     --ssl-only as well, their pages are redirected. Every connection shows its certificate anew: there are no session \
     tickets, for they would outlast it, so each costs a whole handshake.",
    "",
    "--verify-client --cafile=/etc/ssl/staff.pem --cert=/etc/ssl/desk.pem 6080 a:1",
    Act::Switch(|options| options.tls.verify_client = true),
);

pub(super) const CAFILE: Opt = Category::Tls.row(
    "cafile",
    "CA file for the certificates of clients",
    "A PEM file with the certificates of the authorities that --verify-client trusts. A client's own certificate in it lets \
     in that client; it is no authority for others unless it says that it is one, or is self-signed and of version 1.",
    "(those of the system)",
    "--verify-client --cafile=/etc/ssl/staff.pem --cert=/etc/ssl/desk.pem 6080 a:1",
    Act::Take(file("FILE"), |options, value| {
        options.tls.cafile = path(value);
        Ok(())
    }),
);

pub(super) const SSL_TARGET: Opt = Category::Tls.row(
    "ssl-target",
    "speak TLS to the target",
    "The target's certificate must be valid for its host and come from an authority of the system, unless one of the \
     options below says otherwise. A target that cannot be secured counts as one that cannot be reached.",
    "",
    "--ssl-target 6080 desk.example:5901",
    Act::Switch(|options| options.tls.target.on = true),
);

pub(super) const SSL_TARGET_CA: Opt = Category::Tls.row(
    "ssl-target-ca",
    "CA file for the target's certificate",
    "A PEM file with the certificates of the authorities that may have signed the target's. A certificate that the target \
     shows and that is in the file itself, such as a self-signed one, needs no other; its name and dates count all the same. \
     Whatever is in the file is trusted as an authority too, so put no certificates of several targets into one.",
    "(those of the system)",
    "--ssl-target --ssl-target-ca=/etc/ssl/desk-ca.pem 6080 desk.example:5901",
    Act::Take(file("FILE"), |options, value| {
        options.tls.target.ca = path(value);
        Ok(())
    }),
);

pub(super) const SSL_TARGET_CERT: Opt = Category::Tls.row(
    "ssl-target-cert",
    "client certificate shown to the target",
    "A PEM file with the certificate to show when the target asks for one, and its key unless --ssl-target-key names it.",
    "",
    "--ssl-target --ssl-target-cert=/etc/ssl/bridge.pem 6080 desk.example:5901",
    Act::Take(file("FILE"), |options, value| {
        options.tls.target.cert = path(value);
        Ok(())
    }),
);

pub(super) const SSL_TARGET_KEY: Opt = Category::Tls.row(
    "ssl-target-key",
    "key of the certificate shown to the target",
    "A PEM file with the key of --ssl-target-cert.",
    "",
    "--ssl-target --ssl-target-cert=/c.pem --ssl-target-key=/k.pem 6080 desk.example:5901",
    Act::Take(file("FILE"), |options, value| {
        options.tls.target.key = path(value);
        Ok(())
    }),
);

pub(super) const SSL_TARGET_NAME: Opt = Category::Tls.row(
    "ssl-target-name",
    "name expected in the target's certificate",
    "The name to ask the target for and to verify, where it is not the target's host. A Unix socket has none of its own.",
    "(the target's host)",
    "--ssl-target --ssl-target-name=desk.example 6080 10.0.0.7:5901",
    Act::Take(free("NAME"), |options, value| {
        let name = text(value)?;
        options.tls.target.name = Some(name).filter(|name| !name.is_empty());
        Ok(())
    }),
);

pub(super) const SSL_TARGET_INSECURE: Opt = Category::Tls.row(
    "ssl-target-insecure",
    "accept any certificate of the target",
    "Do not verify the target's certificate at all. Whoever can get in between can then read and change everything. \
     It cannot be used together with --ssl-target-ca.",
    "",
    "--ssl-target --ssl-target-insecure 6080 10.0.0.7:5901",
    Act::Switch(|options| options.tls.target.insecure = true),
);
