//! Whoever knows tokens in a row: which source a peer is told to have, and with which tokens clients come.
//!
//! It writes files, keys and tokens into the scratch directory and has the [`crate::services`] started that a source needs. It
//! never measures.

use std::fs;
use std::net::TcpListener;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use aws_lc_rs::{error::Unspecified, hmac};
use base64_simd::{STANDARD, URL_SAFE_NO_PAD};

use crate::measure::free_port;
use crate::peers::found_in_path;
use crate::rows::Knower;
use crate::services::{REDIS, Redis, Web, deaf};

/// Tokens that a large source knows. Clients come with each in turn, so nothing said before is of use within seconds.
const MANY: usize = 10_000;
/// Sockets, or files, in a directory with one for each token.
const DESKS: usize = 1000;
/// Tokens that clients come with where it matters that a service was asked for them before, and where each is signed.
const FEW: usize = 64;
/// How long the slow web service takes for an answer.
const SLOW: Duration = Duration::from_secs(5);
/// How long a look-up may take where it is in vain: those that wait are to be gone soon when they are no longer wanted.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a secret of HS256.
const SECRET_BYTES: usize = 32;
/// What clients ask for, but for the token.
const PATH: &str = "/websockify?token=";
/// The class of the row with Python, and where it is written.
const CLASS: &str = "perf_tokens.Desks";
const CLASS_FILE: &str = "perf_tokens.py";
const CLASS_TEXT: &str = "\
class Desks:
    def __init__(self, source):
        self.target = source.rsplit(':', 1)

    def lookup(self, token):
        return self.target if token.startswith('desk-') else None
";
/// The program of the row with a command, and where it is written. It reads JSON as a program of somebody's own would.
const PROGRAM_FILE: &str = "perf_tokens_exec.py";
const PROGRAM_TEXT: &str = "\
import json
import sys

target = json.loads(sys.stdin.readline())['hello']['source']
print(json.dumps({'ready': True}), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    known = question['token'].startswith('desk-')
    answer = {'allow': {'target': target}} if known else {'deny': {}}
    print(json.dumps({'id': question['id'], **answer}), flush=True)
";
/// What runs Python.
const PYTHON: &str = "python3";

/// What is to stay while the row is measured.
#[derive(Debug)]
pub enum Kept {
    /// A Redis.
    Redis {
        /// Ended with this.
        _redis: Redis,
    },
    /// A web service.
    Web {
        /// Ended with this.
        _web: Web,
    },
    /// What never answers.
    Deaf {
        /// Closed with this.
        _listener: TcpListener,
    },
}

/// A source that is there. Dropping it ends what serves it.
#[derive(Debug, Default)]
pub struct Source {
    /// What a peer is told in place of its target; empty where it has one.
    pub arguments: Vec<String>,
    /// What clients ask for, in turn; empty where they ask for what they always do.
    pub paths: Vec<String>,
    /// Where targets listen, if it is not on TCP, and under which names they are found as well.
    pub socket: Option<PathBuf>,
    /// Where a Python class is found.
    pub python_path: Option<PathBuf>,
    /// What serves it.
    pub _kept: Option<Kept>,
}

impl Knower {
    /// The program that it needs and that is not there.
    pub fn lacks(self) -> Option<&'static str> {
        let program = match self {
            Self::Redis(_) => REDIS,
            Self::Python | Self::Exec => PYTHON,
            _ => return None,
        };
        (!found_in_path(program).exists()).then_some(program)
    }

    /// Whether websockify is measured with it as well.
    pub fn is_for_python(self) -> bool {
        matches!(self, Self::File | Self::FileName | Self::Redis(false))
    }

    /// Makes it ready to lead to `port` of loopback.
    pub fn prepare(self, scratch: &Path, port: u16) -> Result<Source, String> {
        let folder = path::absolute(scratch.join("tokens")).map_err(|error| format!("tokens: {error}"))?;
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(told)?;
        let target = format!("127.0.0.1:{port}");
        let wrong = |error: Unspecified| format!("tokens cannot be signed: {error}");
        let said = |file: &Path| file.to_string_lossy().into_owned();
        match self {
            Self::Nobody => Ok(Source::default()),
            Self::File => {
                let (file, tokens) = (folder.join("lines"), names(MANY));
                fs::write(&file, lines(&tokens, &target)).map_err(told)?;
                Ok(source("TokenFile", &said(&file), &tokens))
            }
            Self::FileName => {
                let desks = emptied(folder.join("files")).map_err(told)?;
                let tokens = names(DESKS);
                for token in &tokens {
                    fs::write(desks.join(token), format!("{target}\n")).map_err(told)?;
                }
                Ok(source("TokenFileName", &said(&desks), &tokens))
            }
            Self::Directory => {
                let desks = emptied(folder.join("sockets")).map_err(told)?;
                let tokens = names(DESKS);
                let socket = Some(desks.join(&tokens[0]));
                Ok(Source { socket, ..source("UnixDomainSocketDirectory", &said(&desks), &tokens) })
            }
            Self::Hs256 | Self::Es256 => {
                let (key, tokens) =
                    if self == Self::Hs256 { by_secret(port) } else { by_key(port) }.map_err(wrong)?;
                let file = folder.join("key");
                fs::write(&file, key).map_err(told)?;
                Ok(source("JWTTokenApi", &said(&file), &tokens))
            }
            Self::Redis(reused) => {
                let (tokens, port) = (names(if reused { FEW } else { MANY }), free_port()?);
                let redis = Redis::start(scratch, port)?;
                redis.fill(&tokens, &target)?;
                let place = format!("127.0.0.1:{port}");
                Ok(Source {
                    _kept: Some(Kept::Redis { _redis: redis }),
                    ..source("TokenRedis", &place, &tokens)
                })
            }
            Self::Web(reused) => {
                let tokens = names(if reused { FEW } else { MANY });
                Ok(web("BaseTokenAPI", Web::start(target, Duration::ZERO)?, &tokens))
            }
            Self::Json => Ok(web("JSONTokenApi", Web::start(object(port), Duration::ZERO)?, &names(MANY))),
            Self::SlowWeb => Ok(web("BaseTokenAPI", Web::start(target, SLOW)?, &names(MANY))),
            Self::DeafRedis => {
                let listener = deaf()?;
                let place = listener.local_addr().map_err(told)?.to_string();
                let kept = Some(Kept::Deaf { _listener: listener });
                Ok(Source { _kept: kept, ..source("TokenRedis", &place, &names(MANY)) })
            }
            Self::Python => {
                fs::write(folder.join(CLASS_FILE), CLASS_TEXT).map_err(told)?;
                Ok(Source { python_path: Some(folder), ..source(CLASS, &target, &names(MANY)) })
            }
            Self::Exec => {
                let file = folder.join(PROGRAM_FILE);
                fs::write(&file, PROGRAM_TEXT).map_err(told)?;
                Ok(source(&command(&said(&file)), &target, &names(MANY)))
            }
        }
    }

    /// What our own server is told beside that, and websockify does not know.
    pub fn own_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Redis(false) | Self::Web(false) | Self::Json => &["--token-cache=0"],
            // As PATIENCE says.
            Self::DeafRedis | Self::SlowWeb => &["--token-timeout=1s"],
            _ => &[],
        }
    }
}

impl Source {
    /// Gives the target's socket all its names. It is there once the load listens.
    pub fn name_sockets(&self) -> Result<(), String> {
        let Some(first) = &self.socket else { return Ok(()) };
        for token in &names(DESKS)[1..] {
            let name = first.with_file_name(token);
            fs::hard_link(first, &name).map_err(|error| format!("{}: {error}", name.display()))?;
        }
        Ok(())
    }
}

fn source(plugin: &str, place: &str, tokens: &[String]) -> Source {
    Source {
        arguments: vec![format!("--token-plugin={plugin}"), format!("--token-source={place}")],
        paths: tokens.iter().map(|token| format!("{PATH}{token}")).collect(),
        ..Source::default()
    }
}

/// A directory with nothing in it: whatever an earlier round left is gone.
fn emptied(folder: PathBuf) -> std::io::Result<PathBuf> {
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder)?;
    Ok(folder)
}

/// The plugin that runs a file of Python; the shell reads its name as one word.
fn command(file: &str) -> String {
    format!("exec:exec {PYTHON} '{}'", file.replace('\'', r"'\''"))
}

/// What a service answers that says targets in JSON.
fn object(port: u16) -> String {
    serde_json::json!({ "host": "127.0.0.1", "port": port }).to_string()
}

fn web(plugin: &str, web: Web, tokens: &[String]) -> Source {
    let place = format!("http://127.0.0.1:{}/desks/%s", web.port);
    Source { _kept: Some(Kept::Web { _web: web }), ..source(plugin, &place, tokens) }
}

/// So many tokens.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("desk-{number:05}")).collect()
}

/// The text of a token file.
fn lines(tokens: &[String], target: &str) -> String {
    tokens.iter().map(|token| format!("{token}: {target}\n")).collect()
}

/// A secret as a key file, and tokens that are signed with it.
fn by_secret(port: u16) -> Result<(String, Vec<String>), Unspecified> {
    let mut secret = [0; SECRET_BYTES];
    rand::fill(&mut secret)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signed = |number| jwt("HS256", port, number, |text| Ok(hmac::sign(&key, text).as_ref().to_vec()));
    Ok((URL_SAFE_NO_PAD.encode_to_string(secret), (0..FEW).map(signed).collect::<Result<_, _>>()?))
}

/// A private key as PEM, and tokens that are signed with it.
fn by_key(port: u16) -> Result<(String, Vec<String>), Unspecified> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
        .map_err(|_| Unspecified)?;
    let signed = |number| jwt("ES256", port, number, |text| Ok(key.sign(&random, text)?.as_ref().to_vec()));
    Ok((pem(document.as_ref()), (0..FEW).map(signed).collect::<Result<_, _>>()?))
}

/// A key in PKCS #8 as PEM (RFC 7468 section 10).
fn pem(document: &[u8]) -> String {
    let text = STANDARD.encode_to_string(document);
    let mut lines: Vec<&str> = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        lines.push(line);
        rest = after;
    }
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// One token (RFC 7519) that leads to `port`; its number makes it another than the rest.
fn jwt(
    algorithm: &str,
    port: u16,
    number: usize,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, Unspecified>,
) -> Result<String, Unspecified> {
    let header = serde_json::json!({ "alg": algorithm, "typ": "JWT" }).to_string();
    let claims =
        serde_json::json!({ "host": "127.0.0.1", "port": port, "jti": number.to_string() }).to_string();
    let text =
        format!("{}.{}", URL_SAFE_NO_PAD.encode_to_string(header), URL_SAFE_NO_PAD.encode_to_string(claims));
    let signature = sign(text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode_to_string(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};

    /// What is signed, the claims, and the signature.
    fn parts(token: &str) -> (&str, serde_json::Value, Vec<u8>) {
        let (text, signature) = token.rsplit_once('.').expect("a signature");
        let claims = text.split_once('.').expect("claims").1;
        let decoded = |word: &str| URL_SAFE_NO_PAD.decode_to_vec(word).expect("base64url");
        (text, serde_json::from_slice(&decoded(claims)).expect("JSON"), decoded(signature))
    }

    #[test]
    fn secrets_sign_tokens_that_differ() {
        let (key, tokens) = by_secret(5900).expect("signed");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode_to_vec(key).expect("base64url"));
        for token in &tokens {
            let (text, claims, signature) = parts(token);
            hmac::verify(&key, text.as_bytes(), &signature).expect("verified");
            assert_eq!((&claims["host"], &claims["port"]), (&"127.0.0.1".into(), &5900.into()));
        }
        assert!(tokens.len() == FEW && tokens[0] != tokens[1]);
    }

    #[test]
    fn keys_sign_tokens_and_are_written_as_pem() {
        let (key, tokens) = by_key(5900).expect("signed");
        let lines: Vec<&str> = key.lines().collect();
        assert_eq!(
            (lines[0], lines[lines.len() - 1]),
            ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----")
        );
        assert!(lines.iter().all(|line| line.len() <= 64));
        let der = STANDARD.decode_to_vec(lines[1..lines.len() - 1].concat()).expect("base64");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).expect("a key");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        let (text, _, signature) = parts(&tokens[1]);
        public.verify(text.as_bytes(), &signature).expect("verified");
    }

    #[test]
    fn peers_are_told_a_source_and_clients_come_with_its_tokens() {
        let tokens = names(2);
        assert_eq!(lines(&tokens, "h:1"), "desk-00000: h:1\ndesk-00001: h:1\n");
        let said = source("TokenFile", "/f", &tokens);
        assert_eq!(said.arguments, ["--token-plugin=TokenFile", "--token-source=/f"]);
        assert_eq!(said.paths, ["/websockify?token=desk-00000", "/websockify?token=desk-00001"]);
        assert_eq!(Knower::Web(false).own_arguments(), ["--token-cache=0"]);
        assert_eq!(Knower::SlowWeb.own_arguments(), [format!("--token-timeout={}s", PATIENCE.as_secs())]);
        assert_eq!(Knower::Json.own_arguments(), ["--token-cache=0"]);
        assert!(Knower::Web(true).own_arguments().is_empty() && Knower::File.lacks().is_none());
    }

    #[test]
    fn sources_are_written_in_the_words_of_their_plugins() {
        assert_eq!(command("/a b/it's.py"), r"exec:exec python3 '/a b/it'\''s.py'");
        let said: serde_json::Value = serde_json::from_str(&object(5900)).expect("JSON");
        assert_eq!((&said["host"], &said["port"]), (&"127.0.0.1".into(), &5900.into()));
        let folder = std::env::temp_dir().join(format!("websplice-perf-desks-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a directory");
        let prepared = Knower::FileName.prepare(&folder, 5900);
        let file = folder.join("tokens/files/desk-00999");
        let target = fs::read_to_string(&file);
        fs::remove_dir_all(&folder).expect("removed");
        let prepared = prepared.expect("prepared");
        assert_eq!(target.expect("a file for the last token").trim(), "127.0.0.1:5900");
        assert_eq!(prepared.paths.len(), DESKS);
        assert!(prepared.arguments[1].ends_with("/tokens/files"), "{:?}", prepared.arguments);
    }
}
