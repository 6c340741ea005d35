//! The table of instruction counts: that it is read as it is written, and that it judges. The counting itself is `make counts`.

#[path = "../benches/counts/table.rs"]
mod table;

use table::{TOLERANCE, Table, Verdict, collected, is_ci};

fn sample() -> Table {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Table {
        surroundings: vec![pair("compiler", "rustc 1.0"), pair("processor", "x86_64 with AVX2")],
        counts: vec![("ws/header".to_owned(), 20.0), ("http/scan".to_owned(), 1000.0)],
    }
}

#[test]
fn a_table_is_read_as_it_was_written() {
    assert_eq!(Table::parse(&sample().text()), Ok(sample()));
    assert!(Table::parse("http/scan 1000").is_err());
    assert!(Table::parse("http/scan\tmany").is_err());
}

#[test]
fn the_table_of_the_project_is_readable() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.tsv")).expect("a table");
    let table = Table::parse(&text).expect("a right one");
    assert!(table.counts.len() > 5 && table.counts.iter().all(|(_, count)| *count > 0.0));
    assert_eq!(table.surroundings.len(), 3);
}

#[test]
fn counts_beyond_the_tolerance_are_told() {
    let table = sample();
    let says = |counted: f64| table.verdict("http/scan", counted);
    assert_eq!(says(1000.0 * (1.0 + TOLERANCE)), Verdict::Same);
    assert!(
        matches!(says(1040.0), Verdict::Dearer(before, share) if before == 1000.0 && (share - 0.04).abs() < 1e-9)
    );
    assert!(matches!(says(950.0), Verdict::Cheaper(..)));
    assert_eq!(says(1040.0).to_string(), "+4.0 % (was 1000.0)");
    assert_eq!(table.verdict("ws/header", 22.0), Verdict::Same, "two instructions are no change");
    assert!(matches!(table.verdict("ws/header", 23.0), Verdict::Dearer(..)));
    assert_eq!(table.verdict("new", 1.0), Verdict::Unknown);
}

#[test]
fn other_surroundings_are_named() {
    let table = sample();
    assert!(table.differs(&table.surroundings).is_empty());
    let mut here = sample().surroundings;
    here[0].1 = "rustc 2.0".to_owned();
    assert_eq!(table.differs(&here), ["the table is for compiler 'rustc 1.0', and here it is 'rustc 2.0'"]);
    here.remove(1);
    let said = table.differs(&here);
    assert_eq!((said.len(), said[1].ends_with("here it is 'unknown'")), (2, true), "{said:?}");
}

#[test]
fn a_missing_tool_is_an_error_where_ci_is_set() {
    let said = |value: &str| is_ci(Some(value.as_ref()));
    assert!(said("true") && said("1") && said("yes"));
    assert!(!said("") && !said("false") && !said("0") && !is_ci(None));
}

#[test]
fn what_callgrind_says_is_found() {
    assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 123456\n==7==\n"), Some(123_456));
    assert_eq!(collected("==7== nothing"), None);
}
