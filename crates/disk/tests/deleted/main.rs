//! Deleted files against what was written: by the real drivers, beside what The Sleuth Kit finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods)]

mod absent;
mod hostile;
mod made;
mod oracle;
mod packed;

use block::Source;
use disk::deleted::{Chance, Found, find};
use made::{Kind, Made};
use std::sync::Arc;

/// Every kind, how it is made, and what was written and deleted is checked the same way.
fn each(test: &str, check: impl Fn(&Kind)) {
    for kind in made::KINDS {
        if can(&format!("{test} {}", kind.name), kind) {
            check(kind);
        }
    }
}

/// Can this kind be made and mounted here? If not, says so.
fn can(test: &str, kind: &Kind) -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if kind.mount.is_some() && !is_root {
        println!("SKIPPED: {test}: needs root");
        return false;
    }
    testkit::tools::has(test, kind.needs)
}

/// An image file.
fn source(made: &Made) -> Source {
    let size = std::fs::metadata(&made.image).unwrap().len();
    Arc::new(testkit::ImageFile::open(&made.image, size).unwrap())
}

/// Content and name are those of something that was written, of every file that is called intact.
fn false_intact(made: &Made, source: &Source, found: &Found) -> Vec<String> {
    let intact = found.files.iter().filter(|file| file.chance == Chance::Intact);
    let wrong = intact.filter(|file| {
        let digest = oracle::digest(&*file.open(source).unwrap());
        !digest.is_some_and(|digest| made.truth.get(&digest).is_some_and(|path| oracle::is_named(file, path)))
    });
    wrong.map(|file| format!("{:?}", (file.id, name(file), file.size))).collect()
}

fn name(file: &disk::deleted::DeletedFile) -> String {
    String::from_utf8_lossy(file.name.as_deref().unwrap_or(b"(no name)")).into_owned()
}

/// Thirty files deleted last: all of them, with their names and folders.
#[test]
fn thirty_of_thirty() {
    each("thirty_of_thirty", |kind| {
        let made = made::victims(kind);
        let source = source(&made);
        let found = find(&source).unwrap();
        let intact = made.victims.iter().filter(|(path, digest)| {
            found.files.iter().any(|file| {
                file.chance == Chance::Intact
                    && oracle::is_named(file, path)
                    && oracle::digest(&*file.open(&source).unwrap()) == Some(**digest)
            })
        });
        let (intact, tsk) = (intact.count(), oracle::sleuthkit(&made));
        let tsk = tsk.map_or("not installed".to_owned(), |n| n.to_string());
        println!("DELETED {}: ours {intact} of {} intact, TSK {tsk}", kind.name, made.victims.len());
        let lines: Vec<_> =
            found.files.iter().map(|file| format!("{} {} {:?}", name(file), file.chance, file.why)).collect();
        assert_eq!(intact, made.victims.len(), "{}\n{:?}", lines.join("\n"), found.missing);
        assert_eq!(false_intact(&made, &source, &found), Vec::<String>::new());
    });
}

/// After 3,000 files were written and removed three times nothing that is called intact is wrong.
fn churn(test: &str, name: &str) {
    let kind = made::KINDS.iter().find(|kind| kind.name == name).unwrap();
    if !can(test, kind) {
        return;
    }
    for way in made::WAYS {
        let made = made::churned(kind, *way);
        let source = source(&made);
        let found = find(&source).unwrap();
        let intact = found.files.iter().filter(|file| file.chance == Chance::Intact).count();
        let right = found.files.iter().filter(|file| {
            let digest = file.open(&source).ok().and_then(|file| oracle::digest(&*file));
            digest.is_some_and(|digest| made.truth.contains_key(&digest))
        });
        let (found_all, right) = (found.files.len(), right.count());
        let wrong = false_intact(&made, &source, &found);
        let wrongly = wrong.len();
        println!(
            "CHURNED {name} {way:?}: {found_all} found, {right} whole, {intact} called intact, {wrongly} wrongly"
        );
        assert_eq!(wrong, Vec::<String>::new(), "{name} {way:?}");
    }
}

#[test]
fn churned_ext3() {
    churn("churned_ext3", "ext3");
}

#[test]
fn churned_ext4() {
    churn("churned_ext4", "ext4");
}

#[test]
fn churned_ntfs() {
    churn("churned_ntfs", "NTFS");
}

#[test]
fn churned_fat32() {
    churn("churned_fat32", "FAT32");
}

#[test]
fn churned_exfat() {
    churn("churned_exfat", "exFAT");
}

/// A journal that still has to be replayed: what came last may lie over anything.
#[test]
fn nothing_is_intact_before_the_journal_is_replayed() {
    let test = "nothing_is_intact_before_the_journal_is_replayed";
    let kind = made::KINDS.iter().find(|kind| kind.name == "ext4").unwrap();
    if !can(test, kind) {
        return;
    }
    let made = made::pending(kind);
    let found = find(&source(&made)).unwrap();
    assert!(found.files.len() >= made.victims.len());
    assert!(found.files.iter().all(|file| file.chance != Chance::Intact));
    assert!(found.missing.iter().any(|words| words.contains("not cleanly unmounted")), "{:?}", found.missing);
}

/// Without a journal nothing is found, and that is said.
#[test]
fn ext2_is_not_covered() {
    if !testkit::tools::has("ext2_is_not_covered", &["mkfs.ext2"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    testkit::tools::run("truncate -s 8M $F; mkfs.ext2 -q -F $F", &image);
    let source: Source = Arc::new(testkit::ImageFile::open(&image, 8 << 20).unwrap());
    let found = find(&source).unwrap();
    assert!(found.files.is_empty() && found.missing.iter().any(|words| words.contains("no journal")));
}

/// What a source does not have is not intact.
#[test]
fn absent_is_not_intact() {
    each("absent_is_not_intact", |kind| {
        let made = made::victims(kind);
        let whole = source(&made);
        let source: Source = Arc::new(absent::without(&whole, &made));
        let found = find(&source).unwrap();
        let mut seen = 0;
        for (path, digest) in &made.victims {
            for file in found.files.iter().filter(|file| oracle::is_named(file, path)) {
                seen += 1;
                // Small files of NTFS lie in their record, which is there.
                let there = file.chance == Chance::Intact;
                let read = file.open(&source).ok().and_then(|file| oracle::digest(&*file));
                assert_eq!(read, there.then_some(*digest), "{path}");
                assert!(!there || (kind.name == "NTFS" && file.size < 1024), "{path}");
            }
        }
        assert!(seen >= made.victims.len(), "{}: {seen}", kind.name);
        // In a backup without its free space they are only names.
        let lost = found.files.iter().filter(|file| file.chance != Chance::Intact).count();
        println!("ABSENT {}: {lost} of {seen} not intact", kind.name);
    });
}
