//! A service that is asked whether requests may pass, for `ForwardAuth`: one GET for each request.
//!
//! Owns what the service is told, and which of its answers reach the client: it may let a request pass, refuse it, or send
//! it to a page where one signs in. Whatever else it answers, and silence, is a refusal. Redirects are not followed: they
//! are meant for the client.

use super::agent::{self, Client, Manners};
use super::trouble::{Rest, Trouble, Troubles};
use crate::http::Refusal;
use crate::http::refusal::Header;
use crate::limits::{
    FORWARD_ANSWER_BYTES_MAX, FORWARD_MS, FORWARD_THREADS, PLUGIN_LABEL_BYTES_MAX, SERVICE_QUEUE_PART,
};
use crate::names::Names;
use crate::observe::log::{Level, Log};
use crate::route::request::Request;
use crate::route::{Answer, Pass};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Error};

/// Headers of the request that the service is told as they are. None of them can say who the client is but by a secret.
const TOLD: [&str; 6] = ["Cookie", "Authorization", "Origin", "User-Agent", "Accept", "Accept-Language"];
/// Headers of a refusal that the client is told.
const PASSED_ON: [&str; 3] = ["WWW-Authenticate", "Location", "Set-Cookie"];
/// Headers in which services say whom they have let in.
const USERS: [&str; 3] = ["Remote-User", "X-Forwarded-User", "X-Auth-Request-User"];

/// A service.
pub(super) struct Service {
    url: String,
    /// Who asks, where the client does not say who it is.
    said: Option<String>,
    client: Client,
    rest: Rest,
    troubles: Troubles,
}

impl Service {
    /// The service at `url`.
    ///
    /// # Errors
    /// When it cannot be asked, whatever comes.
    pub fn new(url: &str, names: Names, log: &Log) -> Result<Service, String> {
        let troubles = Troubles::new("ForwardAuth", "--auth-source", log);
        let (url, said) = agent::bare(url);
        // No proxy: what clients say to prove who they are goes to this service and to no other machine.
        let manners: Manners =
            |common| common.max_response_header_size(FORWARD_ANSWER_BYTES_MAX).user_agent("").accept("");
        let client = Client::new(&url, None, FORWARD_THREADS, manners, names, troubles.clone())
            .map_err(|why| format!("option --auth-source: {why}"))?;
        if let Err(why) = client.agent() {
            troubles.fault(Level::Warn, &format!("{why}; until then requests are refused with 503"));
        }
        Ok(Service { url, said, client, rest: Rest::new(FORWARD_THREADS), troubles })
    }

    /// Asks about a request that has waited since `asked`.
    pub fn answer(&self, request: &Request, asked: Instant) -> Answer {
        let (waited, whole) = (asked.elapsed(), Duration::from_millis(FORWARD_MS));
        let now = Instant::now();
        if waited >= whole / SERVICE_QUEUE_PART || !self.rest.is_over(now + (whole - waited)) {
            self.troubles.tell(&Trouble::Resting);
            return Err(Refusal::BUSY);
        }
        let agent = self.client.agent().map_err(|why| {
            self.rest.begin();
            self.troubles.tell(&Trouble::Met(why));
            Refusal::BUSY
        })?;
        let (status, headers) = self.ask(agent, request, whole - waited).map_err(|error| {
            agent::judge(&self.rest, now, &error);
            self.troubles.tell(&Trouble::Met(agent::cause(&error, None)));
            Refusal::BUSY
        })?;
        self.rest.end();
        if status.is_success() {
            return Ok(pass(&headers));
        }
        Err(refusal(status, &headers).unwrap_or_else(|| {
            self.troubles.tell(&Trouble::Met(format!("status {}", status.as_u16())));
            Refusal::BUSY
        }))
    }

    fn ask(
        &self,
        agent: &Agent,
        request: &Request,
        left: Duration,
    ) -> Result<(StatusCode, HeaderMap), Error> {
        let mut get = agent.get(&self.url);
        for (name, value) in told(request) {
            get = get.header(name, value);
        }
        if let Some(said) = self.said.as_ref().filter(|_| request.first("Authorization").is_none()) {
            get = get.header("Authorization", said);
        }
        let mut answer = agent::within(get, left).call()?;
        // What it says besides is for nobody; it is read so that the connection can be used again.
        let mut body = answer.body_mut().with_config().limit(FORWARD_ANSWER_BYTES_MAX as u64).reader();
        let _ = std::io::copy(&mut body, &mut std::io::sink());
        Ok((answer.status(), answer.headers().clone()))
    }
}

/// What the service is told of a request: its own headers, and the rest as proxies tell it.
fn told(request: &Request) -> Vec<(&'static str, Vec<u8>)> {
    let mut told = Vec::new();
    for name in TOLD {
        told.extend(request.all(name).map(|value| (name, value.to_vec())));
    }
    let scheme = if request.tls.is_some() { "https" } else { "http" };
    let host = request.first("Host").unwrap_or_default();
    let mut uri = request.path.to_string();
    if let Some(query) = &request.query {
        uri = format!("{uri}?{query}");
    }
    let url = [scheme.as_bytes(), b"://", host, uri.as_bytes()].concat();
    told.push(("X-Forwarded-Method", request.method.as_bytes().to_vec()));
    told.push(("X-Forwarded-Proto", scheme.into()));
    told.push(("X-Forwarded-Host", host.to_vec()));
    told.push(("X-Forwarded-Uri", uri.into_bytes()));
    told.push(("X-Original-Method", request.method.as_bytes().to_vec()));
    told.push(("X-Original-URL", url));
    if let Some(client) = request.client {
        told.push(("X-Forwarded-For", client.ip().to_canonical().to_string().into_bytes()));
    }
    told
}

fn pass(headers: &HeaderMap) -> Pass {
    let user = USERS.iter().find_map(|name| headers.get(*name)?.to_str().ok());
    let user = user.filter(|user| !user.is_empty() && user.len() <= PLUGIN_LABEL_BYTES_MAX);
    Pass { labels: user.map(|user| ("user".into(), user.into())).into_iter().collect(), ..Pass::default() }
}

/// The refusal that the service means for the client; `None` if that is not for a client to see.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Option<Refusal> {
    let reason = match status.as_u16() {
        401 => "Unauthorized",
        403 => "Forbidden",
        301 | 302 | 303 | 307 | 308 if headers.contains_key("Location") => status.canonical_reason()?,
        _ => return None,
    };
    let header = |name: &'static str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(move |value| Header::from((name.into(), value.to_owned().into())))
    };
    let passed: Vec<Header> = PASSED_ON.into_iter().flat_map(header).collect();
    Some(Refusal::told(status.as_u16(), reason.into(), passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    #[test]
    fn only_refusals_and_sign_in_pages_reach_the_client() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Location", "https://login.test/?next=desk"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("WWW-Authenticate", "Bearer"),
            ("Content-Length", "7"),
            ("X-Secret", "of the service"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        for (status, shown) in [
            (401, true),
            (403, true),
            (302, true),
            (307, true),
            (304, false),
            (300, false),
            (404, false),
            (500, false),
            (503, false),
        ] {
            let told = refusal(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(told.as_ref().map(Refusal::status), shown.then_some(status));
            let Some(told) = told else { continue };
            let mut answer = Vec::new();
            told.write(true, 1, "", b"Fri, 20 Nov 2026 13:46:36 GMT", &mut answer);
            let answer = String::from_utf8(answer).unwrap();
            for part in
                ["Location: https://login.test/?next=desk\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n", "close"]
            {
                assert!(answer.contains(part), "{answer}");
            }
            assert!(!answer.contains("X-Secret") && !answer.contains("Content-Length: 7"), "{answer}");
        }
        headers.remove("Location");
        assert_eq!(refusal(StatusCode::FOUND, &headers), None);
    }

    #[test]
    fn what_clients_say_about_themselves_is_not_told() {
        let headers: [(&str, &[u8]); 5] = [
            ("Host", b"desk.test"),
            ("Cookie", b"a=1"),
            ("Remote-User", b"root"),
            ("X-Forwarded-For", b"127.0.0.1"),
            ("X-Forwarded-Uri", b"/public"),
        ];
        let request = Request {
            method: "GET".into(),
            path: "/x".into(),
            query: Some("token=t".into()),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            client: Some("[::ffff:10.0.0.7]:1".parse().unwrap()),
            tls: Some(("TLSv1.3", "x")),
            certified: None,
        };
        let told = told(&request);
        let said = |name: &str| -> Vec<String> {
            let same = told.iter().filter(|(own, _)| *own == name);
            same.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
        };
        for (name, value) in [
            ("Cookie", "a=1"),
            ("X-Forwarded-Uri", "/x?token=t"),
            ("X-Forwarded-For", "10.0.0.7"),
            ("X-Forwarded-Host", "desk.test"),
            ("X-Forwarded-Proto", "https"),
            ("X-Original-URL", "https://desk.test/x?token=t"),
        ] {
            assert_eq!(said(name), [value], "{name}");
        }
        assert_eq!(said("Remote-User"), [""; 0]);
    }

    #[test]
    fn who_rests_or_is_asked_too_late_is_not_asked() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let names = Names::start(Duration::ZERO).unwrap();
        let (log, kept) = Log::kept(Level::Error);
        let service = Service::new(&url, names, &log).unwrap();
        let request = Request::bare(Vec::new());
        let busy = |asked| assert_eq!(service.answer(&request, asked).unwrap_err(), Refusal::BUSY);
        let now = Instant::now();
        busy(now.checked_sub(Duration::from_millis(FORWARD_MS) / SERVICE_QUEUE_PART).unwrap());
        service.rest.begin();
        busy(now);
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody asked it");
        service.rest.end();
        drop(listener);
        busy(now);
        assert!(service.rest.lasts(), "it was asked, and is not there");
        let (_, line) = kept.pop().unwrap();
        assert!(line.starts_with("ForwardAuth failures=3 error=\""), "all three count: {line}");
        busy(now);
        assert_eq!(kept.pop(), None, "it was said a moment ago");
    }
}
