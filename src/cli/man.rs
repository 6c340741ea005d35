//! The man page, section 1, in roff: a walk of the option table with prose around it. Pure.
//!
//! It carries the version but neither commit nor date, so that the same sources always give the same page.

use super::help::{DESCRIPTION, EXAMPLES, FORMS, STATUSES, SUMMARY, full_text, of};
use super::option::Category;

const NAME: &str = env!("CARGO_PKG_NAME");

/// The whole page.
pub fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = String::from(".\\\" Made by \"websplice --generate=man\"; do not edit.\n");
    out +=
        &format!(".TH {} 1 \"\" \"{NAME} {version}\" \"User Commands\"\n.nh\n.ad l\n", NAME.to_uppercase());
    out += &format!(".SH NAME\n{NAME} \\- {}\n", escape(&lowered(SUMMARY)));
    out += ".SH SYNOPSIS\n";
    for (index, form) in FORMS.iter().enumerate() {
        let gap = if index == 0 { "" } else { ".br\n" };
        out += &format!("{gap}.B {NAME}\n{}\n", escape(form));
    }
    out += &format!(".SH DESCRIPTION\n{}", paragraphs(DESCRIPTION, ".PP\n"));
    out += ".SH OPTIONS\n";
    for category in Category::ALL {
        out += &format!(".SS {}\n", category.heading());
        for opt in of(category) {
            out += &format!(".TP\n.B {}\n{}", escape(&opt.spelled()), paragraphs(&full_text(opt), ".sp\n"));
            out += &format!(".sp\nExample:\n.B {NAME} {}\n", escape(opt.example));
        }
    }
    out += ".SH EXIT STATUS\n";
    for (status, meaning) in STATUSES {
        out += &format!(".TP\n.B {status}\n{}\n", escape(meaning));
    }
    out += ".SH EXAMPLES\n";
    for (line, purpose) in EXAMPLES {
        out += &format!(".TP\n.B {NAME} {}\n{}\n", escape(line), escape(purpose));
    }
    out + ".SH SEE ALSO\n.BR Xtigervnc (1),\n.BR io_uring (7),\n.BR unix (7)\n"
}

/// The summary as a phrase: no capital in front, no full stop behind.
fn lowered(sentence: &str) -> String {
    let mut chars = sentence.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

fn paragraphs(text: &str, between: &str) -> String {
    let escaped: Vec<_> = text.split("\n\n").map(|paragraph| escape(paragraph) + "\n").collect();
    escaped.join(between)
}

/// Text that roff leaves alone: a hyphen that can be copied, no escapes, no line that looks like a request.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}
