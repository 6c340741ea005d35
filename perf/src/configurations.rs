//! Configuration files of the peers that want one, as a good operator of one core would write them.
//!
//! Text in, text out. It never writes a file.

use std::path::Path;

/// Most sessions a peer is told to expect.
const SESSIONS_MAX: usize = 6000;

/// HAProxy in TCP mode: one thread, everything else as it comes.
pub fn haproxy(from: &str, to: &str, certificate: Option<&str>) -> String {
    let tls = certificate.map(|file| format!(" ssl crt {file} ssl-min-ver TLSv1.3")).unwrap_or_default();
    format!(
        "global\n    nbthread 1\n    maxconn {SESSIONS_MAX}\n\ndefaults\n    mode tcp\n    timeout connect 10s\n    \
         timeout client 300s\n    timeout server 300s\n\nlisten perf\n    bind {from}{tls}\n    server target {to}\n"
    )
}

/// nginx relaying streams: one worker, no log. Buffers are 64 KiB instead of 16: fewer calls for a byte, and still little for
/// a session.
pub fn nginx(from: &str, to: &str, certificate: Option<&str>, folder: &Path) -> String {
    let (ssl, tls) = certificate.map_or(("", String::new()), |file| {
        (
            " ssl",
            format!(
                "        ssl_certificate {file};\n        ssl_certificate_key {file};\n        ssl_protocols TLSv1.3;\n        \
                 ssl_session_cache shared:perf:10m;\n        ssl_session_tickets on;\n"
            ),
        )
    });
    let connections = 2 * SESSIONS_MAX + 1000;
    format!(
        "daemon off;\nworker_processes 1;\nworker_rlimit_nofile {connections};\npid {}/nginx.pid;\nerror_log stderr warn;\n\
         include /usr/share/nginx/modules-available/mod-stream*.conf;\n\
         events {{\n    worker_connections {connections};\n}}\n\nstream {{\n    proxy_buffer_size {NGINX_BUFFER};\n    server {{\n        \
         listen {from}{ssl} backlog=4096;\n{tls}        proxy_pass {to};\n        proxy_timeout 300s;\n    }}\n}}\n",
        folder.display()
    )
}

/// See [`nginx`].
const NGINX_BUFFER: &str = "64k";
