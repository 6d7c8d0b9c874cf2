//! Save, check, read back: against a model in memory, for random layouts, holes and bad places.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use block::{ByteRange, ErrorKind, Extent, ExtentKind, Region, Role, SectorSize};
use engine::{Check, Context, OnError, Plan, copy};
use image::*;
use proptest::prelude::*;
use std::sync::Arc;
use testkit::{Memory, pattern};

const GRID: u64 = 128 << 10;

/// A disk, where it has holes and bad places, and how it is cut.
#[derive(Clone, Debug)]
struct Case {
    bytes: Vec<u8>,
    holes: Vec<ByteRange>,
    bad: Vec<ByteRange>,
    cuts: Vec<u64>,
    encoding: Encoding,
    split: Option<u64>,
}

fn case() -> impl Strategy<Value = Case> {
    let size = (1_u64 << 20)..(6 << 20);
    (
        size,
        prop::collection::vec((0_u64..100, 0_u64..40, 0..4), 0..10),
        0..3_usize,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(size, runs, cuts, raw, split)| {
            let size = size / 512 * 512;
            let mut bytes = pattern(usize::try_from(size).unwrap());
            let (mut holes, mut bad): (Vec<ByteRange>, Vec<ByteRange>) = (vec![], vec![]);
            for (start, len, kind) in runs {
                let start = size * start / 100 / 512 * 512;
                let range = ByteRange::span(start, (start + len * size / 100 / 512 * 512).min(size));
                match kind {
                    0 => bytes[range.index(0)].fill(0),
                    1 => bytes[range.index(0)].fill(7),
                    2 if holes.last().is_none_or(|last| last.end() <= start) && !range.is_empty() => {
                        bytes[range.index(0)].fill(0);
                        holes.push(range);
                    }
                    _ => bad.push(range.intersect(ByteRange::span(start, start + 1024))),
                }
            }
            // A hole must read as zeroes, whatever was painted over it later.
            holes.iter().for_each(|hole| bytes[hole.index(0)].fill(0));
            bad.retain(|bad| !bad.is_empty() && !holes.iter().any(|hole| hole.overlaps(*bad)));
            bad.sort(); // the first one that a read meets must be the first in the list
            let cuts = (1..=cuts as u64).map(|i| size * i / 4 / 512 * 512).collect();
            let encoding = if raw { Encoding::Raw } else { Encoding::Zst };
            Case { bytes, holes, bad, cuts, encoding, split: split.then_some(1 << 20) }
        })
}

fn regions(case: &Case) -> Vec<(Region, Option<usize>)> {
    let size = case.bytes.len() as u64;
    let ends = case.cuts.iter().copied().chain([size]);
    let starts = [0].into_iter().chain(case.cuts.iter().copied());
    let numbered = (0..).zip(starts.zip(ends));
    numbered
        .map(|(n, (start, end))| {
            (Region { range: ByteRange::span(start, end), role: Role::Partition(n + 1) }, Some(n as usize))
        })
        .collect()
}

/// Saves the disk into `folder`, and opens it as a finished backup would be.
fn save(case: &Case, folder: &std::path::Path, known_holes: bool) -> Backup {
    let size = case.bytes.len() as u64;
    let disk = Memory::new(case.bytes.clone()).with(|disk| {
        disk.bad = case.bad.clone();
        disk.holes = if known_holes { case.holes.clone() } else { vec![] };
        disk.threads = 2;
    });
    let plan = Plan::new(size, regions(case)).unwrap();
    let files: Vec<FileInfo> = (0..plan.files().len())
        .map(|n| FileInfo {
            name: format!("t{n}.img"),
            encoding: case.encoding,
            length: plan.files()[n],
            parts: vec![],
            blake3: None,
            digests: Digests::default(),
        })
        .collect();
    let store = Store::create(folder, "t", None).unwrap();
    let backup_id = random_id().unwrap();
    let spec = Spec {
        backup_id,
        index: "t.idx".to_owned(),
        grid: GRID,
        files,
        level: image::Level::Fixed(1),
        split: case.split,
        hash_known_zeroes: true,
        stored: Arc::default(),
        sum_while_writing: false,
    };
    let mut ctx = Context::new(GRID, |_| {});
    ctx.on_error = OnError::Mark;
    ctx.buffer = 512 << 10;
    let written = copy(&plan, &disk, Writer::create(store, spec).unwrap(), &ctx).unwrap().summary;
    let manifest = Manifest {
        format: FORMAT,
        requires: vec![],
        backup_id,
        name: "t".to_owned(),
        program: "test".to_owned(),
        started: "2026-11-23T09:25:00Z".to_owned(),
        finished: Some("2026-11-23T09:26:00Z".to_owned()),
        note: None,
        grid: GRID,
        disk: DiskInfo {
            size,
            sector_size: 512,
            physical_sector_size: 0,
            source: "t".to_owned(),
            kind: DiskKind::Image,
            transport: String::new(),
            model: String::new(),
            serial: String::new(),
            wwn: String::new(),
            id: "0123456789".to_owned(),
            hidden: vec![],
            live: false,
        },
        table: TableInfo { kind: TableKind::None, id: None, findings: vec![] },
        regions: plan
            .regions()
            .iter()
            .map(|p| RegionInfo::new(p.region, p.file.map(|f| (f, p.offset))))
            .collect(),
        files: written.files,
        index: written.index,
        totals: Some(written.totals),
        digests: DiskDigests::default(),
        options: Options { format: case.encoding, level: Some(1), whole: false, split: case.split, parts: None },
        sittings: vec![],
    };
    assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
    Backup::in_making(written.store, manifest).unwrap()
}

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
