//! Cipher suites by their OpenSSL names: which there are, in which order, and what a cipher string picks from them.
//!
//! Owns the one list of suites. All of them are AEADs with forward secrecy, and there is no way to get another. It never
//! decides which versions are spoken.

use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite, its OpenSSL name, and the OpenSSL class words that contain it.
struct Row {
    name: &'static str,
    suite: SupportedCipherSuite,
    classes: &'static [&'static str],
}

/// All suites, best first: AES-128 costs a tenth less than AES-256 where the CPU has AES, and ChaCha20 six times more.
static ROWS: [Row; 9] = [
    Row { name: "TLS_AES_128_GCM_SHA256", suite: suite::TLS13_AES_128_GCM_SHA256, classes: &[] },
    Row { name: "TLS_AES_256_GCM_SHA384", suite: suite::TLS13_AES_256_GCM_SHA384, classes: &[] },
    Row { name: "TLS_CHACHA20_POLY1305_SHA256", suite: suite::TLS13_CHACHA20_POLY1305_SHA256, classes: &[] },
    Row {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        classes: &["ECDSA", "aECDSA", "AESGCM", "AES", "AES128", "SHA256"],
    },
    Row {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        classes: &["aRSA", "AESGCM", "AES", "AES128", "SHA256"],
    },
    Row {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        classes: &["ECDSA", "aECDSA", "AESGCM", "AES", "AES256", "SHA384"],
    },
    Row {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        classes: &["aRSA", "AESGCM", "AES", "AES256", "SHA384"],
    },
    Row {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        classes: &["ECDSA", "aECDSA", "CHACHA20"],
    },
    Row {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        classes: &["aRSA", "CHACHA20"],
    },
];

/// Classes that contain every suite of TLS 1.2 here.
const WIDE: [&str; 9] = ["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "FIPS", "TLSv1.2"];

/// Words of OpenSSL that name nothing here, alone or as parts of a suite's name: old ciphers, and key exchanges without
/// forward secrecy or certificates.
#[rustfmt::skip]
const ABSENT: [&str; 93] = [
    "3DES", "ADH", "AECDH", "AES128CCM", "AES256CCM", "AESCBC", "AESCCM", "AESCCM8", "ARIA", "ARIA128", "ARIA256",
    "ARIAGCM", "CAMELLIA", "CAMELLIA128", "CAMELLIA256", "CBC", "CBC3", "CCM", "CCM8", "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT", "DES", "DH", "DHE", "DSS", "ECDH", "EDH", "EXP", "EXPORT", "EXPORT40", "EXPORT56", "GOST89MAC",
    "GOST94", "IDEA", "LOW", "MD5", "MEDIUM", "NULL", "PSK", "RC2", "RC4", "RSA", "SEED", "SHA", "SHA1", "SRP", "SSLv2",
    "SSLv3", "SUITEB128", "SUITEB192", "TLSv1", "TLSv1.0", "aDH", "aDSS", "aECDH", "aGOST", "aNULL", "aPSK", "aSRP", "eNULL",
    "kDH", "kDHE", "kDHEPSK", "kECDH", "kECDHEPSK", "kECDHe", "kECDHr", "kEDH", "kGOST", "kPSK", "kRSA", "kRSAPSK", "kSRP",
    "GCM", "POLY1305", "DES-CBC3-SHA",
    // Names that only OpenSSL's past knows, and that old lists still carry, mostly to exclude them.
    "DES40", "EXP1024", "FZA", "GOST12", "GOST2001", "GOST2012", "GOST89", "GOST8912", "KRB5", "aFZA", "aGOST01",
    "aGOST12", "aKRB5", "eFZA", "kFZA", "kGOST18", "kKRB5",
];

/// Parts of names that begin with `SRP-`. In all others they would be a slip of the pen, and nothing banned by it.
const OF_SRP: [&str; 4] = ["128", "256", "AES", "EDE"];

/// The OpenSSL name of a suite that is offered here.
pub(super) fn name_of(suite: CipherSuite) -> Option<&'static str> {
    ROWS.iter().find(|row| row.suite.suite() == suite).map(|row| row.name)
}

/// All suites, in our order.
pub(super) fn all() -> Vec<SupportedCipherSuite> {
    ROWS.iter().map(|row| row.suite).collect()
}

/// What an OpenSSL cipher string picks, in its order. Suites of TLS 1.3 stay on unless some of them are named.
///
/// # Errors
/// When a word is unknown, or nothing is picked: a line that lists what there is.
pub fn parse(list: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut picked: Vec<&Row> = Vec::new();
    let mut banned: Vec<&Row> = Vec::new();
    for word in list.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
        if word == "@STRENGTH" || word.starts_with("@SECLEVEL=") {
            continue;
        }
        let (operator, pattern) = match word.as_bytes()[0] {
            operator @ (b'!' | b'-' | b'+') => (operator, &word[1..]),
            _ => (b' ', word),
        };
        let rows = matching(pattern).ok_or_else(|| format!("unknown cipher \"{pattern}\"; {}", known()))?;
        let is_named = |row: &&Row| rows.iter().any(|named| named.name == row.name);
        match operator {
            b' ' => {
                for row in &rows {
                    let is_row = |other: &&Row| other.name == row.name;
                    if !picked.iter().any(is_row) && !banned.iter().any(is_row) {
                        picked.push(row);
                    }
                }
            }
            b'+' => {
                let (moved, stay): (Vec<&Row>, Vec<&Row>) = picked.into_iter().partition(is_named);
                picked = stay.into_iter().chain(moved).collect();
            }
            _ => {
                picked.retain(|row| !is_named(row));
                if operator == b'!' {
                    banned.extend(&rows);
                }
            }
        }
    }
    if picked.is_empty() {
        return Err(format!("\"{list}\" leaves no cipher; {}", known()));
    }
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    if !picked.iter().any(|row| is_tls13(row)) {
        let allowed = |row: &&Row| is_tls13(row) && !banned.iter().any(|other| other.name == row.name);
        suites.extend(ROWS.iter().filter(allowed).map(|row| row.suite));
    }
    suites.extend(picked.iter().map(|row| row.suite));
    Ok(suites)
}

/// The rows that a name or a class, or several joined by `+`, stands for; `None` when OpenSSL knows no such word either.
fn matching(pattern: &str) -> Option<Vec<&'static Row>> {
    let mut rows: Vec<&Row> = ROWS.iter().collect();
    for word in pattern.split('+') {
        let is_srp = word.starts_with("SRP-");
        let is_absent = |part: &str| ABSENT.contains(&part);
        let may_stand = |part| is_absent(part) || is_part(part) || (is_srp && OF_SRP.contains(&part));
        if rows_contain(word) {
            rows.retain(|row| stands_for(word, row));
        } else if is_absent(word) || (word.contains('-') && word.split('-').all(may_stand)) {
            rows.clear();
        } else {
            return None;
        }
    }
    Some(rows)
}

fn rows_contain(word: &str) -> bool {
    ROWS.iter().any(|row| stands_for(word, row))
}

fn stands_for(word: &str, row: &Row) -> bool {
    row.name == word || row.classes.contains(&word) || (WIDE.contains(&word) && !is_tls13(row))
}

/// Whether `part` stands between the hyphens of a name that we do offer, so that it may in one that we do not.
fn is_part(part: &str) -> bool {
    ROWS.iter().any(|row| row.name.split('-').any(|known| known == part))
}

fn is_tls13(row: &Row) -> bool {
    row.classes.is_empty()
}

fn known() -> String {
    let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    format!("known are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        parse(list)
            .unwrap()
            .iter()
            .filter_map(|suite| name_of(suite.suite()))
            .skip_while(|n| n.starts_with("TLS_"))
            .collect()
    }

    #[test]
    fn cipher_strings_pick_as_openssl_does() {
        assert_eq!(names("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(names("ECDHE-RSA-AES256-GCM-SHA384"), ["ECDHE-RSA-AES256-GCM-SHA384"]);
        assert_eq!(names("EECDH+CHACHA20:!aRSA"), ["ECDHE-ECDSA-CHACHA20-POLY1305"]);
        assert_eq!(names("ECDHE+AESGCM+aRSA:-AES128"), ["ECDHE-RSA-AES256-GCM-SHA384"]);
        assert_eq!(
            names("ALL:!ECDSA:+AES128@STRENGTH".trim_end_matches("@STRENGTH"))[0],
            "ECDHE-RSA-AES256-GCM-SHA384"
        );
        assert_eq!(
            names("DHE-RSA-AES128-GCM-SHA256:AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=2"),
            ["ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(names("!CHACHA20:ALL").len(), 4);
        for old in [
            "!KRB5-DES-CBC3-SHA",
            "!kKRB5",
            "EXP1024-DES-CBC-SHA",
            "SRP-RSA-AES-128-CBC-SHA",
            "!SRP-DSS-3DES-EDE-CBC-SHA",
            "-GOST2012-GOST8912-GOST8912",
        ] {
            assert_eq!(names(&format!("HIGH:{old}")).len(), 6, "{old}");
        }
        assert_eq!(parse("ALL").unwrap().len(), 9);
        assert_eq!(parse("TLS_AES_128_GCM_SHA256").unwrap().len(), 1);
        assert_eq!(all().len(), 9);
    }

    #[test]
    fn nonsense_and_nothing_are_refused_with_what_there_is() {
        for (list, word) in [
            ("HIHG", "\"HIHG\""),
            ("ALL:ECDHE-RSA-AES128-GMC-SHA256", "GMC"),
            ("ALL:!NOPE", "\"NOPE\""),
            ("HIGH:!ECDHE-RSA-AES-256-GCM-SHA384", "\"ECDHE-RSA-AES-256-GCM-SHA384\""),
            ("HIGH:!256", "\"256\""),
        ] {
            let error = parse(list).unwrap_err();
            assert!(error.contains(word) && error.contains("ECDHE-RSA-AES128-GCM-SHA256"), "{error}");
        }
        for list in ["", ":", "RC4", "HIGH:!ALL", "kRSA+AES", "!ALL"] {
            let error = parse(list).unwrap_err();
            assert!(error.contains("leaves no cipher"), "{list}: {error}");
        }
    }
}
