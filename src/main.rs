//! The `websplice` binary: hands the command line to the library and exits with what it says.

use std::io::Write;
use std::process::ExitCode;
use websplice::cli::{self, Outcome};
use websplice::sys::process;
use websplice::{server, wrap};

/// Sessions come and go in bursts; mimalloc keeps what they free from scattering over the heap. It measures level with
/// the system's allocator otherwise, and the way of a byte does not allocate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    if let Some(status) = wrap::warden::entry(&argv) {
        return ExitCode::from(status);
    }
    process::blank_arguments(&cli::secrets(&argv));
    match cli::dispatch(argv) {
        Outcome::Run(config) => ExitCode::from(server::run(*config)),
        Outcome::Exit(answer) => {
            // A reader that has closed its end (`websplice --help | head -1`) has what it wants.
            let _ = std::io::stdout().write_all(answer.out.as_bytes());
            let _ = std::io::stderr().write_all(answer.err.as_bytes());
            ExitCode::from(answer.status)
        }
    }
}
