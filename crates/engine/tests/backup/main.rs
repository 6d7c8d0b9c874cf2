//! Save, check, read back: against a model in memory, for random layouts, holes and bad places.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod case;
mod reading;

use block::{ByteRange, ErrorKind, Extent, ExtentKind, SectorSize};
use case::{GRID, case, regions, save};
use engine::{Check, Context, Plan, copy};
use image::*;
use proptest::prelude::*;
use testkit::Memory;

/// Every fault that looking at the stored files finds.
fn faults(backup: &Backup) -> Vec<Fault> {
    let mut found = backup.check_structure();
    let mut scratch = Scratch::default();
    for number in 0..backup.manifest().files.len() {
        let stored = backup.stored(number, false).unwrap();
        for piece in backup.pieces(number, 512 << 10) {
            let piece = piece.unwrap();
            let mut bytes = vec![0; usize::try_from(piece.len()).unwrap()];
            stored.read_at(piece.start(), &mut bytes).unwrap();
            found.extend(backup.check(number, piece.start(), &bytes, &mut scratch).unwrap());
        }
        found.extend(backup.check_unread(number).unwrap());
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_backup_is_the_disk(case in case(), reads in prop::collection::vec((0_u64..100, 1_u64..300_000), 8)) {
        let folder = tempfile::tempdir().unwrap();
        let backup = save(&case, folder.path(), true);
        prop_assert_eq!(faults(&backup), vec![]);
        let disk = backup.disk().unwrap();
        let size = disk.size();
        prop_assert_eq!(size, case.bytes.len() as u64);
        for (start, len) in reads {
            let start = size * start / 100;
            let want = ByteRange::span(start, (start + len).min(size));
            let mut have = vec![0xAA; usize::try_from(want.len()).unwrap()];
            let lost = case.bad.iter().filter(|bad| bad.overlaps(want)).map(|bad| bad.start()).min();
            match (disk.read_at(start, &mut have), lost) {
                (Ok(()), None) => prop_assert!(have == case.bytes[want.index(0)], "wrong bytes at {start}"),
                (Err(error), Some(bad)) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Media);
                    let at = error.range().unwrap().start();
                    prop_assert_eq!(at, bad.max(start));
                    let good = ByteRange::span(start, at);
                    prop_assert!(have[good.index(start)] == case.bytes[good.index(0)]);
                }
                (read, lost) => prop_assert!(false, "{read:?}, but lost: {lost:?}"),
            }
        }
        let mut at = 0;
        while at < size {
            let Extent { range, kind } = disk.extent_at(at).unwrap();
            prop_assert!(range.start() == at && !range.is_empty());
            match kind {
                ExtentKind::Zero => prop_assert!(case.bytes[range.index(0)].iter().all(|byte| *byte == 0)),
                ExtentKind::Bad => prop_assert!(case.bad.iter().any(|bad| bad.contains(at))),
                _ => prop_assert!(!case.bad.iter().any(|bad| bad.contains(at)) && kind == ExtentKind::Data),
            }
            at = range.end();
        }
        for (number, file) in backup.manifest().files.iter().enumerate() {
            let Some((region, _)) = regions(&case).into_iter().find(|(_, f)| *f == Some(number)) else { continue };
            let mut plain = case.bytes[region.range.index(0)].to_vec();
            for bad in case.bad.iter().map(|bad| bad.intersect(region.range)).filter(|bad| !bad.is_empty()) {
                plain[bad.index(region.range.start())].fill(0);
            }
            prop_assert_eq!(file.blake3, Some(Hex(*blake3::hash(&plain).as_bytes())));
        }
    }

    /// Whether zeroes were read or known, the stored files are the same.
    #[test]
    fn digests_find_what_comparing_bytes_finds(
        case in case(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        patched in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let backup = save(&case, folder.path(), true);
        let mut bytes = case.bytes.clone();
        let lost = |at: u64| case.bad.iter().any(|bad| bad.contains(at));
        let mut want: Vec<u64> = flips.iter().map(|flip| flip.index(bytes.len()) as u64).collect();
        want.retain(|at| !lost(*at));
        want.sort_unstable();
        want.dedup();
        want.iter().for_each(|at| bytes[usize::try_from(*at).unwrap()] ^= 0x10);
        let mut want: Vec<u64> = want.into_iter().map(|at| at / 512).collect();
        want.dedup();
        // A hole of this disk may lie where the backup has data.
        let zero = |range: &ByteRange| bytes[range.index(0)].iter().all(|byte| *byte == 0);
        let holes = case.holes.iter().copied().filter(zero).collect();
        let size = bytes.len() as u64;
        let disk = Memory::new(bytes).with(|disk| disk.holes = holes);
        let mut ctx = Context::new(GRID, |_| {});
        ctx.buffer = 512 << 10;
        let source = backup.disk().unwrap();
        let plan = Plan::new(size, regions(&case)).unwrap();
        let check = Check::against(&*source, SectorSize::B512).proved_by(&backup, &[]);
        let differ = copy(&plan, &disk, check, &ctx).unwrap().summary;
        let found: Vec<u64> = differ.iter().flat_map(|range| range.start() / 512..range.end().div_ceil(512)).collect();
        prop_assert_eq!(&found, &want);

        // Where the reference is another than the backup, its digests prove nothing.
        let patch = patched.index(case.bytes.len()) / 512 * 512;
        let mut bytes = case.bytes.clone();
        bytes[patch] ^= 1;
        let patch = ByteRange::new(patch as u64, 512).unwrap();
        let (reference, patches) = (Memory::new(bytes), [patch]);
        let check = Check::against(&reference, SectorSize::B512).proved_by(&backup, &patches);
        prop_assert_eq!(copy(&plan, &Memory::new(case.bytes), check, &ctx).unwrap().summary, vec![patch]);
    }

    #[test]
    fn equal_disks_give_equal_files(case in case()) {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (save(&case, a.path(), true), save(&case, b.path(), false));
        for (n, file) in one.manifest().files.iter().enumerate() {
            prop_assert_eq!(file, &two.manifest().files[n]);
            for part in &file.parts {
                let read = |backup: &Backup| backup.store().read_small(&part.name, 1 << 30).unwrap();
                prop_assert!(read(&one) == read(&two), "{}", part.name);
            }
        }
    }

    /// One wrong byte in a stored file is found, and never read as if it were right.
    #[test]
    fn a_flip_is_found_and_never_read(case in case(), place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let folder = tempfile::tempdir().unwrap();
        let backup = save(&case, folder.path(), true);
        let parts: Vec<_> = backup.manifest().files.iter().flat_map(|file| file.parts.clone()).collect();
        let total: u64 = parts.iter().map(|part| part.size).sum();
        let mut at = place.index(usize::try_from(total).unwrap()) as u64;
        let part = parts.iter().find(|part| part.size > at || { at -= part.size; false }).unwrap();
        flip(&backup.store().path().join(&part.name), at, bit);
        prop_assert!(!faults(&backup).is_empty(), "byte {at} of {}", part.name);
        let disk = backup.disk().unwrap();
        for start in (0..disk.size()).step_by(100_000) {
            let mut have = vec![0xAA; usize::try_from((disk.size() - start).min(100_000)).unwrap()];
            if disk.read_at(start, &mut have).is_ok() {
                let want = ByteRange::span(start, start + have.len() as u64);
                prop_assert!(have == case.bytes[want.index(0)], "wrong bytes at {start}");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "damages a file on purpose")]
fn flip(path: &std::path::Path, at: u64, bit: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
    std::fs::write(path, bytes).unwrap();
}
