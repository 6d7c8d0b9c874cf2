//! Deleted files against what was written: by the real drivers, beside what The Sleuth Kit finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods)]

mod absent;
mod hostile;
mod made;
mod oracle;

use block::Source;
use disk::deleted::{Chance, Found, find};
use made::{Kind, Made};
use std::sync::Arc;

/// Every kind, how it is made, and what was written and deleted is checked the same way.
fn each(test: &str, check: impl Fn(&Kind)) {
    for kind in made::KINDS {
        if testkit::tools::has(&format!("{test} {}", kind.name), kind.needs) {
            check(kind);
        }
    }
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
#[test]
fn nothing_wrong_is_intact_after_churn() {
    each("nothing_wrong_is_intact_after_churn", |kind| {
        for way in made::WAYS {
            let made = made::churned(kind, *way);
            let source = source(&made);
            let found = find(&source).unwrap();
            let intact = found.files.iter().filter(|file| file.chance == Chance::Intact).count();
            let right = found.files.iter().filter(|file| {
                let digest = file.open(&source).ok().and_then(|file| oracle::digest(&*file));
                digest.is_some_and(|digest| made.truth.contains_key(&digest))
            });
            let wrong = false_intact(&made, &source, &found);
            println!(
                "CHURNED {} {way:?}: {} found, {} of them whole, {intact} called intact, {} wrongly",
                kind.name,
                found.files.len(),
                right.count(),
                wrong.len()
            );
            assert_eq!(wrong, Vec::<String>::new(), "{} {way:?}", kind.name);
        }
    });
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
