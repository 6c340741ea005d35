//! The documents made from the option table: complete, within their columns, accepted by the programs that read them, and
//! for the committed ones up to date. `UPDATE_GENERATED=1 cargo test` writes the committed ones anew.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use websplice::cli::{self, Act, Document, Options, Outcome, TABLE};

fn said(words: &str) -> String {
    let argv = std::iter::once("websplice").chain(words.split_whitespace()).map(OsString::from);
    match cli::dispatch(argv) {
        Outcome::Exit(answer) if answer.status == 0 && answer.err.is_empty() => answer.out,
        other => panic!("{words:?} gives {other:?}"),
    }
}

/// Is the option in the text, and not merely as the beginning of a longer one?
fn names(text: &str, option: &str) -> bool {
    text.match_indices(option).any(|(at, _)| {
        let next = text[at + option.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '\\')
    })
}

#[test]
fn every_option_is_in_every_document() {
    let documents =
        ["-h", "--help", "--generate=bash", "--generate=zsh", "--generate=fish", "--generate=man"];
    for document in documents {
        let text = said(document);
        for opt in TABLE {
            let (long, short) = match document {
                "--generate=fish" => (format!("-l {}", opt.long), opt.short.map(|c| format!("-s {c}"))),
                "--generate=man" => {
                    (format!("\\-\\-{}", opt.long.replace('-', "\\-")), opt.short.map(|c| format!("\\-{c}")))
                }
                _ => (format!("--{}", opt.long), opt.short.map(|c| format!("-{c}"))),
            };
            assert!(names(&text, &long), "{document} lacks {long}");
            assert!(short.as_ref().is_none_or(|short| names(&text, short)), "{document} lacks {short:?}");
        }
    }
}

#[test]
fn every_option_has_its_example_where_it_is_explained() {
    // Broken lines are joined again, as a shell does.
    let help = said("--help").replace(" \\\n", " ");
    let help: Vec<_> =
        help.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let page = said("--generate=man");
    for opt in TABLE {
        let from = help.iter().position(|line| *line == opt.spelled()).expect("it is explained");
        let example = help[from..].iter().find(|line| line.starts_with("Example: ")).expect("it has one");
        assert_eq!(*example, format!("Example: websplice {}", opt.example), "{}", opt.long);
        let (_, text) = page.split_once(&format!(".B {}\n", roff(&opt.spelled()))).expect("it is explained");
        let (text, _) = text.split_once(".TP").unwrap_or((text, ""));
        let example = format!("\nExample:\n.B websplice {}\n", roff(opt.example));
        assert!(text.contains(&example), "{} in the man page:\n{text}", opt.long);
    }
    assert!(!said("-h").contains("Example:"), "one line an option");
}

/// As the man page writes it.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[test]
fn the_first_screen_says_how_to_bridge_novnc() {
    for document in ["-h", "--help"] {
        let text = said(document);
        let screen: Vec<_> = text.lines().take(24).collect();
        for part in ["websplice --web=/usr/share/novnc 6080 localhost:5901", "http://localhost:6080/vnc.html"]
        {
            assert!(screen.iter().any(|line| line.contains(part)), "{document}: {screen:?}");
        }
    }
}

#[test]
fn rows_are_well_formed() {
    for (index, opt) in TABLE.iter().enumerate() {
        let name = opt.long;
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"-".contains(&byte) || byte.is_ascii_digit())
        );
        assert!(TABLE[..index].iter().all(|other| other.long != name), "{name} twice");
        assert!(TABLE[..index].iter().all(|other| opt.short.is_none() || other.short != opt.short), "{name}");
        assert!(opt.brief.len() <= 48 && !opt.brief.ends_with('.'), "{name}: {:?}", opt.brief);
        assert!(opt.detail.ends_with('.'), "{name}: {:?}", opt.detail);
        assert!(!opt.example.contains("  "), "{name}: {:?}", opt.example);
        assert!(names(opt.example, &format!("--{name}")) || opt.short.is_some(), "{name}: {:?}", opt.example);
    }
}

/// What is taken out of the list of processes is only so where that can be done.
#[test]
fn where_secrets_are_hidden_is_said_with_what_is() {
    let told: Vec<_> = TABLE.iter().filter(|opt| opt.detail.contains("list of processes")).collect();
    assert!(told.len() >= 3, "{}", told.len());
    for opt in told {
        let detail = opt.detail;
        let is_precise = detail.contains("on Linux with /proc")
            && detail.contains("elsewhere for as long as the server runs");
        assert!(is_precise, "--{}: {detail}", opt.long);
    }
}

#[test]
fn every_example_is_accepted() {
    for opt in TABLE {
        let argv = std::iter::once("websplice").chain(opt.example.split_whitespace()).map(OsString::from);
        cli::parse(argv).unwrap_or_else(|error| panic!("{}: {error}", opt.example));
    }
    let help = said("--help");
    let examples: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Examples:")
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("    websplice "))
        .collect();
    assert!(examples.len() >= 3);
    for example in examples {
        let argv = std::iter::once("websplice").chain(example.split_whitespace()).map(OsString::from);
        cli::parse(argv).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}

#[test]
fn written_defaults_are_the_defaults() {
    for opt in TABLE.iter().filter(|opt| !opt.default.is_empty() && !opt.default.starts_with('(')) {
        let Act::Take(_, update) = &opt.act else { panic!("{} has a default and no value", opt.long) };
        let mut options = Options::default();
        update(&mut options, opt.default.as_ref())
            .unwrap_or_else(|refusal| panic!("{}: {refusal:?}", opt.long));
        assert_eq!(options, Options::default(), "{}", opt.long);
    }
}

#[test]
fn help_fits_its_columns() {
    for document in ["-h", "--help"] {
        for line in said(document).lines() {
            assert!(line.len() <= 80, "{document}: {line:?}");
            assert_eq!(line, line.trim_end(), "{document}");
        }
    }
    let version = said("--version");
    assert!(version.starts_with(concat!("websplice ", env!("CARGO_PKG_VERSION"))), "{version:?}");
    assert_eq!(version.lines().count(), 1);
}

#[test]
fn the_committed_man_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/websplice.1");
    let page = cli::generate(Document::Man);
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "{} is stale: run UPDATE_GENERATED=1 cargo test", path.display());
}

/// Feeds a text to a program. `None` if the program is not installed.
fn fed(text: &str, program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(text.as_bytes()).expect("the program reads all of it");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends by itself");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said.into_owned()))
}

#[test]
fn the_shells_and_groff_accept_what_is_made() {
    let rows: [(&str, &str, &[&str]); 4] = [
        ("--generate=bash", "bash", &["-n"]),
        ("--generate=zsh", "zsh", &["-n", "/dev/stdin"]),
        ("--generate=fish", "fish", &["--no-execute", "/dev/stdin"]),
        ("--generate=man", "groff", &["-man", "-ww", "-Tutf8", "-z"]),
    ];
    for (document, program, arguments) in rows {
        match fed(&said(document), program, arguments) {
            Some(answer) => assert_eq!(answer, (true, String::new()), "{program}"),
            None => eprintln!("{program} is not installed: {document} not checked"),
        }
    }
}

#[test]
fn bash_completes() {
    let script = said("--generate=bash");
    let rows = [
        ("websplice --engine = r", "3", "ring"),
        ("websplice --engine po", "2", "poll"),
        ("websplice --unix-l", "1", "--unix-listen --unix-listen-mode"),
        ("websplice --generate =", "2", "man bash zsh fish"),
        ("websplice 60", "1", ""),
        ("websplice --threads 1", "2", ""),
    ];
    for (words, index, expected) in rows {
        let test = format!(
            "{script}\nCOMP_WORDS=({words}) COMP_CWORD={index}\n_websplice\necho \"${{COMPREPLY[*]}}\"\n"
        );
        let Some((ok, said)) = fed(&test, "bash", &[]) else { return };
        assert_eq!((ok, said.trim_end()), (true, expected), "{words}");
    }
}
