//! How rustls' unbuffered connections are driven, the same for both roles.
//!
//! [`process`] works through received bytes, [`say`] encrypts ours; both serve rustls' own wishes on the way. Owns nothing:
//! the connection, the bytes and the outcome are the stream's. It never waits and never remembers.

use super::stream::{Failure, Opened};
use crate::limits::{HEADROOM_BYTES, TLS_BUFFERED_MAX};
use crate::pool::{Lease, Pool};
use rustls::CommonState;
use rustls::client::ClientConnectionData;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon, UnbufferedStatus,
};
use std::ops::Deref;

/// Where the outcome of processing goes.
pub(super) struct Out<'a> {
    pub(super) pool: &'a Pool,
    pub(super) opened: &'a mut Opened,
    /// Most bytes of plaintext that can come of what is at hand.
    pub(super) plain_most: usize,
    /// Something that rustls had to say is lost: nothing that is said behind it would be understood.
    pub(super) is_mute: bool,
}

impl Out<'_> {
    fn plain(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if self.opened.plain.is_none() {
            let room = HEADROOM_BYTES + self.plain_most;
            let mut chunk = self.pool.chunk(room).ok_or(Failure::NoMemory)?;
            chunk.append(&[0; HEADROOM_BYTES]);
            chunk.advance(HEADROOM_BYTES);
            self.opened.plain = Some(chunk);
        }
        let taken = self.opened.plain.as_mut().map_or(0, |plain| plain.append(payload));
        debug_assert_eq!(taken, payload.len(), "plaintext is never longer than its ciphertext");
        Ok(())
    }

    fn reply<Data>(&mut self, data: EncodeTlsData<'_, Data>) -> Result<(), Failure> {
        let encoded = encode(data, &mut self.opened.reply, self.pool);
        self.is_mute |= encoded.is_err();
        encoded
    }
}

/// The one method that rustls has on both kinds of connection, under one name.
pub(super) trait Records: Deref<Target = CommonState> {
    /// rustls' own word for the role.
    type Data;
    /// The next thing to do, with the bytes that came.
    fn next<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedConnectionCommon<ServerConnectionData> {
    type Data = ServerConnectionData;
    fn next<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedConnectionCommon<ClientConnectionData> {
    type Data = ClientConnectionData;
    fn next<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// Works through `bytes` until rustls needs more, and says how many are used up.
pub(super) fn process<R: Records>(
    connection: &mut R,
    bytes: &mut [u8],
    out: &mut Out<'_>,
) -> Result<usize, Failure> {
    let mut consumed = 0;
    loop {
        let UnbufferedStatus { mut discard, state, .. } = connection.next(&mut bytes[consumed..]);
        let more = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(Failure::Tls)?;
                    discard += record.discard;
                    out.plain(record.payload)?;
                }
                true
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                out.reply(data)?;
                true
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                true
            }
            Ok(ConnectionState::PeerClosed) => {
                out.opened.closed = true;
                true
            }
            Ok(
                ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_)
                | ConnectionState::Closed,
            ) => false,
            // Early data is never offered, so rustls never brings it (RFC 8446 section 4.2.10).
            Ok(_) => return Err(Failure::NotOpen),
            Err(error) => {
                farewell(connection, out);
                return Err(Failure::Tls(error));
            }
        };
        consumed += discard;
        if !more {
            return Ok(consumed);
        }
    }
}

/// Gets the alert that rustls has ready after an error.
fn farewell<R: Records>(connection: &mut R, out: &mut Out<'_>) {
    // As long as it has something to say, rustls looks at no bytes.
    while connection.wants_write()
        && let Ok(ConnectionState::EncodeTlsData(data)) = connection.next(&mut []).state
        && out.reply(data).is_ok()
    {}
}

/// What we say ourselves once the handshake is done.
#[derive(Clone, Copy)]
pub(super) enum Speech<'a> {
    /// Application data.
    Data(&'a [u8]),
    /// A close_notify.
    Goodbye,
}

/// Encrypts `speech` into `sealed`, behind what rustls wants to say itself.
pub(super) fn say<R: Records>(
    connection: &mut R,
    carry: &mut [u8],
    speech: Speech<'_>,
    sealed: Lease,
    pool: &Pool,
) -> Result<Lease, Failure> {
    let mut sealed = Some(sealed);
    loop {
        let status = connection.next(carry);
        // All that is whole was used up when it came; there is nothing to discard.
        debug_assert_eq!(status.discard, 0);
        match status.state.map_err(Failure::Tls)? {
            ConnectionState::EncodeTlsData(data) => encode(data, &mut sealed, pool)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::WriteTraffic(mut traffic) => {
                let mut lease = sealed.expect("it is put back by `encode`");
                let mut encrypt = |lease: &mut Lease| match speech {
                    Speech::Data(plain) => traffic.encrypt(plain, lease.spare_mut()),
                    Speech::Goodbye => traffic.queue_close_notify(lease.spare_mut()),
                };
                let written = match encrypt(&mut lease) {
                    Err(EncryptError::InsufficientSize(error)) => {
                        lease = roomier(lease, error.required_size, pool)?;
                        encrypt(&mut lease)
                    }
                    written => written,
                };
                lease.extend_filled(written.map_err(|_| Failure::Exhausted)?);
                return Ok(lease);
            }
            _ => return Err(Failure::NotOpen),
        }
    }
}

/// Appends one of rustls' own messages to `reply`, moving it to a larger chunk where it has no room.
fn encode<Data>(
    mut data: EncodeTlsData<'_, Data>,
    reply: &mut Option<Lease>,
    pool: &Pool,
) -> Result<(), Failure> {
    let mut lease = reply.take().or_else(|| pool.chunk(1)).ok_or(Failure::NoMemory)?;
    let written = match data.encode(lease.spare_mut()) {
        Err(EncodeError::InsufficientSize(error)) => {
            if lease.len() + error.required_size > TLS_BUFFERED_MAX {
                return Err(Failure::TooLong);
            }
            lease = roomier(lease, error.required_size, pool)?;
            data.encode(lease.spare_mut())
        }
        written => written,
    };
    lease.extend_filled(written.map_err(|_| Failure::TooLong)?);
    *reply = Some(lease);
    Ok(())
}

/// The same bytes in a chunk with `more` bytes of room behind them.
fn roomier(lease: Lease, more: usize, pool: &Pool) -> Result<Lease, Failure> {
    let mut larger = pool.chunk(lease.len() + more).ok_or(Failure::NoMemory)?;
    larger.append(&lease);
    Ok(larger)
}
