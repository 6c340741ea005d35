//! What the server says when it starts: one line a setting, on standard error, in websockify's words. Pure.
//!
//! Launchers wait for the `proxying from` line, so its words and blanks are an interface, and it must come only when
//! clients can connect. That is why the banner has two parts.

use crate::config::{Config, Listen};
use crate::http::secure::Plain;
use crate::target::Target;

/// The settings, to be printed before anything is opened.
pub fn settings(config: &Config) -> Vec<String> {
    let mut lines = vec!["WebSocket server settings:".to_owned()];
    lines.push(match &config.listen {
        Listen::Tcp { host, port, .. } => format!("  - Listen on {}:{port}", bracketed(host)),
        Listen::Unix { path, .. } => format!("  - Listen on unix socket {}", path.display()),
    });
    if let Some(web) = &config.web {
        let listings = if web.listings { "" } else { " (no directory listings)" };
        let root = match &config.web_root {
            Some(root) => root.display().to_string(),
            None => "built-in page".to_owned(),
        };
        lines.push(format!("  - Web server{listings}. Web root: {root}"));
    }
    if config.tls.pairs.is_empty() {
        lines.push("  - No SSL/TLS support (no cert file)".to_owned());
    } else {
        lines.push("  - SSL/TLS support".to_owned());
        if config.plain != Plain::Served {
            lines.push("  - Deny non-SSL/TLS connections".to_owned());
        }
    }
    lines
}

/// The line that says that clients can connect, to be printed once they can. `port` is the port that the kernel gave,
/// which differs from the configured one if that is 0; it is not looked at for a Unix socket. The host is printed as it
/// was written: nothing if it was not given. With a wrapped program there is a second line, in websockify's order, though
/// the program runs by then.
pub fn proxying(config: &Config, port: u16) -> String {
    let source = match &config.listen {
        Listen::Tcp { host, .. } => format!("{}:{port}", bracketed(host)),
        Listen::Unix { path, .. } => path.display().to_string(),
    };
    let secure = if config.tls.target.is_some() { " (using SSL)" } else { "" };
    let Some(wrap) = &config.wrap else {
        return format!("  - proxying from {source} to {}{secure}", config.target);
    };
    let command = wrap.shown();
    let place = match &config.target {
        Target::Tcp { port, .. } => format!("port {port}"),
        other => other.to_string(),
    };
    format!("  - proxying from {source} to '{command}' ({place}){secure}\nStarting '{command}'")
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
