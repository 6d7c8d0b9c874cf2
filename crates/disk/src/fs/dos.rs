//! Dates and names as DOS and Windows keep them.

use super::Time;

/// A date in the upper and a time in the lower half, to two seconds, and hundredths of a second beside it. `None`
/// where there is no such date.
pub(super) fn time(date: u16, time: u16, hundredths: u8) -> Option<Time> {
    let (year, month, day) = (i64::from(date >> 9), (date >> 5) & 0xF, i64::from(date & 0x1F));
    let (hour, minute, second) =
        (i64::from(time >> 11), i64::from((time >> 5) & 0x3F), i64::from(time & 0x1F));
    // Days before each month, counted from March, so that the day of a leap year comes last.
    let before = match month {
        3 => 0,
        4 => 31,
        5 => 61,
        6 => 92,
        7 => 122,
        8 => 153,
        9 => 184,
        10 => 214,
        11 => 245,
        12 => 275,
        1 => 306,
        2 => 337,
        _ => return None,
    };
    if day == 0 || hour > 23 || minute > 59 || second > 29 {
        return None;
    }
    // Until 2100 every fourth year is one; `year` counts from 1980 and ends at 2107.
    let year = year.saturating_sub(i64::from(month < 3));
    let leap = (year.saturating_add(4) / 4).saturating_sub(i64::from(year >= 120));
    /// From 1970 to the last of February 1980, one day less because days count from 1.
    const START: i64 = 3652 + 31 + 28;
    let days = year.saturating_mul(365).saturating_add(leap).saturating_add(before);
    let days = days.saturating_add(day).saturating_add(START).saturating_sub(1);
    let seconds = hour.saturating_mul(3600).saturating_add(minute.saturating_mul(60));
    let seconds =
        seconds.saturating_add(second.saturating_mul(2)).saturating_add(i64::from(hundredths / 100));
    let nanos = u32::from(hundredths % 100).saturating_mul(10_000_000);
    Some(Time { seconds: days.saturating_mul(86_400).saturating_add(seconds), nanos })
}

/// UTF-16 as UTF-8; what is no text keeps its bytes, as WTF-8.
pub(crate) fn name(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut name = vec![];
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(c) => name.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => {
                let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                let middle = ((high & 0x0F) << 2) | (low >> 6);
                name.extend_from_slice(&[0xE0 | (high >> 4), 0x80 | middle, 0x80 | (low & 0x3F)]);
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against what `date -d ... +%s` says.
    #[test]
    fn dates() {
        let at = |y: u16, m: u16, d: u16| time((y - 1980) << 9 | m << 5 | d, 0, 0).map(|time| time.seconds);
        for (y, m, d, seconds) in [
            (1980, 1, 1, 315_532_800),
            (1980, 2, 29, 320_630_400),
            (1980, 3, 1, 320_716_800),
            (1999, 12, 31, 946_598_400),
            (2000, 2, 29, 951_782_400),
            (2024, 2, 29, 1_709_164_800),
            (2026, 11, 27, 1_795_737_600),
            (2100, 2, 28, 4_107_456_000),
            (2100, 3, 1, 4_107_542_400),
            (2101, 1, 1, 4_133_980_800),
            (2107, 12, 31, 4_354_732_800),
        ] {
            assert_eq!(at(y, m, d), Some(seconds), "{y}-{m}-{d}");
        }
        let late = time((2026 - 1980) << 9 | 11 << 5 | 27, 23 << 11 | 59 << 5 | 29, 199).unwrap();
        assert_eq!(late, Time { seconds: 1_795_737_600 + 86_399, nanos: 990_000_000 });
        assert_eq!((time(0, 0, 0), at(2000, 13, 1), time(0x21, 24 << 11, 0)), (None, None, None));
    }

    #[test]
    fn names_that_are_no_text() {
        assert_eq!(name("gr\u{fc}n \u{1f600}".encode_utf16()), "gr\u{fc}n \u{1f600}".as_bytes());
        assert_eq!(name([0x61, 0xD83D, 0x62]), b"a\xED\xA0\xBDb");
    }
}
