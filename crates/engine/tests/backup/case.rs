//! A disk with holes and bad places, and its backup.

use block::{ByteRange, Region, Role};
use engine::{Context, OnError, Plan, copy};
use image::*;
use proptest::prelude::*;
use std::sync::Arc;
use testkit::{Memory, pattern};

pub(crate) const GRID: u64 = 64 << 10;

/// A disk, where it has holes and bad places, and how it is cut.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) bytes: Vec<u8>,
    pub(crate) holes: Vec<ByteRange>,
    pub(crate) bad: Vec<ByteRange>,
    pub(crate) cuts: Vec<u64>,
    pub(crate) encoding: Encoding,
    pub(crate) split: Option<u64>,
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
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

pub(crate) fn regions(case: &Case) -> Vec<(Region, Option<usize>)> {
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
pub(crate) fn save(case: &Case, folder: &std::path::Path, known_holes: bool) -> Backup {
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
    let store = Store::create(&LocalFiles::default(), folder, "t").unwrap();
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
        firmware: None,
        free_space: None,
        totals: Some(written.totals),
        digests: DiskDigests::default(),
        options: Options {
            format: case.encoding,
            level: Some(1),
            whole: false,
            split: case.split,
            parts: None,
        },
        sittings: vec![],
    };
    assert_eq!(Manifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
    Backup::in_making(written.store, manifest).unwrap()
}
