//! Dates as HTTP writes them: `Fri, 20 Nov 2026 13:46:36 GMT` (RFC 9110 section 5.6.7).
//!
//! Owns the one form that is written today; reading it, and the two obsolete ones that recipients have to know, is
//! `httpdate`'s. It never reads a clock: seconds come in.

use std::time::UNIX_EPOCH;

/// Length of a date in bytes.
pub const BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY_SECONDS: u64 = 86_400;
/// The last second of the year 9999; the form has no room for later ones.
const LAST_SECOND: u64 = 253_402_300_799;

/// `seconds` since 1970 as a date; times beyond the year 9999 become its last second.
pub fn imf(seconds: u64) -> [u8; BYTES] {
    let seconds = seconds.min(LAST_SECOND);
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[((days + 4) % 7) as usize]);
    put(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    put(&mut text[12..16], year);
    put(&mut text[17..19], second / 3600);
    put(&mut text[20..22], second / 60 % 60);
    put(&mut text[23..25], second % 60);
    text
}

/// `seconds` since 1970 as RFC 3339 writes them in UTC, without a fraction and without the final `Z`.
pub fn rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(LAST_SECOND);
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let second = seconds % DAY_SECONDS;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The seconds since 1970 that `text` says in one of the three forms: that of [`imf`], that of RFC 850 with two digits for
/// the year, which are those of 1970 to 2069, and that of `asctime`. `None` when it is no such date, the day of the week is
/// another one, or it is before 1970 or a leap second: for those who compare, such a date counts as absent.
pub fn parse(text: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(str::from_utf8(text).ok()?).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn put(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar. Years are counted from March, so that the leap
/// day is the last one; 400 of them have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_both_ways() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_182_396, "Fri, 20 Nov 2026 13:46:36 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&imf(seconds)).unwrap(), text);
            assert_eq!(parse(text.as_bytes()), Some(seconds), "{text}");
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_returns() {
        for day in 0..365_250 {
            let seconds = day * DAY_SECONDS + 86_399;
            assert_eq!(parse(&imf(seconds)), Some(seconds));
        }
    }

    #[test]
    fn obsolete_forms_are_read() {
        for (seconds, text) in [
            (0, "Thursday, 01-Jan-70 00:00:00 GMT"),
            (0, "Thu Jan  1 00:00:00 1970"),
            (784_111_777, "Sunday, 06-Nov-94 08:49:37 GMT"),
            (784_111_777, "Sun Nov  6 08:49:37 1994"),
            (951_782_400, "Tuesday, 29-Feb-00 00:00:00 GMT"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_795_182_396, "Friday, 20-Nov-26 13:46:36 GMT"),
            (1_795_182_396, "Fri Nov 20 13:46:36 2026"),
            (3_155_759_999, "Tuesday, 31-Dec-69 23:59:59 GMT"),
            (LAST_SECOND, "Fri Dec 31 23:59:59 9999"),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(seconds), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_date() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Xxx, 06 Nov 1994 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Thu, 31 Nov 1994 08:49:37 GMT",
            "Mon, 29 Feb 2100 08:49:37 GMT",
            "Thu, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 CET",
            "Sunday, 06-Nov-94 08:49:37",
            "Sunday, 6-Nov-94 08:49:37 GMT",
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 31-Feb-94 08:49:37 GMT",
            "Wednesday, 06-Nov-94 08:49:37",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov 06 08:49:37 94",
            "Sun Nov  0 08:49:37 1994",
            "Mon Nov  6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 1594",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        // Nor is any piece of one, or bytes that are no text.
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Wednesday, 09-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            for cut in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..cut]), None, "{cut} of {text}");
                let mut broken = text.as_bytes().to_vec();
                broken[cut] = 0xe4;
                assert_eq!(parse(&broken), None, "{cut} of {text}");
            }
        }
    }

    #[test]
    fn beyond_the_last_year_stays_there() {
        assert_eq!(imf(u64::MAX), imf(LAST_SECOND));
    }
}
