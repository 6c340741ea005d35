//! Ending another thread's wait: a socket pair whose far end any thread may write to.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The waiting end, watched by a kernel.
#[derive(Debug)]
pub struct WakeSource {
    near: UnixStream,
    far: Arc<UnixStream>,
}

/// The waking end; cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Option<Arc<UnixStream>>);

impl WakeSource {
    /// A new pair.
    pub fn new() -> io::Result<WakeSource> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(WakeSource { near, far: Arc::new(far) })
    }

    /// A waker for it.
    pub fn waker(&self) -> Waker {
        Waker(Some(self.far.clone()))
    }

    /// What to watch for bytes.
    pub fn descriptor(&self) -> RawFd {
        self.near.as_raw_fd()
    }

    /// Takes all wakes that have come.
    pub fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.near).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl Waker {
    /// A waker that does nothing, for a kernel that is never waited for.
    pub fn silent() -> Waker {
        Waker(None)
    }

    /// Ends the wait. A full pair is as good as a written one: the other end is awake already.
    pub fn wake(&self) {
        if let Some(mut far) = self.0.as_deref() {
            let _ = far.write(&[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_collapse_and_clear() {
        let source = WakeSource::new().unwrap();
        for _ in 0..100_000 {
            source.waker().wake();
        }
        source.clear();
        assert!(
            (&source.near).read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        );
    }
}
