//! Instructions, counted: what one run of each pure piece costs, held against a table.
//!
//! Time depends on who else uses the machine; the number of instructions does not, so this guards where `make bench` cannot. Each
//! case runs under valgrind's callgrind twice, with few and with many rounds, and what the second needs more is what the
//! rounds cost: start, set-up and end fall out. Compilers, processors and C libraries move the numbers, so the table says
//! for which it was written, and with others nothing is judged. Without valgrind nothing can be counted: at the desk that
//! is said, and where the variable CI is set it is an error, or the guard would be gone without anybody seeing it.

#[path = "counts/cases.rs"]
mod cases;
#[path = "samples/frames.rs"]
mod frames;
#[path = "samples/request.rs"]
mod request;
#[path = "counts/table.rs"]
mod table;

use std::env;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

use cases::CASES;
use table::{Table, Verdict};

/// Where the table is, from the root of the project.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.tsv");
/// Rounds of the two runs of a case.
const FEW: u64 = 20;
const MANY: u64 = 120;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["--run", case, rounds] => run(case, rounds),
        ["--bless"] => bless(),
        // `cargo bench -- FILTER` means the others.
        _ => check(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one case, to be counted from outside.
fn run(name: &str, rounds: &str) -> Result<(), String> {
    let case = CASES.iter().find(|case| case.name == name).ok_or("no such case")?;
    (case.run)(rounds.parse().map_err(|_| "rounds are a number")?);
    Ok(())
}

fn check() -> Result<(), String> {
    let text = fs::read_to_string(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    let table = Table::parse(&text)?;
    let here = surroundings();
    if !Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        let told = "nothing was judged: valgrind is missing (apt install valgrind)";
        if table::is_ci(env::var_os("CI").as_deref()) {
            return Err(format!("{told}; where CI is set, that is an error"));
        }
        println!("counts: SKIPPED, {told}");
        return Ok(());
    }
    let different = table.differs(&here);
    if !different.is_empty() {
        println!(
            "counts: SKIPPED, nothing was judged, because {}; `make counts BLESS=1` writes the table anew",
            different.join("; ")
        );
        return Ok(());
    }
    let mut worse = Vec::new();
    for case in &CASES {
        let counted = count(case.name)?;
        let verdict = table.verdict(case.name, counted);
        println!("{:<28} {counted:>10.1}  {verdict}", case.name);
        if !matches!(verdict, Verdict::Same) {
            worse.push(format!("{}: {verdict}", case.name));
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nIf that is meant, say why in the commit and write the table anew: make counts BLESS=1",
        worse.join("\n")
    ))
}

fn bless() -> Result<(), String> {
    let mut counts = Vec::new();
    for case in &CASES {
        let counted = count(case.name)?;
        println!("{:<28} {counted:>10.1}", case.name);
        counts.push((case.name.to_owned(), counted));
    }
    let table = Table { surroundings: surroundings(), counts };
    fs::write(TABLE, table.text()).map_err(|error| format!("{TABLE}: {error}"))
}

/// Instructions of one round of a case.
fn count(name: &str) -> Result<f64, String> {
    let [few, many] = [FEW, MANY].map(|rounds| instructions(name, rounds));
    Ok((many? as f64 - few? as f64) / (MANY - FEW) as f64)
}

/// Instructions of a whole run.
fn instructions(name: &str, rounds: u64) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--run", name, &rounds.to_string()])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name}: valgrind ended with {}:\n{said}", output.status));
    }
    table::collected(&said).ok_or_else(|| format!("{name}: valgrind did not say what it collected:\n{said}"))
}

/// What moves the numbers and is not ours: the compiler, the processor's extensions that are chosen at run time, the C library.
fn surroundings() -> Vec<(String, String)> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
    };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let avx2 = info.lines().any(|line| line.starts_with("flags") && line.contains(" avx2"));
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    vec![
        ("compiler".into(), said(&compiler, &["--version"])),
        ("processor".into(), format!("{}{}", env::consts::ARCH, if avx2 { " with AVX2" } else { "" })),
        ("C library".into(), said("getconf", &["GNU_LIBC_VERSION"])),
    ]
}
