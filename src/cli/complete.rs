//! Completions for bash, zsh and fish: walks of the option table. Pure.
//!
//! Each script is complete in itself, for a packager to install or a user to source. Values that only the user can know,
//! such as ports, are left to the user.

use super::option::{Complete, Opt, Value};
use super::table::TABLE;

const NAME: &str = env!("CARGO_PKG_NAME");

/// For bash 4 and later, with or without the bash-completion package.
pub fn bash() -> String {
    let mut arms = String::new();
    for opt in TABLE {
        let Some(value) = opt.value() else { continue };
        let body = match value.complete {
            Complete::Files => {
                "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")".to_owned()
            }
            Complete::Directories => {
                "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")".into()
            }
            Complete::Choices if value.choices.is_empty() => ":".into(),
            Complete::Choices => {
                format!("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$cur\")", value.choices.join(" "))
            }
        };
        arms += &format!("    --{})\n        {body}\n        return\n        ;;\n", opt.long);
    }
    let names: Vec<_> = TABLE.iter().flat_map(spellings).collect();
    BASH.replace("@ARMS@", &arms).replace("@NAMES@", &names.join(" ")).replace("@NAME@", NAME)
}

/// bash splits `--name=value` at the equals sign into three words; the script puts them together again.
const BASH: &str = r#"# Completions of @NAME@ for bash; made by "@NAME@ --generate=bash".
_@NAME@() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = && $COMP_CWORD -gt 1 ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
@ARMS@    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '@NAMES@' -- "$cur")
    fi
}
complete -F _@NAME@ @NAME@
"#;

/// For zsh, as a file `_websplice` in `$fpath`.
pub fn zsh() -> String {
    let mut out =
        format!("#compdef {NAME}\n# Completions of {NAME} for zsh; made by \"{NAME} --generate=zsh\".\n");
    out += "_arguments -s -S \\\n";
    for opt in TABLE {
        let text = format!("[{}]{}", zsh_escape(opt.brief), zsh_value(opt.value()));
        let equals = if opt.value().is_some() { "=" } else { "" };
        let many = if opt.value().is_some_and(|value| value.repeats) { "*" } else { "" };
        out += &match opt.short {
            Some(short) => {
                let long = opt.long;
                format!("    '(-{short} --{long})'{{-{short},--{long}{equals}}}'{text}' \\\n")
            }
            None => format!("    '{many}--{}{equals}{text}' \\\n", opt.long),
        };
    }
    out + "    '1:[source_addr\\:]source_port: ' \\\n    '2:target_addr\\:target_port: '\n"
}

fn zsh_value(value: Option<&Value>) -> String {
    let Some(value) = value else { return String::new() };
    let action = match value.complete {
        Complete::Files => "_files".to_owned(),
        Complete::Directories => "_files -/".into(),
        Complete::Choices if value.choices.is_empty() => " ".into(),
        Complete::Choices => format!("({})", value.choices.join(" ")),
    };
    format!(":{}:{action}", value.word)
}

fn zsh_escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
        .replace('\'', "'\\''")
}

/// For fish, as a file in one of its completion directories.
pub fn fish() -> String {
    let mut out = format!("# Completions of {NAME} for fish; made by \"{NAME} --generate=fish\".\n");
    out += &format!("complete -c {NAME} -f\n");
    for opt in TABLE {
        let short = opt.short.map(|short| format!(" -s {short}")).unwrap_or_default();
        let value = match opt.value() {
            None => String::new(),
            Some(Value { complete: Complete::Files, .. }) => " -r -F".into(),
            Some(Value { complete: Complete::Directories, .. }) => {
                " -x -a '(__fish_complete_directories)'".into()
            }
            Some(Value { choices: [], .. }) => " -x".into(),
            Some(Value { choices, .. }) => format!(" -x -a '{}'", choices.join(" ")),
        };
        let brief = opt.brief.replace('\\', "\\\\").replace('\'', "\\'");
        out += &format!("complete -c {NAME}{short} -l {}{value} -d '{brief}'\n", opt.long);
    }
    out
}

/// Its names with dashes, the long one first.
fn spellings(opt: &Opt) -> impl Iterator<Item = String> {
    [Some(format!("--{}", opt.long)), opt.short.map(|short| format!("-{short}"))].into_iter().flatten()
}
