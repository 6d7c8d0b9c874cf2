//! manifest.json, SHA256SUMS and mapfiles that somebody made to harm.

use crate::build::{self, GRID, index};
use block::ErrorKind;
use image::{Hex, Manifest, Sums, mapfile};
use proptest::prelude::*;

/// A right one: one file, one region.
fn right() -> String {
    build::manifest(&[("t.zst", "zst", GRID, 100)], &index(&[]))
}

fn parse(json: &str) -> Result<Manifest, ErrorKind> {
    Manifest::parse(json.as_bytes()).map_err(|error| error.kind())
}

/// With one thing replaced, which must be there.
fn with(from: &str, to: &str) -> Result<Manifest, ErrorKind> {
    assert!(right().contains(from), "{from}");
    parse(&right().replace(from, to))
}

#[test]
fn numbers_that_are_none() {
    parse(&right()).unwrap();
    let length = format!(r#""length":{GRID}"#);
    for number in
        ["-1", "1e400", "1.5", "NaN", "-0", "18446744073709551616", "1e3", "\"1\"", "null", "true", "[]"]
    {
        let wrong = with(&length, &format!(r#""length":{number}"#));
        assert_eq!(wrong.unwrap_err(), ErrorKind::Corrupt, "{number}");
        assert!(with(r#""format":1"#, &format!(r#""format":{number}"#)).is_err(), "{number}");
        assert!(with(r#""file":0"#, &format!(r#""file":{number}"#)).is_err() || number == "null");
    }
    for size in ["0", "281474976710657", "9223372036854775807", "18446744073709551615"] {
        let json = right().replace(&length, &format!(r#""length":{size}"#));
        let json = json.replace(&format!(r#""size":{GRID}"#), &format!(r#""size":{size}"#));
        let json = json.replace(&format!(r#""data":{GRID}"#), &format!(r#""data":{size}"#));
        for grid in [GRID, 1 << 24, 1 << 25, 1 << 39] {
            let json = json.replace(&format!(r#""grid":{GRID}"#), &format!(r#""grid":{grid}"#));
            assert_eq!(parse(&json).unwrap_err(), ErrorKind::Corrupt, "{size} {grid}");
        }
    }
}

#[test]
fn names_that_lead_elsewhere() {
    for name in
        ["../t", "/etc/passwd", "a/b", "..", ".t", "-t", "", "a b", "a\\u0000", "\u{e4}", "manifest.json"]
    {
        for place in [r#""name":"t.idx""#, r#""name":"t.zst","encoding""#, r#""name":"t.zst","size""#] {
            let to = place.replace("t.idx", name).replace("t.zst", name);
            let wrong = with(place, &to);
            assert_eq!(wrong.unwrap_err(), ErrorKind::Corrupt, "{place} {name}");
        }
    }
}

#[test]
fn regions_that_overlap_leave_gaps_or_are_endless() {
    let region = right().split("[{\"start\"").nth(1).unwrap().split("}]").next().unwrap().to_owned();
    let region = format!("{{\"start\"{region}}}");
    assert!(right().contains(&region));
    let at = |start: u64, length: u64, offset: u64| {
        format!(r#"{{"start":{start},"length":{length},"role":"gap","file":0,"offset":{offset}}}"#)
    };
    let half = GRID / 2;
    assert!(with(&region, &[at(0, half, 0), at(half, half, half)].join(",")).is_ok());
    for regions in [
        vec![],
        vec![at(0, half, 0), at(0, half, half)],
        vec![at(0, half, 0), at(half, half, 0)],
        vec![at(0, half, half), at(half, half, 0)],
        vec![at(half, half, half), at(0, half, 0)],
        vec![at(0, half + 1, 0), at(half, half, half)],
        vec![at(0, GRID, 0), at(GRID, 0, GRID)],
        vec![at(0, GRID, 0), at(GRID, u64::MAX, GRID)],
        vec![at(0, GRID, 0).replace(r#""file":0"#, r#""file":1"#)],
        vec![at(0, GRID, 0).replace(r#""file":0,"#, "")],
        vec![at(0, GRID, 0).replace(r#""role":"gap""#, r#""role":"partition""#)],
    ] {
        assert_eq!(with(&region, &regions.join(",")).unwrap_err(), ErrorKind::Corrupt, "{regions:?}");
    }
    // As many as fit into 8 MiB: an answer in no time, too.
    let many: Vec<String> = (0..100_000).map(|n| at(n, 1, n)).collect();
    assert_eq!(with(&region, &many.join(",")).unwrap_err(), ErrorKind::Corrupt);
    let more: Vec<String> = (0..1_000_000).map(|n| at(n, 1, n)).collect();
    assert_eq!(with(&region, &more.join(",")).unwrap_err(), ErrorKind::Corrupt);
}

#[test]
fn nesting_and_repetition() {
    for open in ["[", "{\"a\":"] {
        for field in ["future", "note", "digests"] {
            let deep = open.repeat(200_000);
            assert!(with(r#"{"format":1"#, &format!(r#"{{"{field}":{deep},"format":1"#)).is_err());
        }
    }
    assert!(parse(&"[".repeat(8 << 20)).is_err());
    assert!(with(r#""format":1"#, r#""format":1,"format":1"#).is_err());
    assert!(with(r#""requires":[]"#, r#""requires":["x"]"#).is_err());
    let future = format!(r#""future":{}"#, "[".repeat(100) + &"]".repeat(100));
    assert!(
        with(r#"{"format":1"#, &format!(r#"{{{future},"format":1"#)).is_ok(),
        "unknown fields are ignored"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer(bytes: Vec<u8>, text in "[0-9a-f]{0,66} {0,3}[A-Za-z./]{0,9}\n{0,2}") {
        let _ = (Manifest::parse(&bytes), Sums::parse(&bytes), mapfile::parse(&bytes));
        let _ = Sums::parse(text.as_bytes());
    }

    #[test]
    fn what_is_accepted_is_written_the_same(at: prop::sample::Index, byte: u8, digit in b'0'..=b'9') {
        for byte in [byte, digit] {
            let mut json = right().into_bytes();
            let at = at.index(json.len());
            json[at] = byte;
            if let Ok(manifest) = Manifest::parse(&json) {
                prop_assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
            }
        }
    }

    #[test]
    fn sums_have_one_spelling(names in prop::collection::btree_set("[a-z]{1,9}", 0..5), at: prop::sample::Index, byte: u8) {
        let sums = names.into_iter().map(|name| (name, Hex([0xA5; 32]))).collect();
        let mut text = Sums::new(sums).unwrap().to_string().into_bytes();
        if !text.is_empty() {
            let at = at.index(text.len());
            text[at] = byte;
        }
        if let Ok(sums) = Sums::parse(&text) {
            prop_assert_eq!(sums.to_string().into_bytes(), text);
        }
    }
}

#[test]
fn free_space_that_is_not_there() {
    let volume = |start: u64, length: u64, used: u64, absent: u64| {
        format!(
            r#"{{"start":{start},"length":{length},"partition":1,"title":null,"map":"exact","why":null,"used":{used},"absent":{absent}}}"#
        )
    };
    let with = |volumes: &[String]| {
        with(r#""totals""#, &format!(r#""free_space":[{}],"totals""#, volumes.join(",")))
    };
    assert!(with(&[]).is_ok() && with(&[volume(0, GRID, 5, GRID - 5)]).is_ok());
    assert!(with(&[volume(0, 10, 5, 0), volume(10, GRID - 10, 0, 0)]).is_ok());
    let last = i64::MAX.unsigned_abs();
    for wrong in [
        vec![volume(1, GRID, 0, 0)],
        vec![volume(0, GRID, 5, GRID - 4)],
        vec![volume(0, GRID, GRID + 1, 0)],
        vec![volume(last, last, 0, 0)],
        vec![volume(0, 10, 0, u64::MAX)],
        vec![volume(0, 11, 0, 0), volume(10, 20, 0, 0)],
        vec![volume(10, 20, 0, 0), volume(0, 5, 0, 0)],
    ] {
        assert_eq!(with(&wrong).unwrap_err(), ErrorKind::Corrupt, "{wrong:?}");
    }
    let odd = volume(0, GRID, 0, 0).replace("exact", "perhaps");
    assert_eq!(with(&[odd]).unwrap_err(), ErrorKind::Corrupt);
}
