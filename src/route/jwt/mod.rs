//! Tokens that say themselves where they lead: JSON Web Tokens, signed (RFC 7515) or signed and then encrypted (RFC 7516).
//!
//! The key decides what may be done with it; a header only chooses among that, and what it says about keys and addresses
//! is not looked at. Refused are tokens that are not signed, compressed ones, ones with passwords, and whatever is nested
//! deeper than one signature in one encryption. Pure: key, token and time come in as arguments.

mod jwe;
mod jws;
mod key;

pub use key::Key;

use super::leads;
use crate::limits::TOKEN_BYTES_MAX;
use crate::target::Target;
use serde_json::{Map, Value};

/// Why a token is not good, in words for the operator; clients are not told.
pub type Fault = &'static str;

/// A JSON object: a header, or claims.
type Object = Map<String, Value>;

/// Where `token` leads, if it is good at `now`, in seconds since 1970.
///
/// # Errors
/// What is wrong with it, in websockify's words where it has some.
pub fn target(token: &str, key: &Key, now: f64) -> Result<Target, Fault> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the token is too long");
    }
    let payload = match token.bytes().filter(|byte| *byte == b'.').count() {
        2 => jws::verify(token, key)?,
        4 => {
            let inner = jwe::decrypt(token, key)?;
            let inner = std::str::from_utf8(&inner).map_err(|_| "what is encrypted is no signed token")?;
            jws::verify(inner, key)?
        }
        _ => return Err("neither a signed nor an encrypted token"),
    };
    let claims: Object = serde_json::from_slice(&payload).map_err(|_| "the claims are no JSON object")?;
    if now < time(&claims, "nbf")?.unwrap_or(f64::NEG_INFINITY) {
        return Err("Token can not be used yet!");
    }
    if now >= time(&claims, "exp")?.unwrap_or(f64::INFINITY) {
        return Err("Token has expired!");
    }
    leads::object(&claims).ok_or("the claims have no host and port, or bad ones")
}

fn time(claims: &Object, name: &str) -> Result<Option<f64>, Fault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(seconds)) => Ok(seconds.as_f64()),
        Some(_) => Err("exp and nbf must be numbers"),
    }
}

/// The protected header of a token: a JSON object that asks for nothing that must be understood.
fn header(part: &str) -> Result<Object, Fault> {
    let object: Object =
        serde_json::from_slice(&decode(part)?).map_err(|_| "the header is no JSON object")?;
    match object.contains_key("crit") || object.contains_key("b64") {
        true => Err("the header asks for extensions"),
        false => Ok(object),
    }
}

fn word<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_| "a part is not base64url")
}

#[cfg(test)]
mod tests;
