//! The words of the protocol: questions as lines, and what lines of answers mean.
//!
//! Owns what a plugin is told and what it may say. What a client could have made up about who it is, is not told. Pure.

use crate::framing::Framing;
use crate::http::is_token;
use crate::http::refusal::Header;
use crate::http::{Refusal, trim};
use crate::limits::{PLUGIN_HEADERS_MAX, PLUGIN_LABEL_BYTES_MAX, PLUGIN_LABELS_MAX, PLUGIN_LINE_BYTES_MAX};
use crate::route::form::decode_form;
use crate::route::leads;
use crate::route::request::Request;
use crate::route::{Answer, Label, Pass, Question};
use crate::target::{Held, Port, Target};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Which target a token stands for.
    Token,
    /// Whether a request may pass.
    Auth,
}

/// What a plugin answers by, as it says itself when it is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Anything in the request.
    #[default]
    Request,
    /// The token alone, which is all that it is told.
    Token,
}

/// Why a plugin that guards cannot answer by tokens.
pub const GUARDS_BY_TOKEN: &str =
    "it answers by \"token\", and --auth-plugin is asked about whole requests; leave \"by\" out";

/// A line that a plugin wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// It can be asked.
    Ready(By),
    /// It is of no use, for this reason.
    Unfit(String),
    /// An answer to the question with this number; what it says has yet to be judged.
    Answer(u64, Map<String, Value>),
}

/// Headers that an answer has anyway, or must not have.
const OWN: [&str; 8] = [
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "date",
    "server",
    "content-type",
    "trailer",
];

impl Kind {
    /// The option that names such a plugin.
    pub fn option(self) -> &'static str {
        match self {
            Kind::Token => "token-plugin",
            Kind::Auth => "auth-plugin",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Token => "token",
            Kind::Auth => "auth",
        }
    }
}

impl By {
    /// What becomes of answers when a process answers by something else than the one before it.
    pub fn consequence(self) -> &'static str {
        match self {
            By::Request => "it answers by the whole request now: no answer is kept or shared any more",
            By::Token => "it answers by the token alone now: answers are kept for --token-cache and shared",
        }
    }
}

/// What a process hears first.
pub fn hello(kind: Kind, name: &str, source: Option<&str>, concurrency: usize) -> String {
    let (kind, protocol) = (kind.word(), 1);
    json!({"hello": {"protocol": protocol, "kind": kind, "name": name, "source": source, "concurrency": concurrency}})
        .to_string()
}

/// A question as a line without its end; `None` if it is longer than a line may be. Its number is always its first member,
/// so that even a shell can find it.
pub fn question(id: u64, kind: Kind, by: By, question: &Question) -> Option<String> {
    let body = match by {
        By::Request => whole(kind, question),
        // What it is not told it cannot answer by.
        By::Token => {
            json!({"kind": kind.word(), "token": question.token.as_ref().map(|token| token.secret())})
        }
    };
    let line = format!("{{\"id\":{id},{}", body.to_string().strip_prefix('{')?);
    (line.len() < PLUGIN_LINE_BYTES_MAX).then_some(line)
}

/// A question with all that is known of its request.
fn whole(kind: Kind, question: &Question) -> Value {
    let request = &*question.request;
    let told = request.headers.iter().filter(|(name, _)| !claims_identity(name));
    let headers: Vec<Value> = told.map(|(name, value)| json!([name, latin(value)])).collect();
    json!({
        "kind": kind.word(),
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "params": params(request.query.as_deref().unwrap_or_default()),
        "headers": headers,
        "cookies": cookies(request),
        "client": request.client.map(|at| json!({"ip": at.ip().to_canonical().to_string(), "port": at.port()})),
        "tls": request.tls.map(|(version, cipher)| {
            json!({"version": version, "cipher": cipher, "cn": request.certified})
        }),
        "token": question.token.as_ref().map(|token| token.secret()),
        "target": question.target.as_deref().map(target),
    })
}

/// Whether a header says who the client is, in any spelling. Proxies put such headers in for applications behind them;
/// from a client they are a lie.
pub fn claims_identity(name: &str) -> bool {
    const BEGINNINGS: [&str; 6] =
        ["ssl-", "x-ssl-", "x-client-cert", "x-client-dn", "x-client-verify", "x-auth-request-"];
    const NAMES: [&str; 14] = [
        "remote-user",
        "remote-name",
        "remote-email",
        "remote-groups",
        "x-remote-user",
        "x-remote-email",
        "x-remote-groups",
        "x-forwarded-user",
        "x-forwarded-email",
        "x-forwarded-groups",
        "x-forwarded-preferred-username",
        "x-forwarded-client-cert",
        "x-forwarded-tls-client-cert",
        "client-cert",
    ];
    let name = name.to_ascii_lowercase().replace('_', "-");
    let name = name.strip_prefix("http-").unwrap_or(&name);
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Bytes as text, each one character: whatever a header holds, nothing of it is lost.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The fields of a query, decoded: each name with all its values.
fn params(query: &str) -> Value {
    let mut params = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let values = params.entry(decode_form(name).into_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(decode_form(value).into());
        }
    }
    Value::Object(params)
}

/// Cookies by name; of several with one name the first counts (RFC 6265 section 5.4 has the most specific in front).
fn cookies(request: &Request) -> Value {
    let mut cookies = Map::new();
    let pairs = request.all("Cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    for pair in pairs.map(trim) {
        if let Some(at) = pair.iter().position(|byte| *byte == b'=') {
            let (name, value) = (trim(&pair[..at]), trim(&pair[at + 1..]));
            cookies.entry(latin(name)).or_insert_with(|| latin(value).into());
        }
    }
    Value::Object(cookies)
}

fn target(target: &Target) -> Value {
    match target {
        Target::Tcp { host, port: Port::Number(port) } => json!({"host": host, "port": port}),
        Target::Tcp { host, port: Port::Service(port) } => json!({"host": host, "port": port}),
        Target::Unix(path) | Target::Held(Held { path, .. }) => json!({"unix": path.to_string_lossy()}),
        Target::Abstract(name) => json!({"unix": format!("@{}", String::from_utf8_lossy(name))}),
        other => json!({"other": other.to_string()}),
    }
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it.
pub fn read(line: &[u8]) -> Result<Line, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(mut object) = value else { return Err("not an object".into()) };
    if object.get("ready") == Some(&Value::Bool(true)) {
        return Ok(match object.get("by") {
            None | Some(Value::Null) => Line::Ready(By::Request),
            Some(Value::String(by)) if by == "request" => Line::Ready(By::Request),
            Some(Value::String(by)) if by == "token" => Line::Ready(By::Token),
            Some(by) => Line::Unfit(format!("\"by\" is \"token\" or \"request\", not {by}")),
        });
    }
    match object.remove("id") {
        Some(id) => Ok(Line::Answer(id.as_u64().ok_or("an id that is no number")?, object)),
        None => match object.get("error").and_then(Value::as_str) {
            Some(why) => Ok(Line::Unfit(why.to_owned())),
            None => Err("neither an id, nor ready, nor an error".into()),
        },
    }
}

/// What an answer to a question means.
///
/// # Errors
/// What is wrong with it. Whoever asked is then refused.
pub fn judge(kind: Kind, by: By, request: &Request, said: Map<String, Value>) -> Result<Answer, String> {
    let mut said = said.into_iter();
    match (said.next(), said.next()) {
        (Some((word, Value::Object(what))), None) if word == "allow" => {
            allow(kind, by, request, what).map(Ok)
        }
        (Some((word, Value::Object(what))), None) if word == "deny" => deny(kind, what).map(Err),
        (Some((word, Value::String(why))), None) if word == "error" => Err(why),
        _ => Err("an answer needs exactly one of \"allow\", \"deny\" and \"error\"".into()),
    }
}

fn allow(kind: Kind, by: By, request: &Request, what: Map<String, Value>) -> Result<Pass, String> {
    let mut pass = Pass::default();
    let (mut framing, mut framing_config) = (None, None);
    for (name, value) in what {
        match name.as_str() {
            _ if value.is_null() => {}
            "target" => {
                let said = text(&name, &value)?;
                let target = leads::word(said).map(Arc::new);
                let why = || format!("\"{said}\" is no target; write host:port or unix:/path");
                pass.target = Some(target.ok_or_else(why)?);
            }
            "framing" => framing = Some(text(&name, &value)?.to_owned()),
            "framing_config" => framing_config = Some(text(&name, &value)?.to_owned()),
            // What one client offers another one may not.
            "subprotocol" if by == By::Token => {
                return Err("who answers by the token alone cannot name a sub-protocol".into());
            }
            "subprotocol" => pass.subprotocol = Some(offered(request, text(&name, &value)?)?),
            "headers" => pass.headers = headers(&value, false)?,
            "labels" => pass.labels = labels(&value)?,
            _ => return Err(format!("\"allow\" has no member \"{name}\"")),
        }
    }
    pass.framing = match framing {
        Some(name) => Some(Framing::parse(&name, framing_config.as_deref())?),
        None if framing_config.is_some() => {
            return Err("a \"framing_config\" without a \"framing\"; name the one it is for".into());
        }
        None => None,
    };
    if kind == Kind::Token && pass.target.is_none() {
        return Err("a token was allowed without a target".into());
    }
    Ok(pass)
}

fn deny(kind: Kind, what: Map<String, Value>) -> Result<Refusal, String> {
    let usual = match kind {
        Kind::Token => Refusal::UNKNOWN_TOKEN,
        Kind::Auth => crate::route::guard::FORBIDDEN,
    };
    let (mut status, mut reason, mut more) = (None, None, Vec::new());
    for (name, value) in what {
        match name.as_str() {
            _ if value.is_null() => {}
            "status" => {
                let known = value.as_u64().filter(|status| (300..=599).contains(status) && *status != 304);
                let known = known.and_then(|status| u16::try_from(status).ok());
                status = Some(known.ok_or("a denial needs a status from 300 to 599")?);
            }
            "reason" => reason = Some(text(&name, &value)?.to_owned()),
            // A refusal stays one: what the answer says of itself is no reason to say another one.
            "headers" => more = headers(&value, true)?,
            _ => return Err(format!("\"deny\" has no member \"{name}\"")),
        }
    }
    if status.is_none() && reason.is_none() && more.is_empty() {
        return Ok(usual);
    }
    let status = status.unwrap_or(usual.status());
    let reason = reason.unwrap_or_else(|| usual_reason(status).to_owned());
    Ok(Refusal::told(status, reason, more))
}

/// The phrase of a status where the plugin says none.
fn usual_reason(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("\"{name}\" is no text"))
}

fn offered(request: &Request, name: &str) -> Result<Box<str>, String> {
    let offers = request.all("Sec-WebSocket-Protocol").flat_map(|value| value.split(|byte| *byte == b','));
    match is_token(name.as_bytes()) && offers.map(trim).any(|offer| offer == name.as_bytes()) {
        true => Ok(name.into()),
        false => Err(format!("sub-protocol \"{name}\" was not offered")),
    }
}

/// Whether the server says this header itself, or nobody may.
fn is_own(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    OWN.contains(&&*lower) || lower.starts_with("sec-websocket-")
}

/// Headers as pairs, or as an object. Those that are the server's own to say are passed over with `passes_own`, and an
/// error without.
fn headers(value: &Value, passes_own: bool) -> Result<Vec<Header>, String> {
    let mut pairs: Vec<(&str, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        Value::Array(list) => {
            let pair = |pair: &'_ Value| match pair.as_array().map(Vec::as_slice) {
                Some([_, _]) => Ok(()),
                _ => Err("a header is a pair of name and value"),
            };
            list.iter().try_for_each(pair)?;
            list.iter().map(|pair| (pair[0].as_str().unwrap_or_default(), &pair[1])).collect()
        }
        _ => return Err("\"headers\" is no list of pairs".into()),
    };
    if passes_own {
        pairs.retain(|(name, _)| !is_own(name));
    }
    if pairs.len() > PLUGIN_HEADERS_MAX {
        return Err(format!("more than {PLUGIN_HEADERS_MAX} headers"));
    }
    let header = |(name, value): (&str, &Value)| {
        if !is_token(name.as_bytes()) || is_own(name) {
            return Err(format!("a header cannot be called \"{name}\""));
        }
        let value = text(name, value)?;
        match value.chars().any(char::is_control) {
            true => Err(format!("the header \"{name}\" has a control character in it")),
            false => Ok((name.to_owned().into(), value.to_owned().into())),
        }
    };
    pairs.into_iter().map(header).collect()
}

fn labels(value: &Value) -> Result<Vec<Label>, String> {
    let object = value.as_object().ok_or("\"labels\" is no object")?;
    if object.len() > PLUGIN_LABELS_MAX {
        return Err(format!("more than {PLUGIN_LABELS_MAX} labels"));
    }
    let label = |(name, value): (&String, &Value)| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let value = text(name, value)?;
        if !(1..=PLUGIN_LABEL_BYTES_MAX).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!("a label cannot be called \"{name}\": use a-z, 0-9 and _"));
        }
        match value.len() <= PLUGIN_LABEL_BYTES_MAX {
            true => Ok((name.as_str().into(), value.into())),
            false => Err(format!("the label \"{name}\" is longer than {PLUGIN_LABEL_BYTES_MAX} bytes")),
        }
    };
    object.iter().map(label).collect()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
