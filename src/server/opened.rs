//! What is opened while the process is still who it was started as: pid file, certificates, listeners, logs.
//!
//! Owns their order, and the moment at which the process becomes who it is to be. All of it is taken away again when
//! this is dropped.

use super::pid_file::PidFile;
use crate::config::{Config, Process};
use crate::listen::{self, Listeners};
use crate::observe::log::{LogFile, Places, Syslog};
use crate::observe::record;
use crate::tls::renewal::Shelf;
use std::path::PathBuf;

/// What a server has before its first thread.
pub struct Opened {
    /// Certificates and keys.
    pub shelf: Option<Shelf>,
    /// Where clients come in.
    pub listeners: Listeners,
    /// Where log lines go besides standard error.
    pub places: Places,
    /// The file with the number of the process.
    pub pid_file: Option<PidFile>,
}

impl Opened {
    /// Opens everything that others may not open, and then becomes who it is to be.
    ///
    /// # Errors
    /// One line that names the option concerned.
    pub fn all(config: &Config) -> Result<Opened, String> {
        let Process { pid_file, user, .. } = &config.process;
        let owner = user.as_ref().map(|user| (user.user, user.group));
        let make = |path: &PathBuf| {
            PidFile::make(path).map_err(|error| format!("--pid-file: {}: {error}", path.display()))
        };
        let pid_file = pid_file.as_ref().map(make).transpose()?;
        let shelf = Shelf::wanted(&config.tls)?;
        let listeners =
            listen::open(&config.listen, owner).map_err(|error| format!("Opening socket failed: {error}"))?;
        let places = places(config, owner)?;
        if let Some(user) = user {
            user.take_on().map_err(|error| format!("--user: {error}"))?;
        }
        // Whoever serves is the one who records.
        if let Some(record) = &config.record {
            record::check(record)?;
        }
        Ok(Opened { shelf, listeners, places, pid_file })
    }
}

/// Opens what takes log lines besides standard error.
fn places(config: &Config, owner: Option<(u32, u32)>) -> Result<Places, String> {
    let file = config.logs.file.as_deref().map(|path| {
        LogFile::open(path, owner).map_err(|error| format!("--log-file: {}: {error}", path.display()))
    });
    let syslog = config.logs.syslog.as_ref().map(|options| {
        Syslog::find(options).map_err(|error| format!("--syslog: {}: {error}", options.server))
    });
    Ok(Places { file: file.transpose()?, syslog: syslog.transpose()? })
}
