//! Configuration files of the peers that want one, as a good operator of one core would write them.
//!
//! Text in, text out. It never writes a file.

use std::path::Path;

/// What a configuration is to say.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Address and port to listen on.
    pub from: &'a str,
    /// Address and port of the target.
    pub to: &'a str,
    /// Certificate and key in one file, if there is to be TLS.
    pub certificate: Option<&'a str>,
    /// Threads or workers.
    pub threads: usize,
    /// Most sessions to expect.
    pub sessions: usize,
}

/// HAProxy in TCP mode with buffers of 64 KiB instead of 16, as nginx has them: fewer calls for a byte, and nothing for a session
/// that rests, since buffers are given back. Everything that is not said is as it comes. With `splice` bytes pass through pipes in the kernel, as large
/// as an ordinary user may make them; always, because `splice-auto` does not find these streams worth it.
pub fn haproxy(wanted: &Wanted<'_>, splice: bool) -> String {
    let Wanted { from, to, certificate, threads, sessions } = wanted;
    let tls = certificate.map(|file| format!(" ssl crt {file} ssl-min-ver TLSv1.3")).unwrap_or_default();
    let (pipes, option) = if splice {
        (
            format!("    maxpipes {PIPES_MAX}\n    tune.pipesize {PIPE_BYTES}\n"),
            "    option splice-request\n    option splice-response\n",
        )
    } else {
        (String::new(), "")
    };
    format!(
        "global\n    nbthread {threads}\n    maxconn {sessions}\n    tune.bufsize {HAPROXY_BUFFER}\n{pipes}\ndefaults\n    mode tcp\n{option}    \
         timeout connect 10s\n    timeout client 300s\n    timeout server 300s\n\nlisten perf\n    \
         bind {from}{tls} backlog 4096\n    server target {to}\n"
    )
}

/// See [`haproxy`].
const HAPROXY_BUFFER: usize = 64 * 1024;
/// Pipes of HAProxy at most, and their size: 64 such pipes are what Linux lets a user have.
const PIPES_MAX: usize = 128;
const PIPE_BYTES: usize = 1024 * 1024;

/// nginx relaying streams: no log. Buffers are 64 KiB instead of 16: fewer calls for a byte, and still little for
/// a session.
pub fn nginx(wanted: &Wanted<'_>, folder: &Path) -> String {
    let Wanted { from, to, certificate, threads, sessions } = wanted;
    let (ssl, tls) = certificate.map_or(("", String::new()), |file| {
        (
            " ssl",
            format!(
                "        ssl_certificate {file};\n        ssl_certificate_key {file};\n        ssl_protocols TLSv1.3;\n        \
                 ssl_session_cache shared:perf:10m;\n        ssl_session_tickets on;\n"
            ),
        )
    });
    // Workers that share one socket let the first to wake up take everybody.
    let apart = if *threads > 1 { " reuseport" } else { "" };
    let connections = 2 * sessions + 200;
    format!(
        "daemon off;\nworker_processes {threads};\nworker_rlimit_nofile {connections};\npid {}/nginx.pid;\nerror_log stderr warn;\n\
         include /usr/share/nginx/modules-available/mod-stream*.conf;\n\
         events {{\n    worker_connections {connections};\n}}\n\nstream {{\n    proxy_buffer_size {NGINX_BUFFER};\n    server {{\n        \
         listen {from}{ssl} backlog=4096{apart};\n{tls}        proxy_pass {to};\n        proxy_timeout 300s;\n    }}\n}}\n",
        folder.display()
    )
}

/// See [`nginx`].
const NGINX_BUFFER: &str = "64k";

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> =
        Wanted { from: "127.0.0.1:1", to: "127.0.0.1:2", certificate: None, threads: 2, sessions: 50 };

    #[test]
    fn splicing_is_said_only_where_it_is_wanted() {
        let (plain, splice) = (haproxy(&WANTED, false), haproxy(&WANTED, true));
        assert!(!plain.contains("splice") && splice.contains("option splice-response"));
        assert!([&plain, &splice].iter().all(|text| text.contains("    tune.bufsize 65536\n")));
        assert!(splice.contains("tune.pipesize 1048576") && splice.contains("nbthread 2"));
    }

    #[test]
    fn certificates_and_workers_are_told() {
        let wanted = Wanted { certificate: Some("/x/y.pem"), ..WANTED };
        assert!(haproxy(&wanted, false).contains(" ssl crt /x/y.pem"));
        let text = nginx(&wanted, Path::new("/scratch"));
        assert!(text.contains("worker_processes 2;") && text.contains("ssl_certificate /x/y.pem;"));
        assert!(text.contains("worker_connections 300;") && text.contains(" reuseport;"));
    }
}
