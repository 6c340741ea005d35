//! Cases for TLS: the first byte, plain clients where TLS is wanted, handshakes in every cut, and streams that go wrong.

use super::play::{Client, Far, Play, config};
use super::read::{self, GET, UPGRADE, binary, row};
use crate::http::secure::Plain;
use crate::limits::BUFFER_MEMORY_MIN;
use crate::pool::{Lease, Pool};
use crate::session::Side;
use crate::tls::stream::Stream;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;

/// A key for a server, and a client that trusts it.
pub(super) struct Pair {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from("gateway.test").unwrap()
}

pub(super) fn pair(version: &'static SupportedProtocolVersion) -> Pair {
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["gateway.test".into()]).unwrap();
    let own = params.self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![own], key).unwrap();
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    Pair { server: Arc::new(server), client: Arc::new(client) }
}

/// The other end of a TLS stream, at one side of a played session.
pub(super) struct Peer {
    pub(super) stream: Stream,
    pub(super) side: Side,
    pub(super) pool: Pool,
    /// Bytes of the session that it has seen, and what they said.
    pub(super) seen: usize,
    pub(super) plain: Vec<u8>,
    /// It has heard close_notify, or something wrong.
    pub(super) closed: bool,
    pub(super) failed: bool,
    /// It has said its last word.
    pub(super) ended: bool,
}

impl Peer {
    pub(super) fn new(stream: Stream, side: Side) -> Peer {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        Peer { stream, side, pool, seen: 0, plain: Vec::new(), closed: false, failed: false, ended: false }
    }

    /// A client that says hello.
    pub(super) fn client(pair: &Pair, play: &mut Play) -> Peer {
        let mut peer = Peer::new(Stream::client(pair.client.clone(), name()).unwrap(), Client);
        let hello = peer.stream.hello(&peer.pool).unwrap();
        play.client(&*hello);
        peer.listen(play);
        peer
    }

    /// A target that waits for a hello, and has heard it.
    pub(super) fn target(pair: &Pair, play: &mut Play) -> Peer {
        let mut peer = Peer::new(Stream::server(pair.server.clone()).unwrap(), Far);
        peer.listen(play);
        peer
    }

    /// Takes what the session has sent, and answers, until nothing more comes.
    pub(super) fn listen(&mut self, play: &mut Play) {
        loop {
            let news = play.sockets[self.side as usize].got[self.seen..].to_vec();
            if news.is_empty() {
                return;
            }
            if let Some(reply) = self.hear(&news) {
                self.put(play, &reply);
            }
        }
    }

    /// Takes what the session has sent, and gives back what it answers. Only an end of its own making is a failure.
    pub(super) fn hear(&mut self, news: &[u8]) -> Option<Lease> {
        self.seen += news.len();
        let mut lease = self.pool.chunk(news.len()).unwrap();
        lease.append(news);
        let opened = self.stream.received(lease, &self.pool);
        assert!(opened.failed.is_none() || self.ended || self.closed || self.failed, "{:?}", opened.failed);
        self.failed |= opened.failed.is_some();
        self.plain.extend_from_slice(opened.plain.as_deref().unwrap_or_default());
        self.closed |= opened.closed;
        opened.reply
    }

    pub(super) fn put(&self, play: &mut Play, bytes: &[u8]) {
        match self.side {
            Client => play.client(bytes),
            Far => play.target(bytes),
        };
    }

    pub(super) fn say(&mut self, play: &mut Play, bytes: &[u8]) {
        let sealed = self.seal(bytes);
        self.put(play, &sealed);
        self.listen(play);
    }

    pub(super) fn seal(&mut self, bytes: &[u8]) -> Lease {
        let mut lease = self.pool.chunk(bytes.len()).unwrap();
        lease.append(bytes);
        self.stream.seal(lease, &self.pool).unwrap()
    }

    pub(super) fn goodbye(&mut self, play: &mut Play) {
        self.ended = true;
        let goodbye = self.stream.close_notify(&self.pool).unwrap();
        self.put(play, &goodbye);
        self.listen(play);
    }
}

/// A bridge whose client came over TLS and whose target is connected.
pub(super) fn bridge(pair: &Pair) -> (Play, Peer) {
    let mut play = secure("127.0.0.1:5900", pair.server.clone());
    let mut peer = Peer::client(pair, &mut play);
    peer.say(&mut play, UPGRADE.as_bytes());
    play.connected();
    (play, peer)
}

/// A session of a server with this key.
pub(super) fn secure(target: &str, server: Arc<ServerConfig>) -> Play {
    Play::with_tls(config(target), Some(server), None)
}

#[test]
fn the_first_byte_tells_plain_from_tls() {
    let server = pair(&TLS13).server;
    let rows = [
        (Plain::Served, GET, "405", "refused"),
        (Plain::Redirected, GET, "301", "answered"),
        (Plain::Redirected, UPGRADE, "403", "refused"),
        (Plain::Refused, GET, "403", "refused"),
        (Plain::Refused, UPGRADE, "403", "refused"),
        (Plain::Closed, UPGRADE, "", "plain_closed"),
    ];
    for (plain, head, heard, end) in rows {
        for gulp in [1, usize::MAX] {
            let config = crate::config::Config { plain, ..config("127.0.0.1:5900") };
            let mut play = Play::with_tls(config, Some(server.clone()), None);
            play.gulp = gulp;
            play.client(head).fin(Client);
            assert_eq!((play.heard().as_str(), play.end()), (heard, end), "{plain:?} {head}");
        }
    }
}

#[test]
fn silence_is_short_and_a_slow_handshake_has_the_time_of_a_head() {
    let server = pair(&TLS13).server;
    let mut silent = secure("echo://", server.clone());
    assert!(!silent.wait(2_999).released);
    assert_eq!(silent.wait(1).end(), "head_timeout");
    let mut slow = secure("echo://", server);
    slow.wait(2_900).client([0x16]);
    assert!(!slow.wait(7_099).released);
    assert_eq!(slow.wait(1).end(), "head_timeout");
    assert_eq!(slow.sockets[0].got, [0u8; 0], "nothing is said");
}

#[test]
fn silence_behind_a_handshake_has_the_time_of_a_head_from_accept() {
    let pair = pair(&TLS13);
    let mut play = secure("echo://", pair.server.clone());
    play.wait(2_000);
    Peer::client(&pair, &mut play);
    assert!(!play.wait(7_999).released, "it has said something: its hello");
    assert_eq!(play.wait(1).end(), "head_timeout");
}

#[test]
fn garbage_gets_its_alert_and_an_end() {
    let server = pair(&TLS13).server;
    for garbage in
        [&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"[..], b"\x80\x2e\x01\x03", b"\x16GET / HTTP/1.1\r\n\r\n"]
    {
        for stuck in [false, true] {
            let mut play = secure("echo://", server.clone());
            if stuck {
                play.stick(Client);
            }
            play.client(garbage);
            assert_eq!(play.sockets[0].shut, !stuck, "the alert goes first");
            play.unstick(Client);
            assert_eq!(play.sockets[0].got.first(), Some(&21), "{garbage:?}");
            assert!(play.sockets[0].shut);
            assert_eq!(play.client("more of it").fin(Client).end(), "client_tls_failed");
        }
    }
}

#[test]
fn a_bridge_over_tls_is_the_same_in_every_cut() {
    for version in [&TLS12, &TLS13] {
        let pair = pair(version);
        let case = |play: &mut Play| {
            let mut peer = Peer::client(&pair, play);
            peer.say(play, UPGRADE.as_bytes());
            peer.say(play, &row(&[binary("ab"), binary("cd")]));
            assert_eq!(play.connected().got(), "abcd");
            play.gulp = usize::MAX;
            play.target("down");
            peer.listen(play);
            assert_eq!(read::heard(&peer.plain, false), "101, binary:down");
            peer.say(play, &read::close(1000, "done"));
            peer.goodbye(play);
            assert!(peer.closed, "close_notify is said");
            play.fin(Client).fin(Far);
            assert_eq!(play.end(), "client_closed");
        };
        let mut whole = secure("127.0.0.1:5900", pair.server.clone());
        case(&mut whole);
        let taken = whole.sockets[0].taken;
        let mut bytewise = secure("127.0.0.1:5900", pair.server.clone());
        bytewise.gulp = 1;
        case(&mut bytewise);
        for cut in (1..taken).step_by(211) {
            let mut play = secure("127.0.0.1:5900", pair.server.clone());
            play.cut = cut;
            case(&mut play);
        }
    }
}

#[test]
fn a_stream_that_breaks_ends_its_session_and_tells_the_target_nothing() {
    let pair = pair(&TLS13);
    let (mut play, mut peer) = bridge(&pair);
    peer.say(&mut play, &binary("good"));
    play.client(b"\x17\x03\x03\x00\x20this is not what was agreed on!!");
    play.fin(Client).fin(Far);
    assert_eq!((play.got().as_str(), play.end()), ("good", "client_tls_failed"));
}

#[test]
fn what_waits_while_tls_is_stuck_comes_in_order() {
    let pair = pair(&TLS13);
    let (mut play, mut peer) = bridge(&pair);
    play.stick(Client).target("one");
    play.target("two");
    play.fin(Far).unstick(Client);
    peer.listen(&mut play);
    assert_eq!(read::heard(&peer.plain, false), "101, binary:one, binary:two, close:1000 Target closed");
    peer.goodbye(&mut play);
    assert_eq!(play.fin(Client).end(), "target_closed");
}

pub(super) fn to_target(pair: &Pair) -> Play {
    let mut play = Play::with_tls(config("127.0.0.1:5900"), None, Some((pair.client.clone(), name())));
    play.client([UPGRADE.as_bytes(), &binary("early")].concat());
    play.connected();
    play
}

#[test]
fn a_target_hears_of_the_client_when_it_is_secured() {
    for version in [&TLS12, &TLS13] {
        let pair = pair(version);
        for gulp in [usize::MAX, 1] {
            let mut play = to_target(&pair);
            play.gulp = gulp;
            let mut peer = Peer::target(&pair, &mut play);
            assert_eq!(peer.plain, b"early");
            peer.say(&mut play, b"down");
            assert_eq!(play.frames(), "binary:down");
            peer.goodbye(&mut play);
            assert!(peer.closed, "close_notify is said");
            play.fin(Far).client(read::close(1000, "")).fin(Client);
            assert_eq!(play.end(), "target_closed");
        }
    }
}

#[test]
fn a_target_that_is_cut_is_told_apart_from_one_that_ends() {
    let pair = pair(&TLS13);
    for orderly in [true, false] {
        let mut play = to_target(&pair);
        let mut peer = Peer::target(&pair, &mut play);
        peer.say(&mut play, b"down");
        if orderly {
            peer.goodbye(&mut play);
        }
        play.fin(Far).client(read::close(1000, "")).fin(Client);
        assert_eq!(
            (play.frames().as_str(), play.end()),
            ("binary:down, close:1000 Target closed", "target_closed")
        );
        let detail = play.session.as_ref().unwrap().core().detail.as_deref();
        assert_eq!(detail, (!orderly).then_some("TLS: ended without close_notify"));
    }
}

#[test]
fn a_target_that_is_not_secured_is_the_end_of_a_dial() {
    type Happens = fn(&mut Play) -> &mut Play;
    let rows: [(Happens, &str); 6] = [
        (|play| play.target("RFB 003.008\n"), "target_refused"),
        (|play| play.fin(Far), "target_refused"),
        (|play| play.reset(Far), "target_refused"),
        (|play| play.wait(10_000), "dial_timeout"),
        (|play| play.stick(Far).target("RFB"), "dial_timeout"),
        (|play| play.stop(), "stopped"),
    ];
    for (number, (happens, end)) in rows.into_iter().enumerate() {
        let mut play = to_target(&pair(&TLS13));
        happens(&mut play);
        play.client(read::close(1000, "")).fin(Client).wait(20_000);
        assert_eq!(play.end(), end, "{number}");
    }
}

#[test]
fn what_a_quick_client_sent_reaches_a_target_that_is_still_being_secured() {
    let pair = pair(&TLS13);
    let mut play = Play::with_tls(config("127.0.0.1:5900"), None, Some((pair.client.clone(), name())));
    play.client([UPGRADE.as_bytes(), &binary("early"), &read::close(1000, "")].concat()).fin(Client);
    play.connected();
    let mut peer = Peer::target(&pair, &mut play);
    assert_eq!((peer.plain.as_slice(), peer.closed), (&b"early"[..], true));
    peer.goodbye(&mut play);
    assert_eq!(play.fin(Far).end(), "client_closed");
}

#[test]
fn a_target_that_nobody_waits_for_any_more_is_not_secured() {
    let pair = pair(&TLS13);
    let mut play = Play::with_tls(config("127.0.0.1:5900"), None, Some((pair.client.clone(), name())));
    play.client(UPGRADE);
    play.connected().client(read::close(1000, ""));
    let peer = Peer::target(&pair, &mut play);
    assert!(!play.released && peer.stream.is_handshaking(), "the client's end is still awaited");
    assert_eq!(play.fin(Client).end(), "client_closed");
}

#[test]
fn the_next_address_is_tried_when_one_cannot_be_secured() {
    let pair = pair(&TLS13);
    let mut play = Play::with_tls(config("desk.test:5900"), None, Some((pair.client.clone(), name())));
    play.client(UPGRADE).resolved(&["10.0.0.1:5900", "10.0.0.2:5900", "10.0.0.3:5900"]);
    play.connected().target("no TLS here");
    assert_eq!(play.dialled.len(), 2);
    // The second one connects and then says nothing.
    play.connected().wait(3_000);
    assert_eq!(play.dialled, ["10.0.0.1:5900", "10.0.0.2:5900", "10.0.0.3:5900"]);
    play.sockets[1].got.clear();
    play.connected();
    let mut peer = Peer::target(&pair, &mut play);
    peer.say(&mut play, b"at last");
    assert_eq!(play.frames(), "binary:at last");
}
