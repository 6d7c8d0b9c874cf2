//! Backs up a disk: survey, plan, copy into frames, read back, sum, rename.

use crate::context::{Context, Side, UNIT};
use crate::copy::{Report, copy};
use crate::digest::{Algorithm, Hashed, HashedFiles};
use crate::open::Subject;
use crate::save_plan::{PlannedFile, SavePlan};
use crate::verify::{check_stored, sectors, sum_file};
use block::{Error, ErrorKind, ExtentKind, Files, ReadAt, Result, Role, SectorSize};
use image::{
    Backup, DiskDigests, DiskInfo, DiskKind, FileInfo, Hex, IndexInfo, Manifest, RegionInfo, Sitting, Spec,
    Store, Sums, TableInfo, TableKind, Totals, Writer, Written,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// How the work of the check compares with that of the copy, in units a byte.
const CHECK_WEIGHT: u64 = UNIT / 4;

/// A finished backup.
#[derive(Debug)]
pub struct Saved {
    /// Its folder, under its final name.
    pub folder: PathBuf,
    /// SHA-256 of its SHA256SUMS.
    pub seal: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Bytes of all its files.
    pub stored: u64,
    /// Bytes of the disk that could not be read.
    pub missing: u64,
}

/// Carries out a plan. On any failure what is there keeps the name `.part`.
pub fn save(subject: &Subject, plan: SavePlan, files: &dyn Files, ctx: &Context) -> Result<Saved> {
    let started = Timestamp::now();
    let store = Store::create(files, &plan.dest, &plan.folder_name)?;
    let mut manifest = first_manifest(subject, &plan, started);
    store.write_small(image::MANIFEST, &manifest.to_json()?)?;
    let bytes = plan.plan.bytes();
    let check = if plan.options.check { bytes } else { 0 };
    ctx.expect(&[(bytes, UNIT), (check, CHECK_WEIGHT)]);
    ctx.phase("reading", Side::Source, bytes, UNIT);

    let (report, digests, file_digests) = read_disk(&plan, &manifest, store, ctx)
        .map_err(|error| name_sectors(error, plan.survey.layout.sector))?;
    let Written { store, files, index, totals, lost, mut sums } = report.summary;
    manifest.sittings[0] =
        Sitting { ended: Some(Timestamp::now().to_string()), bytes, ..manifest.sittings[0].clone() };
    manifest.finished = Some(Timestamp::now().to_string());
    manifest.files = files;
    for (file, digests) in manifest.files.iter_mut().zip(file_digests) {
        file.digests = digests.others;
    }
    manifest.index = index;
    manifest.totals = Some(Totals { absent: totals.absent + plan.left_out, ..totals });
    manifest.digests = digests;

    let backup = Backup::in_making(store, manifest)?;
    if plan.options.check {
        sums = read_back(&backup, check, ctx)?;
    }
    let (store, manifest) = backup.into_parts();
    for (name, text) in small_files(&plan, &manifest, &lost, &report.errors, started)? {
        store.write_small(&name, text.as_bytes())?;
        sums.push((name, Hex(Sha256::digest(&text).into())));
    }
    sums.push((manifest.index.name.clone(), sum_file(&store, &manifest.index.name, ctx)?));
    let json = manifest.to_json()?;
    store.replace_small(image::MANIFEST, &json)?;
    sums.push((image::MANIFEST.to_owned(), Hex(Sha256::digest(&json).into())));
    let sums = Sums::new(sums)?.to_string();
    store.write_small(Sums::NAME, sums.as_bytes())?;
    let stored = store.names()?.iter().map(|(_, size)| size).sum();
    ctx.check_cancel()?;
    let folder = store.publish()?;
    let missing = manifest.totals.map_or(0, |totals| totals.bad);
    Ok(Saved { folder, seal: Hex::<32>(Sha256::digest(&sums).into()).to_string(), manifest, stored, missing })
}

/// A sector that cannot be read is named by its number: that is what the drive's own tools ask for.
pub(crate) fn name_sectors(error: Error, sector: SectorSize) -> Error {
    match error.range() {
        Some(range) if error.kind() == ErrorKind::Media && !range.is_empty() => {
            let (first, last) = sectors(range, sector);
            error.context(format!("LBA {first} to {last} could not be read"))
        }
        _ => error,
    }
}

/// The copy itself, with the serial digests that were asked for.
fn read_disk(
    plan: &SavePlan,
    manifest: &Manifest,
    store: Store,
    ctx: &Context,
) -> Result<(Report<Written>, DiskDigests, Vec<DiskDigests>)> {
    let options = &plan.options;
    let writer = Writer::create(
        store,
        Spec {
            backup_id: manifest.backup_id,
            index: manifest.index.name.clone(),
            grid: manifest.grid,
            files: manifest.files.clone(),
            level: options.level,
            split: options.split,
            hash_known_zeroes: options.digests.contains(&Algorithm::Blake3),
            stored: ctx.stored_counter(),
            sum_while_writing: !options.check,
        },
    )?;
    let source: &dyn ReadAt = &*plan.source;
    let serial: Vec<_> = options.digests.iter().copied().filter(|a| *a != Algorithm::Blake3).collect();
    if options.digests.is_empty() {
        let report = copy(&plan.plan, source, writer, ctx)?;
        return Ok((report, DiskDigests::default(), vec![]));
    }
    let hashed = Hashed::new(source, &options.digests);
    let sink = HashedFiles::new(writer, manifest.files.len(), &serial);
    let Report { missing, errors, summary: (written, files) } = copy(&plan.plan, &hashed, sink, ctx)?;
    Ok((Report { missing, errors, summary: written }, hashed.finish(), files))
}

/// Reads all stored files back past the page cache: SHA-256 of each part, and every digest compared.
fn read_back(backup: &Backup, bytes: u64, ctx: &Context) -> Result<Vec<(String, Hex<32>)>> {
    ctx.phase("checking", Side::Sink, bytes, CHECK_WEIGHT);
    let mut sums = vec![];
    for number in 0..backup.manifest().files.len() {
        let checked = check_stored(backup, number, ctx)?;
        if let Some(fault) = checked.faults.first() {
            let words = format!(
                "{}: {}; what was just written does not read back: the disk it lies on is not to be trusted",
                fault.file, fault.what
            );
            return Err(Error::new(ErrorKind::Corrupt, words));
        }
        sums.extend(checked.sums);
    }
    Ok(sums)
}

/// What is known before the first byte is read.
fn first_manifest(subject: &Subject, plan: &SavePlan, started: Timestamp) -> Manifest {
    let survey = &plan.survey;
    let layout = &survey.layout;
    let options = &plan.options;
    let identity = subject.place.as_ref().map(|place| place.disk.identity.clone()).unwrap_or_default();
    let (kind, id) = match &layout.table {
        disk::Table::None => (TableKind::None, None),
        disk::Table::Mbr(_) => (TableKind::Mbr, layout.disk_label_id()),
        disk::Table::Gpt(_) => (TableKind::Gpt, layout.disk_label_id()),
    };
    let regions = plan.plan.regions().iter().map(|placed| {
        let mut info = RegionInfo::new(placed.region, placed.file.map(|file| (file, placed.offset)));
        if let Role::Partition(number) = placed.region.role
            && let Some(partition) = layout.partitions.iter().find(|p| p.number == number)
        {
            info.kind = Some(partition.type_id.to_string());
            info.name.clone_from(&partition.name);
        }
        let surveyed = survey.regions.iter().find(|s| s.region.range == placed.region.range);
        info.content = surveyed.and_then(|s| s.content.as_ref()).map(content_info);
        info
    });
    Manifest {
        format: image::FORMAT,
        requires: vec![],
        backup_id: plan.backup_id,
        name: plan.base.clone(),
        program: concat!("selfsame ", env!("CARGO_PKG_VERSION")).to_owned(),
        started: started.to_string(),
        finished: None,
        note: options.note.clone(),
        grid: plan.grid(),
        disk: DiskInfo {
            size: subject.source.size(),
            sector_size: u32::try_from(layout.sector.bytes()).unwrap_or(512),
            physical_sector_size: subject.place.as_ref().map_or(0, |place| place.disk.physical_sector),
            source: subject.word.clone(),
            kind: match subject.kind {
                crate::Kind::Disk => DiskKind::Disk,
                crate::Kind::Partition => DiskKind::Partition,
                crate::Kind::Volume => DiskKind::Volume,
                crate::Kind::Image | crate::Kind::Backup => DiskKind::Image,
            },
            transport: identity.transport,
            model: identity.model,
            serial: identity.serial,
            wwn: identity.wwn,
            id: plan.disk_id.clone(),
            hidden: plan.hidden.clone(),
            live: subject.live,
        },
        table: TableInfo {
            kind,
            id,
            findings: layout.findings.iter().map(|finding| finding.text.clone()).collect(),
        },
        regions: regions.collect(),
        files: plan.files.iter().map(planned).collect(),
        index: IndexInfo { name: format!("{}.idx", plan.base), pages: None, digest: None },
        firmware: crate::boot::firmware(&plan.boot_variables, layout),
        free_space: plan.free_space.clone(),
        totals: None,
        digests: DiskDigests::default(),
        options: image::Options {
            format: options.format,
            level: options.level.fixed(),
            whole: options.whole,
            split: options.split,
            parts: options.parts.clone(),
        },
        sittings: vec![Sitting { started: started.to_string(), ended: None, bytes: 0 }],
    }
}

fn planned(file: &PlannedFile) -> FileInfo {
    FileInfo {
        name: file.name.clone(),
        encoding: file.encoding,
        length: file.length,
        parts: vec![],
        blake3: None,
        digests: image::Digests::default(),
    }
}

fn content_info(content: &disk::probe::Content) -> image::ContentInfo {
    let states: Vec<_> = content.states.iter().map(|state| state.text.to_string()).collect();
    image::ContentInfo {
        kind: content.type_name.to_owned(),
        title: content.title.clone(),
        label: content.label.clone(),
        uuid: content.uuid.clone(),
        state: (!states.is_empty()).then(|| states.join(", ")),
    }
}

/// The files for people and other tools.
fn small_files(
    plan: &SavePlan,
    manifest: &Manifest,
    lost: &block::ExtentMap,
    errors: &[Error],
    started: Timestamp,
) -> Result<Vec<(String, String)>> {
    let base = &plan.base;
    let mut files = vec![("RESTORE.txt".to_owned(), image::restore_text(manifest))];
    if let Some(script) = plan.survey.layout.sfdisk_script("/dev/sdX") {
        files.push((format!("{base}.partition"), script));
    }
    if lost.iter().any(|extent| extent.kind == ExtentKind::Bad) {
        let command = &plan.options.command_line;
        files.push((format!("{base}.map"), image::mapfile::write(lost, manifest.disk.size, command)));
    }
    let mut log = format!(
        "{}\ncommand: {}\nhost: {}\nstarted: {started}\nread: {}\nfinished: {}\n",
        manifest.program,
        plan.options.command_line,
        plan.options.host,
        manifest.sittings[0].ended.as_deref().unwrap_or("-"),
        manifest.finished.as_deref().unwrap_or("-"),
    );
    for note in &plan.notes {
        log.push_str(&format!("note: {note}\n"));
    }
    for error in errors {
        let sector = plan.survey.layout.sector;
        let place = error.range().map(|range| sectors(range, sector));
        let place = place.map_or(String::new(), |(first, last)| format!("LBA {first} to {last}: "));
        log.push_str(&format!("read error: {place}{error}\n"));
    }
    files.push(("log.txt".to_owned(), log));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::ByteRange;

    #[test]
    fn an_unreadable_place_is_named_by_its_sectors() {
        let error = Error::at(ErrorKind::Media, ByteRange::span(512 * 7, 512 * 9));
        let said = name_sectors(error, SectorSize::B512).to_string();
        assert!(said.starts_with("LBA 7 to 8 could not be read"), "{said}");
        let other = name_sectors(Error::new(ErrorKind::NoSpace, "full"), SectorSize::B512);
        assert_eq!(other.to_string(), "full");
    }
}
