//! Makes a disk ready to keep backups: a fresh table with one partition, then a filesystem with a label.
//!
//! The table is written as a restore writes a disk, ends zeroed first and table last: an empty disk but for its
//! table is a source like any other. The filesystem's own programs make the filesystem; here are only their
//! arguments.

use crate::open::Opener;
use crate::plan::Plan;
use crate::relocate;
use crate::restore::{in_the_way, look};
use crate::write_disk::{Proof, Work, WritePlan, ends};
use block::{ByteRange, Concat, Error, ErrorKind, Result, SectorSize};
use device::{IoHints, Monitor, Place, Wanted};
use disk::{Alignment, Guid, NewPartition};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What makes the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewFs {
    /// For Linux.
    Ext4,
    /// What Windows and macOS read too.
    Exfat,
}

impl fmt::Display for NewFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Exfat => "exfat",
        })
    }
}

/// How a disk is to be prepared.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// Which filesystem.
    pub fs: NewFs,
    /// Its label, shortened where it is too long.
    pub label: String,
}

/// What a prepare will do, judged before anybody is asked.
pub struct PreparePlan {
    /// The table, and what the disk holds now.
    pub write: WritePlan,
    /// The bytes of the partition to be.
    pub partition: ByteRange,
    /// Which filesystem.
    pub fs: NewFs,
    /// The label as the filesystem can keep it.
    pub label: String,
}

/// What is begun last when a prepare fails, and so what state the disk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareStep {
    /// The table is written.
    Table,
    /// The kernel reads it, and makes a node for the partition.
    Node,
    /// The filesystem is made.
    Filesystem,
    /// It is mounted.
    Mount,
}

impl PrepareStep {
    /// What is on the disk when this step has failed, and what to do.
    pub fn state(self, disk: &str, partition: &str, fs: NewFs) -> String {
        match self {
            Self::Table => {
                format!("{disk} has no whole partition table now: prepare it again, or another one")
            }
            Self::Node => format!(
                "{disk} has its new table, but no filesystem yet: unplug it, plug it in again, and prepare it again"
            ),
            Self::Filesystem => {
                format!("{partition} is there, but holds no whole filesystem: prepare {disk} again")
            }
            Self::Mount => {
                format!("{partition} holds the new {fs} and is ready, but not mounted: mount {partition} DIR")
            }
        }
    }
}

/// Bytes that a backup disk has at least: less is a mistake.
const LEAST: u64 = 16 << 20;

/// Decides what the table will be, and collects all that speaks against it.
pub fn plan_prepare(place: &Place, opener: &Opener<'_>, options: &PrepareOptions) -> Result<PreparePlan> {
    if !place.is_whole_disk() {
        let words = format!("{} is a partition: did you mean {}?", place.name(), place.disk.name);
        return Err(Error::new(ErrorKind::Refused, words));
    }
    if place.disk.is_volume() {
        let words = format!("{} is made of other disks: name a disk", place.name());
        return Err(Error::new(ErrorKind::Refused, words));
    }
    let label = label(options.fs, &options.label)?;
    let mut notes = vec![];
    if label != options.label {
        notes.push(format!("the label is shortened to what {} can keep: {label:?}", options.fs));
    }
    let hints = opener.monitor.io_hints(place.disk.instance)?;
    let sector = SectorSize::new(place.sector())
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "a disk with sectors of an odd size"))?;
    let guids = [random_guid()?, random_guid()?];
    let kind = match options.fs {
        NewFs::Ext4 => disk::LINUX_TYPE,
        NewFs::Exfat => disk::BASIC_DATA_TYPE,
    };
    let size = place.size();
    let partition = NewPartition { kind, name: &label, guids };
    let table = disk::gpt_new(size, sector, alignment(hints, sector), partition)
        .filter(|_| size >= LEAST)
        .ok_or_else(|| Error::new(ErrorKind::Usage, format!("{} is too small for backups", place.name())))?;

    let held = look(opener, place)?;
    let wanted = wanted(opener.monitor, place, sector)?;
    let refusals = in_the_way(opener.monitor, &wanted, place)?;
    let blank = held.is_blank();
    let write = WritePlan {
        need: size,
        notes,
        refusals,
        wanted: Some(wanted),
        swapped: false,
        blank,
        holds: Some(held),
        work: work(size, sector, table.partition, table.sectors)?,
    };
    Ok(PreparePlan { write, partition: table.partition, fs: options.fs, label })
}

/// Both ends of the disk and the beginning and end of the partition, in which an old filesystem may have left its
/// superblocks, are zeroed but for the table; what lies between stays.
fn work(size: u64, sector: SectorSize, partition: ByteRange, sectors: Vec<(u64, Vec<u8>)>) -> Result<Work> {
    let source = relocate::patched(Arc::new(Concat::new([])?), size, sectors);
    let last = ends(ByteRange::span(0, size));
    let mut written: Vec<ByteRange> = last.iter().copied().chain(ends(partition)).collect();
    written.sort_unstable();
    let (_, plan) = Plan::whole(size)?.split(&disjoint(&written));
    Ok(Work {
        source,
        plan,
        filled: 0,
        proof: Proof::Passed,
        last,
        sector,
        check: true,
        mend: false,
        touched: AtomicBool::new(false),
    })
}

/// Ascending ranges without what they have in common.
fn disjoint(ranges: &[ByteRange]) -> Vec<ByteRange> {
    let mut end = 0;
    let parts = ranges.iter().map(|range| {
        let part = ByteRange::span(range.start().max(end), range.end());
        end = end.max(range.end());
        part
    });
    parts.filter(|part| !part.is_empty()).collect()
}

fn wanted(monitor: &dyn Monitor, place: &Place, sector: SectorSize) -> Result<Wanted> {
    Ok(Wanted {
        instance: place.instance(),
        id: monitor.disk_id(place.instance())?,
        need: place.size(),
        sector: u32::try_from(sector.bytes()).unwrap_or(512),
        never: vec![],
    })
}

/// A random one (RFC 9562, version 4) as it lies on a disk.
fn random_guid() -> Result<Guid> {
    Ok(Guid::version4(image::random_id()?.0))
}

/// Where the partition begins: at a whole MiB, as everybody does; behind a stripe where an array says how long
/// they are; shifted where the drive's physical sectors are.
pub fn alignment(hints: IoHints, sector: SectorSize) -> Alignment {
    const MIB: u64 = 1 << 20;
    const LONGEST: u64 = 64 << 20;
    let unit = hints.physical_sector.max(sector.bytes()).max(4096);
    // 65535 sectors, as USB cases say, are no stripe.
    let stripe = (1..=LONGEST).contains(&hints.optimal) && hints.optimal.is_multiple_of(unit);
    let grain = match stripe && !MIB.is_multiple_of(hints.optimal) {
        true => MIB.div_ceil(hints.optimal) * hints.optimal,
        false => MIB,
    };
    let offset =
        if hints.offset < grain && hints.offset.is_multiple_of(sector.bytes()) { hints.offset } else { 0 };
    Alignment { grain, offset }
}

/// A label as the filesystem can keep it: 16 bytes of ext4, 11 UTF-16 code units of exFAT (its
/// specification, 7.3), cut between characters, without blanks around. Fails with [`ErrorKind::Usage`] for characters that no label should have.
pub fn label(fs: NewFs, text: &str) -> Result<String> {
    if text.chars().any(char::is_control) || text.trim().is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            "a label has at least one character, and no control characters",
        ));
    }
    let (most, cost): (usize, fn(char) -> usize) = match fs {
        NewFs::Ext4 => (16, char::len_utf8),
        NewFs::Exfat => (11, char::len_utf16),
    };
    let mut left = most;
    let kept = text.trim().chars().take_while(|c| {
        let fits = left.checked_sub(cost(*c));
        left = fits.unwrap_or(0);
        fits.is_some()
    });
    Ok(kept.collect::<String>().trim_end().to_owned())
}

/// The program that makes a filesystem on `node`, and its arguments. `owner`: user and group of its root folder,
/// where the filesystem knows owners.
pub fn mkfs(fs: NewFs, label: &str, node: &str, owner: Option<(u32, u32)>) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    match fs {
        NewFs::Ext4 => {
            // The kernel fills in the tables later, while the disk is in use: minutes less on a large one.
            let mut extended = "lazy_itable_init=1,lazy_journal_init=1".to_owned();
            if let Some((user, group)) = owner {
                extended.push_str(&format!(",root_owner={user}:{group}"));
            }
            // No question, and no blocks kept back for root: nothing but backups lies on it.
            words(&["mkfs.ext4", "-q", "-F", "-m", "0", "-L", label, "-E", &extended, node])
        }
        NewFs::Exfat => words(&["mkfs.exfat", "-L", label, node]),
    }
}

/// The program that mounts `node` at `dir`, and its arguments. `owner`: who may write, where the filesystem does
/// not know owners.
pub fn mount(fs: NewFs, node: &str, dir: &str, owner: Option<(u32, u32)>) -> Vec<String> {
    let mut options = "nosuid,nodev".to_owned();
    if let (NewFs::Exfat, Some((user, group))) = (fs, owner) {
        options.push_str(&format!(",uid={user},gid={group}"));
    }
    ["mount", "-t", &fs.to_string(), "-o", &options, "--", node, dir].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::write_disk::write;
    use testkit::Memory;

    #[test]
    fn labels_are_cut_between_characters() {
        for (fs, text, kept) in [
            (NewFs::Ext4, "cassandra backup", "cassandra backup"),
            (NewFs::Exfat, "cassandra backup", "cassandra b"),
            (NewFs::Ext4, "Großmutters Rechner", "Großmutters Rec"),
            (NewFs::Exfat, "Großmutters Rechner", "Großmutters"),
            (NewFs::Ext4, "fifteen letters\u{e4}", "fifteen letters"),
            (NewFs::Ext4, "photos and more of them", "photos and more"),
            (NewFs::Exfat, "ten letter\u{1F4BE}", "ten letter"),
            (NewFs::Exfat, "  a  ", "a"),
        ] {
            assert_eq!(label(fs, text).unwrap(), kept);
        }
        for wrong in ["", "  ", "a\nb", "a\u{1b}[2J", "a\0"] {
            assert_eq!(label(NewFs::Ext4, wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn partitions_begin_where_a_disk_wants_it() {
        const MIB: u64 = 1 << 20;
        let grain = |optimal, physical_sector, offset| {
            let hints = IoHints { optimal, physical_sector, offset, zeroes: 0 };
            let Alignment { grain, offset } = alignment(hints, SectorSize::B512);
            (grain, offset)
        };
        assert_eq!(grain(0, 512, 0), (MIB, 0));
        assert_eq!(grain(0, 4096, 3584), (MIB, 3584));
        assert_eq!(grain(0, 4096, 3585), (MIB, 0), "no whole sectors");
        assert_eq!(grain(512 << 10, 4096, 0), (MIB, 0));
        assert_eq!(grain(384 << 10, 4096, 0), (1152 << 10, 0), "three disks of 128 KiB");
        assert_eq!(grain(3 * MIB, 4096, 0), (3 * MIB, 0));
        assert_eq!(grain(65535 * 512, 4096, 0), (MIB, 0), "a USB case");
        assert_eq!(grain(1 << 40, 4096, 0), (MIB, 0));
    }

    #[test]
    fn the_programs_get_words_and_no_shell() {
        let said = mkfs(NewFs::Ext4, "a b; c", "/dev/sdb1", Some((1000, 1001)));
        assert_eq!(
            said.join("|"),
            "mkfs.ext4|-q|-F|-m|0|-L|a b; c|-E|lazy_itable_init=1,lazy_journal_init=1,root_owner=1000:1001|/dev/sdb1"
        );
        assert_eq!(
            mkfs(NewFs::Exfat, "-x", "/dev/sdb1", Some((1, 1))).join("|"),
            "mkfs.exfat|-L|-x|/dev/sdb1"
        );
        let mounted = mount(NewFs::Exfat, "/dev/sdb1", "/mnt/a b", Some((1000, 1001)));
        assert_eq!(
            mounted.join("|"),
            "mount|-t|exfat|-o|nosuid,nodev,uid=1000,gid=1001|--|/dev/sdb1|/mnt/a b"
        );
        assert!(!mount(NewFs::Ext4, "/dev/sdb1", "/mnt", Some((1, 1))).join("|").contains("uid="));
    }

    #[test]
    fn each_step_says_what_is_there() {
        let steps = [PrepareStep::Table, PrepareStep::Node, PrepareStep::Filesystem, PrepareStep::Mount];
        let said = steps.map(|step| step.state("/dev/sdb", "/dev/sdb1", NewFs::Ext4));
        assert!(said.iter().all(|words| words.contains("/dev/sdb") && words.contains(':')));
        assert!(said[0].contains("no whole partition table") && said[3].contains("is ready"));
    }

    fn new_disk(size: u64) -> (ByteRange, Work) {
        let partition =
            NewPartition { kind: disk::LINUX_TYPE, name: "x", guids: [Guid([1; 16]), Guid([2; 16])] };
        let alignment = alignment(IoHints::default(), SectorSize::B512);
        let table = disk::gpt_new(size, SectorSize::B512, alignment, partition).unwrap();
        (table.partition, work(size, SectorSize::B512, table.partition, table.sectors).unwrap())
    }

    fn ctx() -> Context {
        Context::new(64 << 10, |_| {})
    }

    #[test]
    fn only_what_could_be_mistaken_is_zeroed() {
        let size = 32 << 20;
        let (partition, work) = new_disk(size);
        let target = Memory::new(vec![0xFF; 32 << 20]);
        let written = write(&work, &target, &ctx()).unwrap();
        assert_eq!(written.differ, []);
        let bytes = target.bytes();
        assert!(ends(partition).iter().all(|end| image::is_zero(&bytes[end.index(0)])));
        let between = ByteRange::span(partition.start() + (1 << 20), partition.end() - (1 << 20));
        assert!(bytes[between.index(0)].iter().all(|byte| *byte == 0xFF));
        let layout = disk::layout::read(&target, Some(SectorSize::B512)).unwrap();
        assert_eq!((layout.findings, layout.partitions[0].range), (vec![], partition));
    }

    #[test]
    fn the_table_comes_last() {
        let (_, work) = new_disk(32 << 20);
        let mut failed = 0;
        for n in 0..20 {
            let target = Memory::new(vec![0xFF; 32 << 20]).with(|target| target.fail_write = Some(n));
            if write(&work, &target, &ctx()).is_err() {
                failed += 1;
                let layout = disk::layout::read(&target, Some(SectorSize::B512)).unwrap();
                let whole = matches!(&layout.table, disk::Table::Gpt(gpt) if gpt.primary && gpt.backup);
                assert!(!whole, "{n}");
            }
        }
        assert!(failed > 4, "{failed}");
    }
}
