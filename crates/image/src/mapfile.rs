//! GNU ddrescue mapfiles: what of a disk is here, in the text that other tools read (FORMAT 8; ddrescue's
//! manual, "Mapfile structure").

use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ExtentMap, Result};
use std::fmt::Write;

/// Offsets and lengths lie below this, as in ddrescue.
const LIMIT: u64 = 1 << 63;

/// The text for a disk of `size` bytes of which `lost` is not here. `command` goes into a comment.
pub fn write(lost: &ExtentMap, size: u64, command: &str) -> String {
    let command: String = command.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    // What ddrescue shall do next: copy what was never tried, or nothing.
    let next = if lost.total(ExtentKind::Absent) > 0 { '?' } else { '+' };
    let mut text = format!(
        "# Mapfile. Created by selfsame\n# Command line: {command}\n\
         # current_pos  current_status  current_pass\n0x00000000     {next}               1\n\
         #      pos        size  status\n"
    );
    let mut line = |range: ByteRange, status: char| {
        if !range.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "0x{:08X}  0x{:08X}  {status}", range.start(), range.len());
        }
    };
    let mut at = 0;
    for extent in lost.inside(ByteRange::span(0, size)) {
        line(ByteRange::span(at, extent.range.start()), '+');
        line(extent.range, status_of(extent.kind));
        at = extent.range.end();
    }
    line(ByteRange::span(at, size), '+');
    text
}

fn status_of(kind: ExtentKind) -> char {
    match kind {
        ExtentKind::Data | ExtentKind::Zero => '+',
        ExtentKind::Absent => '?',
        ExtentKind::Bad => '-',
    }
}

/// What a mapfile says is not here: `?` is absent, `-` bad, and so are `*` and `/`, of which ddrescue has
/// read something or nothing; what lies before the first line is absent. Of bytes behind the last line it
/// says nothing. Fails with [`ErrorKind::Corrupt`], naming the line, for what ddrescue refuses.
pub fn parse(bytes: &[u8]) -> Result<ExtentMap> {
    let text = str::from_utf8(bytes)
        .map_err(|source| Error::new(ErrorKind::Corrupt, "mapfile: not text").with_source(source))?;
    let mut lines = (1_u64..).zip(text.lines()).filter_map(|(number, line)| {
        let words = line.split('#').next().unwrap_or_default().trim();
        (!words.is_empty()).then_some((number, words))
    });
    let wrong =
        |number: u64, what: &str| Error::new(ErrorKind::Corrupt, format!("mapfile, line {number}: {what}"));
    let Some((number, words)) = lines.next() else {
        return Err(Error::new(ErrorKind::Corrupt, "mapfile: no status line"));
    };
    check_current(words).ok_or_else(|| wrong(number, "no status line"))?;
    let mut lost = Vec::new();
    let mut end = None;
    for (number, words) in lines {
        let (range, kind) = data_line(words).ok_or_else(|| wrong(number, "no position, size and status"))?;
        if end.is_some_and(|end| end != range.start()) {
            return Err(wrong(number, "does not begin where the line before ends"));
        }
        if end.is_none() {
            Extent { range: ByteRange::span(0, range.start()), kind: ExtentKind::Absent }.append(&mut lost);
        }
        end = Some(range.end());
        if kind.is_lost() {
            Extent { range, kind }.append(&mut lost);
        }
    }
    Ok(lost.into_iter().collect())
}

/// `current_pos current_status [current_pass]`: what ddrescue was about to do; of no use to us.
fn check_current(words: &str) -> Option<()> {
    let mut words = words.split_whitespace();
    number(words.next()?)?;
    let status = words.next()?;
    let known = ["?", "*", "/", "-", "F", "G", "+"].contains(&status);
    let pass = words.next().is_none_or(|pass| pass.parse::<u8>().is_ok());
    (known && pass && words.next().is_none()).then_some(())
}

/// `pos size status`.
fn data_line(words: &str) -> Option<(ByteRange, ExtentKind)> {
    let mut words = words.split_whitespace();
    let (pos, size, status) = (number(words.next()?)?, number(words.next()?)?, words.next()?);
    let range = ByteRange::within(LIMIT, pos, size).ok().filter(|range| !range.is_empty())?;
    let kind = match status {
        "+" => ExtentKind::Data,
        "?" => ExtentKind::Absent,
        "-" | "*" | "/" => ExtentKind::Bad,
        _ => return None,
    };
    words.next().is_none().then_some((range, kind))
}

/// As strtoll(3) with base 0, without sign: hexadecimal, octal or decimal.
fn number(word: &str) -> Option<u64> {
    let (digits, radix) = match (word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")), word) {
        (Some(digits), _) => (digits, 16),
        (None, word) if word.len() > 1 && word.starts_with('0') => (&word[1..], 8),
        (None, word) => (word, 10),
    };
    // from_str_radix would take a sign.
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExtentKind::{Absent, Bad};
    use proptest::prelude::*;
    use std::process::Command;

    fn map(extents: &[(u64, u64, ExtentKind)]) -> ExtentMap {
        let extent = |&(start, end, kind)| Extent { range: ByteRange::span(start, end), kind };
        extents.iter().map(extent).collect()
    }

    #[test]
    fn the_text_is_ddrescues() {
        let text = write(&map(&[(0x400, 0x600, Bad), (0x1000, 0x2000, Absent)]), 0x3000, "save\nx");
        assert_eq!(
            text,
            "# Mapfile. Created by selfsame\n\
             # Command line: save?x\n\
             # current_pos  current_status  current_pass\n\
             0x00000000     ?               1\n\
             #      pos        size  status\n\
             0x00000000  0x00000400  +\n\
             0x00000400  0x00000200  -\n\
             0x00000600  0x00000A00  +\n\
             0x00001000  0x00001000  ?\n\
             0x00002000  0x00001000  +\n"
        );
        assert!(write(&map(&[(0, 512, Bad)]), 512, "").contains("0x00000000     +               1\n"));
    }

    /// ddrescuelog lists the sectors of each status; it is not ours.
    #[test]
    fn ddrescuelog_reads_the_same() {
        if Command::new("ddrescuelog").arg("--version").output().is_err() {
            println!("SKIPPED: ddrescuelog_reads_the_same: needs ddrescuelog");
            return;
        }
        let lost = map(&[(0, 1024, Bad), (5120, 7168, Absent), (9728, 10240, Bad)]);
        let dir = tempfile::tempdir().unwrap();
        let store = crate::Store::create(&crate::LocalFiles::default(), dir.path(), "x").unwrap();
        store.write_small("x.map", write(&lost, 10240, "save").as_bytes()).unwrap();
        let sectors = |status: &str| {
            let mut command = Command::new("ddrescuelog");
            command.args(["-b", "512", "-l", status]).arg(store.path().join("x.map"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(|line| line.trim().parse().unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(sectors("-"), [0, 1, 19]);
        assert_eq!(sectors("?"), [10, 11, 12, 13]);
        assert_eq!(sectors("+"), [2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18]);
    }

    proptest! {
        #[test]
        fn comes_back_from_its_text(extents: Vec<(u16, u16, bool)>) {
            let lost: ExtentMap = extents
                .into_iter()
                .map(|(start, len, bad)| Extent {
                    range: ByteRange::span(start.into(), u64::from(start) + u64::from(len)),
                    kind: if bad { Bad } else { Absent },
                })
                .collect();
            prop_assert_eq!(parse(write(&lost, 1 << 17, "x").as_bytes()).unwrap(), lost);
        }

        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>, text in "[0-9x?*/+# \n-]{0,60}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }
    }

    #[test]
    fn what_ddrescue_writes_while_it_works() {
        let text = b"# Mapfile. Created by GNU ddrescue version 1.23\n\
            0x00120000     *               1\n\
            0x00000200  0x00000E00  +\n\
            0x00001000  0x00000200  * # failed\n\
            011000  512  /\n\
            \n\
            5120  0x00000200  -\n\
            0x00001600  0x00100000  ?";
        let want = [(0, 512, Absent), (4096, 5632, Bad), (5632, 5632 + (1 << 20), Absent)];
        assert_eq!(parse(text).unwrap(), map(&want));
    }

    #[test]
    fn what_ddrescue_refuses() {
        let line = |line: &str| format!("0 +\n0 16 +\n{line}\n");
        let wrong = [
            String::new(),
            "# nothing\n".to_owned(),
            "0x0 Z\n".to_owned(),
            "0 + x\n".to_owned(),
            "0 + 1 1\n".to_owned(),
            "-1 +\n".to_owned(),
            line("32 16 -"),
            line("8 16 -"),
            line("16 0 -"),
            line("16 16 Z"),
            line("16 16"),
            line("16"),
            line("16 16 - -"),
            line("+16 16 -"),
            line("0x 16 -"),
            line("16 0x10000000000000000 -"),
            line("16 0x7FFFFFFFFFFFFFFF -"),
        ];
        assert!(parse(line("16 16 -").as_bytes()).is_ok());
        for text in wrong {
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt, "{text:?}");
        }
        assert!(parse(b"0 +\n\xff\n").is_err());
    }
}
