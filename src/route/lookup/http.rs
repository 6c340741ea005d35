//! Web services that know tokens: one GET for each, with the token percent-encoded into the address.
//!
//! Redirects are not followed: where a token goes is the operator's to say. Proxies of the environment are used, as
//! websockify does. Connections stay open between questions.

use super::agent::{self, Client, Manners, cause};
use super::proxy::Proxy;
use super::trouble::{Rest, Trouble, Troubles};
use super::{Found, Seek, Wanted};
use crate::limits::{HTTP_THREADS, SERVICE_ANSWER_BYTES_MAX};
use crate::names::Names;
use crate::route::{form, leads, source};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use ureq::{Agent, Error};

/// A service.
pub(super) struct Api {
    place: source::Api,
    /// Who asks, as a header says it.
    said: Option<String>,
    client: Client,
    rest: Rest,
}

impl Api {
    /// # Errors
    /// When the service or the proxy to it cannot be asked, whatever comes.
    pub fn new(mut place: source::Api, names: Names, troubles: &Troubles) -> io::Result<Api> {
        let said;
        (place.before, said) = agent::bare(&place.before);
        let url = format!("{}token{}", place.before, place.behind);
        let failed = |why| io::Error::other(format!("--token-source: {why}"));
        let proxy = Proxy::of_environment(&url).map_err(failed)?;
        let manners: Manners = |common| common.user_agent(concat!("websplice/", env!("CARGO_PKG_VERSION")));
        let client = Client::new(&url, proxy, HTTP_THREADS, manners, names, troubles.clone());
        Ok(Api { place, said, client: client.map_err(failed)?, rest: Rest::new(HTTP_THREADS) })
    }

    /// Status and body of the answer.
    fn ask(&self, agent: &Agent, wanted: &Wanted) -> Result<(u16, Vec<u8>), Error> {
        let token = form::encode(wanted.token.secret());
        let address = format!("{}{token}{}", self.place.before, self.place.behind);
        let left = wanted.until.saturating_duration_since(Instant::now());
        let mut get = agent.get(address);
        if let Some(said) = &self.said {
            get = get.header("Authorization", said);
        }
        let mut answer = agent::within(get, left).call()?;
        let body = answer.body_mut().with_config().limit(SERVICE_ANSWER_BYTES_MAX as u64).read_to_vec()?;
        Ok((answer.status().as_u16(), body))
    }
}

impl Seek for Api {
    fn rests(&self) -> bool {
        self.rest.lasts()
    }

    /// Whether there is somebody to judge it by. Nobody knows a token to ask it for.
    fn probe(&self, _until: Instant) -> Result<Option<String>, Trouble> {
        self.client.agent().map_err(Trouble::Met)?;
        Ok(None)
    }

    fn seek(&self, wanted: &Wanted) -> Found {
        // Dots mean a place in the path, and cannot be escaped: such an address would be another one.
        if matches!(wanted.token.secret(), "" | "." | "..") {
            return Ok(None);
        }
        if !self.rest.is_over(wanted.until) {
            return Err(Trouble::Resting);
        }
        let trouble = |why: &str| Trouble::Met(format!("{}: {why}", self.place.place()));
        let agent = self.client.agent().map_err(|why| {
            self.rest.begin();
            trouble(&why)
        })?;
        let asked = Instant::now();
        let (status, body) = match self.ask(agent, wanted) {
            Ok(answer) => answer,
            Err(error) => {
                agent::judge(&self.rest, asked, &error);
                return Err(trouble(&cause(&error, self.client.proxy.as_ref())));
            }
        };
        self.rest.end();
        let target = match status {
            200..300 if self.place.json => leads::json(&body),
            200..300 => std::str::from_utf8(&body).ok().and_then(leads::word),
            300..400 => return Err(trouble(&format!("status {status}; redirects are not followed"))),
            // The service has trouble of its own, or too much to do.
            408 | 425 | 429 | 500.. => return Err(trouble(&format!("status {status}"))),
            _ => return Ok(None),
        };
        let form = if self.place.json { "a JSON object with host and port" } else { "host:port" };
        let nonsense = || trouble(&format!("the answer is not {form}"));
        target.map(|target| Some(Arc::new(target))).ok_or_else(nonsense)
    }
}
