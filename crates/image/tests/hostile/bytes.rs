//! A whole backup, right and with changed bytes.

use crate::build::{backup, read_all};
use image::Backup;
use proptest::prelude::*;

#[test]
fn made_by_hand_it_is_a_backup() {
    let (folder, made) = (tempfile::tempdir().unwrap(), backup());
    made.write(folder.path());
    let opened = Backup::open(folder.path()).unwrap();
    assert_eq!(opened.check_structure(), vec![]);
    for number in 0..2 {
        assert_eq!(opened.check_unread(number).unwrap(), vec![]);
    }
    assert!(read_all(&*opened.disk().unwrap(), &made.disk));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Changed bytes of any file, summed again or not: an error, or still the disk.
    #[test]
    fn changed_bytes_never_read_as_others(
        file: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        sealed: bool,
    ) {
        let (folder, mut made) = (tempfile::tempdir().unwrap(), backup());
        let name = made.files.keys().nth(file.index(made.files.len())).unwrap().clone();
        let bytes = made.files.get_mut(&name).unwrap();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if sealed {
            made.seal();
        }
        made.write(folder.path());
        if let Ok(opened) = Backup::open(folder.path()) {
            opened.check_structure();
            for number in 0..opened.manifest().files.len() {
                let _ = opened.check_unread(number);
            }
            // A manifest with changed sizes is another disk, but one of the same bytes.
            if let Ok(disk) = opened.disk() && disk.size() == made.disk.len() as u64 {
                read_all(&*disk, &made.disk);
            }
        }
    }
}
