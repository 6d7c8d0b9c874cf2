//! A whole folder: a right backup with changed bytes, summed again or not. Reading gives an error or what
//! was saved.
//!
//! The input: options (1 byte), then changes: file (1 byte), offset (3 bytes), new byte (1 byte).
#![no_main]

use image::Backup;
use libfuzzer_sys::fuzz_target;
use selfsame_fuzz::build::{self, backup, read_all};
use selfsame_fuzz::take;
use std::path::PathBuf;
use std::sync::LazyLock;

static RIGHT: LazyLock<build::Backup> = LazyLock::new(backup);
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| tempfile::tempdir().expect("a folder").keep());

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let Some([options]) = take(&mut input) else { return };
    let mut made = RIGHT.clone();
    while let Some([file, a, b, c, byte]) = take(&mut input) {
        let count = made.files.len();
        let bytes = made.files.values_mut().nth(usize::from(file) % count).expect("a file");
        let at = u32::from_le_bytes([a, b, c, 0]) as usize;
        match bytes.len() {
            len if at < len => bytes[at] = byte,
            len if byte == 0 => bytes.truncate(at % (len + 1)),
            _ => bytes.push(byte),
        }
    }
    let intact = made.files == RIGHT.files;
    if options & 1 == 1 {
        made.seal();
    }
    made.write(&FOLDER);
    let opened = Backup::open(&FOLDER);
    assert!(!intact || opened.is_ok());
    let Ok(opened) = opened else { return };
    opened.check_structure();
    for number in 0..opened.manifest().files.len() {
        let _ = opened.check_unread(number);
    }
    // A manifest with other sizes is of another disk.
    if let Ok(disk) = opened.disk()
        && disk.size() == RIGHT.disk.len() as u64
    {
        let whole = read_all(&*disk, &RIGHT.disk);
        assert!(!intact || whole);
    }
});
