//! `-h`, `--help` and the usage text of errors: walks of the option table with prose around them. Pure.
//!
//! Every line fits 80 columns. Owns the prose that is not about one option (forms, examples, exit statuses), which the man
//! page shows too.

use super::option::{Category, Opt};
use super::table::TABLE;

/// What the program is, in one line.
pub const SUMMARY: &str = "Carries WebSocket clients to TCP and Unix sockets.";

/// What it does, in paragraphs.
pub const DESCRIPTION: &str = "Browsers can only speak WebSocket. This server accepts them on source_port and carries \
    their bytes to a target that speaks plain TCP, such as a VNC server, and back.\n\n\
    Options and words may stand in any order. Long options take --name=value or --name value and may be shortened as \
    long as they stay unambiguous; short ones may be joined. Without source_addr it listens on all interfaces; port 0 \
    takes any free port, and the start messages name it. A target port may be the name of a service. IPv6 addresses \
    are written in brackets: [::1]:6080. An empty target_addr is this machine.\n\n\
    Called as websockify or run it behaves as its namesake in two matters: --lenient-handshake is on, and directories \
    of --web are listed.";

/// What most come for: a line before the command line, its words without the program's name, and a line behind it.
const START: (&str, &str, &str) = (
    "To show a VNC desktop in a browser, with noVNC in /usr/share/novnc:",
    "--web=/usr/share/novnc 6080 localhost:5901",
    "and open http://localhost:6080/vnc.html in the browser.",
);

/// The forms of a command line, without the program's name.
pub const FORMS: [&str; 6] = [
    "[options] [source_addr:]source_port target_addr:target_port",
    "[options] --unix-target=FILE [source_addr:]source_port",
    "[options] --token-plugin=CLASS [source_addr:]source_port",
    "[options] --echo [source_addr:]source_port",
    "[options] --unix-listen=FILE target_addr:target_port",
    "[options] [source_addr:]source_port -- COMMAND [ARGUMENTS]",
];

/// Command lines worth knowing, without the program's name, and what they are for.
pub const EXAMPLES: [(&str, &str); 6] = [
    ("6080 localhost:5901", "carry clients of port 6080 to a VNC server"),
    ("--web=/usr/share/novnc 6080 localhost:5901", "the same, and serve noVNC on that port"),
    ("--web=builtin: --echo 127.0.0.1:6080", "try it in a browser, without a target"),
    ("--unix-target=/run/vnc.sock [::1]:6080", "IPv6 only, to a Unix socket"),
    ("--unix-listen=/run/ws.sock 10.0.0.7:5900", "behind a web server on this machine"),
    ("5901 --wrap-mode=ignore -- vncserver :1", "start the VNC server too, and take its port"),
];

/// Exit statuses and what they mean.
pub const STATUSES: [(&str, &str); 5] = [
    ("0", "stopped by SIGTERM or SIGINT, or what was asked for has been shown"),
    ("1", "could not start, or failed"),
    ("2", "the command line makes no sense"),
    ("78", "--check has found something wrong"),
    ("N", "the wrapped program has ended with N, or by signal N - 128"),
];

const COLUMNS: usize = 80;
/// Where the text of an option starts in `-h`.
const BRIEF_COLUMN: usize = 31;

/// The forms of a command line, with a final line end.
pub fn usage(program: &str) -> String {
    let mut out = String::from("Usage:\n");
    for form in FORMS {
        out += &format!("    {program} {form}\n");
    }
    out
}

/// `-h`: one line an option.
pub fn short(program: &str) -> String {
    let mut out = format!("{SUMMARY}\n\n{}\n{}", usage(program), start(program));
    for category in Category::ALL {
        out += &format!("\n{}:\n", category.heading());
        for opt in of(category) {
            out += &brief_line(opt);
        }
    }
    out + "\nDefaults, details and an example for each option: --help\n"
}

/// What most come for.
fn start(program: &str) -> String {
    let (before, line, behind) = START;
    format!("{before}\n    {program} {line}\n{behind}\n")
}

/// `--help`: everything.
pub fn long(program: &str) -> String {
    let mut out = format!("{}\n{SUMMARY}\n\n{}\n{}\n", super::version(), usage(program), start(program));
    out += &paragraphs(DESCRIPTION, 0);
    out += "\nExamples:\n";
    for (line, purpose) in EXAMPLES {
        out += &format!("    {program} {line}\n        {purpose}\n");
    }
    for category in Category::ALL {
        out += &format!("\n{}:\n", category.heading());
        for (index, opt) in of(category).enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            let text = paragraphs(&full_text(opt), 6);
            out += &format!("{gap}  {}\n{text}\n{}", opt.spelled(), example(program, opt, 6));
        }
    }
    out += "\nExit status:\n";
    for (status, meaning) in STATUSES {
        out += &format!("  {status:<4}{meaning}\n");
    }
    out
}

/// The options of a category, in the order of the table.
pub fn of(category: Category) -> impl Iterator<Item = &'static Opt> {
    TABLE.iter().filter(move |opt| opt.category == category)
}

/// What there is to know about an option: what it is for, its detail, its values and its default, in paragraphs.
pub fn full_text(opt: &Opt) -> String {
    let mut brief = opt.brief.chars();
    let first: String = brief.next().into_iter().flat_map(char::to_uppercase).collect();
    let mut out = format!("{first}{}.\n\n{}", brief.as_str(), opt.detail);
    if let Some(value) = opt.value().filter(|value| !value.choices.is_empty()) {
        out += &format!("\n\n{} is one of: {}.", value.word, value.choices.join(", "));
    }
    match opt.default.strip_prefix('(').and_then(|default| default.strip_suffix(')')) {
        Some(default) => out += &format!("\n\nDefault: {default}."),
        None if !opt.default.is_empty() => out += &format!("\n\nDefault: {}", opt.default),
        None => {}
    }
    out
}

/// The example of an option, to be copied into a shell as it is: where it is broken stands a backslash.
fn example(program: &str, opt: &Opt, indent: usize) -> String {
    let mut out = format!("{:indent$}Example: {program}", "");
    let mut column = out.len();
    for word in opt.example.split(' ') {
        // A blank in front and, if another line follows, one with a backslash behind.
        if column + word.len() + 3 > COLUMNS {
            let margin = indent + 4;
            out += &format!(" \\\n{:margin$}{word}", "");
            column = margin + word.len();
        } else {
            out += &format!(" {word}");
            column += word.len() + 1;
        }
    }
    out + "\n"
}

fn brief_line(opt: &Opt) -> String {
    let indent = if opt.short.is_some() { "" } else { "    " };
    let left = format!("  {indent}{}", opt.spelled());
    format!("{left:<BRIEF_COLUMN$} {}\n", opt.brief)
}

/// Text in paragraphs, wrapped and indented, an empty line between two.
fn paragraphs(text: &str, indent: usize) -> String {
    let wrapped: Vec<_> = text.split("\n\n").map(|paragraph| wrap(paragraph, indent)).collect();
    wrapped.join("\n")
}

fn wrap(paragraph: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut out = String::new();
    let mut line = margin.clone();
    for word in paragraph.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS && line.len() > indent {
            out += &format!("{line}\n");
            line.clone_from(&margin);
        }
        if line.len() > indent {
            line.push(' ');
        }
        line += word;
    }
    out + &line + "\n"
}
