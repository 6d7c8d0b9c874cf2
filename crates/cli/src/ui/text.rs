//! Words and numbers as people read them.

/// Characters that would paint the terminal, reorder a line or hide in it: control characters, bidi and
/// other invisible format characters, line separators. Never printed as they are.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Any text from a disk, a file name or an error as one harmless line: hostile characters as `\u{202e}`.
/// Doing it twice changes nothing.
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// A name from a disk in quotation marks.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", printable(name))
}

/// Powers of 1024 from KiB on.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size for a table: `31.5 KiB`, `4.0 GiB`, `512 B`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = 0;
    for (power, unit) in (1..).zip(UNITS) {
        let one = 1_u128 << (10 * power);
        tenths = (u128::from(bytes) * 10 + one / 2) / one;
        if tenths < 10240 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{} EiB", tenths / 10)
}

/// A size for a sentence: `4.0 GiB (4294967296 bytes)`.
pub fn exact(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..1024 => format!("{bytes} bytes"),
        _ => format!("{} ({bytes} bytes)", size(bytes)),
    }
}

/// `1 sector`, `2 sectors`.
pub fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// `3 s`, `2 min 05 s`, `1 h 07 min`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A share of something in per cent, `-` of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    match u128::from(whole) {
        0 => "-".to_owned(),
        whole => {
            let tenths = (u128::from(part) * 1000 + whole / 2) / whole;
            format!("{}.{} %", tenths / 10, tenths % 10)
        }
    }
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header, each column as wide as its widest cell, the last one never padded.
pub fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
        cells.chain([columns.get(i).map_or(0, |column| column.0.len())]).max().unwrap_or(0)
    };
    let header = columns.map(|(name, _)| name.to_owned());
    let mut text = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (i, (cell, (_, align))) in row.iter().zip(columns).enumerate() {
            let pad = " ".repeat(width(i).saturating_sub(cell.chars().count()));
            match align {
                Align::Left => line.extend([cell, pad.as_str(), "  "]),
                Align::Right => line.extend([pad.as_str(), cell, "  "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_disk_paints_the_terminal() {
        let hostile = "a\u{1b}[2Jb\u{202e}c\nd\u{7f}\u{9b}e\u{200f}";
        let line = printable(hostile);
        assert_eq!(line, r"a\u{1b}[2Jb\u{202e}c\nd\u{7f}\u{9b}e\u{200f}");
        assert_eq!(printable(&line), line);
        assert_eq!(printable("Größe 磁盘"), "Größe 磁盘");
    }

    #[test]
    fn sizes_round_to_tenths_and_never_say_1024() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (32256, "31.5 KiB"),
            (542_836_224, "517.7 MiB"),
            (1 << 32, "4.0 GiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, words) in cases {
            assert_eq!(size(bytes), words);
        }
        assert_eq!(exact(1 << 32), "4.0 GiB (4294967296 bytes)");
        assert_eq!(exact(512), "512 bytes");
        assert_eq!([percent(1, 3), percent(0, 0), percent(5, 5)], ["33.3 %", "-", "100.0 %"]);
    }

    #[test]
    fn times_keep_two_units() {
        assert_eq!([5, 125, 4020].map(duration), ["5 s", "2 min 05 s", "1 h 07 min"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["1", "ä", "x"], ["100", "bcd", ""]].map(|row| row.map(str::to_owned));
        let columns = [("n", Align::Right), ("name", Align::Left), ("what", Align::Left)];
        assert_eq!(table(columns, &rows), "  n  name  what\n  1  ä     x\n100  bcd\n");
    }
}
