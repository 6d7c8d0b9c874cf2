//! manifest.json: what was saved, how it is cut and where each part is kept (FORMAT 2).

mod check;

pub use check::{MAX_DISK, grid_for};

use crate::Hex;
use block::{ByteRange, Error, ErrorKind, Region, Result, Role};
use serde::{Deserialize, Serialize};

/// Its name in the folder.
pub const MANIFEST: &str = "manifest.json";
/// The longest one that is read, in bytes.
pub const MAX_MANIFEST: u64 = 8 << 20;
/// The format that this library writes, and the only one that it reads.
pub const FORMAT: u64 = 1;

/// The manifest. Lengths and offsets are bytes; times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u64,
    /// Words that a reader must know.
    pub requires: Vec<String>,
    /// Random; every page of the index repeats it.
    pub backup_id: Hex<16>,
    /// BASE: what the names of the stored files begin with.
    pub name: String,
    /// Program and version that wrote it.
    pub program: String,
    /// When the save began.
    pub started: String,
    /// When it ended; `None` while the folder is `.part`.
    pub finished: Option<String>,
    /// The user's.
    pub note: Option<String>,
    /// Where frames begin (FORMAT 3.1).
    pub grid: u64,
    /// What was saved.
    pub disk: DiskInfo,
    /// Its partition table.
    pub table: TableInfo,
    /// In disk order, covering the disk.
    pub regions: Vec<RegionInfo>,
    /// Stored files; regions refer to them by number.
    pub files: Vec<FileInfo>,
    /// The index.
    pub index: IndexInfo,
    /// What the firmware of the machine starts from this disk; `None`: nothing, no UEFI, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareInfo>,
    /// What became of the free space of filesystems; `None`: it was kept like everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_space: Option<Vec<FreeInfo>>,
    /// Bytes of the disk by kind; `None` while unfinished.
    pub totals: Option<Totals>,
    /// Of the whole disk in LBA order, absent and bad bytes as zeroes.
    #[serde(default)]
    pub digests: DiskDigests,
    /// How it was asked for.
    pub options: Options,
    /// When it was read.
    pub sittings: Vec<Sitting>,
}

/// The disk, volume or image file that was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskInfo {
    /// Bytes.
    pub size: u64,
    /// Bytes of a logical sector.
    pub sector_size: u32,
    /// Bytes of a physical sector; 0: unknown.
    pub physical_sector_size: u32,
    /// As typed.
    pub source: String,
    /// What sort of thing it was.
    pub kind: DiskKind,
    /// `ata`, `usb`, `nvme`, ..; empty: unknown, as for the next three.
    pub transport: String,
    /// As the device says.
    pub model: String,
    /// As the device says.
    pub serial: String,
    /// World wide name.
    pub wwn: String,
    /// Ten digits, as `disks` prints.
    pub id: String,
    /// What the drive hides, in sentences.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// It was mounted read-write while it was read.
    #[serde(default)]
    pub live: bool,
}

/// What sort of thing was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// A whole disk.
    Disk,
    /// One partition of one.
    Partition,
    /// LVM, md, device mapper.
    Volume,
    /// An image file.
    Image,
}

/// The partition table in short; its sectors are in the stored files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: TableKind,
    /// Disk identifier as `sfdisk` prints it.
    pub id: Option<String>,
    /// What is unusual or damaged, in sentences.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// Type of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Master boot record, perhaps with EBRs.
    Mbr,
    /// GUID partition table.
    Gpt,
    /// No table.
    None,
}

/// One region of the disk (FORMAT 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionInfo {
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Why it is one.
    pub role: RoleName,
    /// As the kernel counts; only of role `partition`.
    pub partition: Option<u32>,
    /// Of its table entry.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Of its table entry.
    pub name: Option<String>,
    /// What was recognised there.
    pub content: Option<ContentInfo>,
    /// Number of its stored file; `None`: left out, all absent.
    pub file: Option<usize>,
    /// Its first byte in the plain bytes of that file.
    pub offset: Option<u64>,
}

/// [`Role`] as the manifest spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// [`Role::Preamble`].
    Preamble,
    /// [`Role::Partition`].
    Partition,
    /// [`Role::Ebr`].
    Ebr,
    /// [`Role::Gap`].
    Gap,
    /// [`Role::Tail`].
    Tail,
    /// [`Role::Whole`].
    Whole,
}

impl RegionInfo {
    /// Of a planned region, kept at `place` (stored file, plain offset) or left out; no words yet.
    pub fn new(region: Region, place: Option<(usize, u64)>) -> Self {
        let (role, partition) = match region.role {
            Role::Preamble => (RoleName::Preamble, None),
            Role::Partition(number) => (RoleName::Partition, Some(number)),
            Role::Ebr => (RoleName::Ebr, None),
            Role::Gap => (RoleName::Gap, None),
            Role::Tail => (RoleName::Tail, None),
            Role::Whole => (RoleName::Whole, None),
        };
        Self {
            start: region.range.start(),
            length: region.range.len(),
            role,
            partition,
            kind: None,
            name: None,
            content: None,
            file: place.map(|(file, _)| file),
            offset: place.map(|(_, offset)| offset),
        }
    }

    /// Its bytes on the disk.
    pub fn range(&self) -> ByteRange {
        ByteRange::span(self.start, self.start.saturating_add(self.length))
    }

    /// Its bytes in the plain bytes of its stored file; `None`: left out.
    pub fn plain(&self) -> Option<(usize, ByteRange)> {
        let (file, offset) = self.file.zip(self.offset)?;
        Some((file, ByteRange::new(offset, self.length)?))
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match self.role {
            RoleName::Preamble => Role::Preamble,
            RoleName::Partition => Role::Partition(self.partition.unwrap_or(0)),
            RoleName::Ebr => Role::Ebr,
            RoleName::Gap => Role::Gap,
            RoleName::Tail => Role::Tail,
            RoleName::Whole => Role::Whole,
        }
    }
}

/// What was recognised in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentInfo {
    /// As `blkid` prints it.
    #[serde(rename = "type")]
    pub kind: String,
    /// In words.
    pub title: String,
    /// Its label.
    pub label: Option<String>,
    /// As `blkid` prints it.
    pub uuid: Option<String>,
    /// Dirty, hibernated, clean, in words.
    pub state: Option<String>,
}

/// How plain bytes become those of a stored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Seekable Zstandard (FORMAT 3.2).
    Zst,
    /// As they are (FORMAT 3.3).
    Raw,
}

/// A stored file (FORMAT 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Without `.000`.
    pub name: String,
    /// How it is kept.
    pub encoding: Encoding,
    /// Plain bytes.
    pub length: u64,
    /// What it is kept in; empty while unfinished.
    pub parts: Vec<PartInfo>,
    /// Of the plain bytes; `None` if some zeroes were known without reading and not hashed.
    pub blake3: Option<Hex<32>>,
    /// Of the plain bytes, those that were asked for.
    #[serde(default)]
    pub digests: Digests,
}

/// One part of a stored file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    /// Its name in the folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

impl FileInfo {
    /// Bytes as stored, all parts together. Checked not to overflow in a parsed manifest.
    pub fn stored_size(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.size))
    }
}

/// The index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexInfo {
    /// Its file.
    pub name: String,
    /// Record pages; `None` while unfinished.
    pub pages: Option<u32>,
    /// Of its directory; `None` while unfinished.
    pub digest: Option<Hex<32>>,
}

/// What UEFI firmware starts from the disk (FORMAT 2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareInfo {
    /// Numbers of the entries in the order in which they are tried.
    pub order: Vec<u16>,
    /// Those that name a partition of this disk, in that order.
    pub entries: Vec<FirmwareEntry>,
}

/// A boot entry of UEFI firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareEntry {
    /// Of its variable: 1 of `Boot0001`.
    pub number: u16,
    /// It is started when its turn comes.
    pub active: bool,
    /// Its name in the firmware's menu.
    pub description: String,
    /// Number of the partition that its program lies on.
    pub partition: u32,
    /// The program: `\EFI\debian\shimx64.efi`.
    pub path: Option<String>,
}

/// What became of the free space of one partition or volume (FORMAT 2.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeInfo {
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Its number as the kernel counts; `None`: the disk without a table.
    pub partition: Option<u32>,
    /// What was recognised, in words.
    pub title: Option<String>,
    /// What was known of its free space.
    pub map: MapWord,
    /// Why no more was known.
    pub why: Option<String>,
    /// Bytes that are in use by that.
    pub used: u64,
    /// Bytes of it that are absent.
    pub absent: u64,
}

/// How much was known of the free space of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapWord {
    /// As the filesystem itself counts.
    Exact,
    /// Some of what is kept may be free.
    Conservative,
    /// Nothing: all of it is kept.
    Whole,
}

/// Bytes of the disk by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Kept in frames that are not zero.
    pub data: u64,
    /// Kept in zero frames.
    pub zero: u64,
    /// Not captured.
    pub absent: u64,
    /// Could not be read.
    pub bad: u64,
}

/// Digests for comparison with other tools, each only if asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Hex<32>>,
    /// SHA-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<Hex<20>>,
    /// MD5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Hex<16>>,
}

/// Digests of the whole disk, each only if asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskDigests {
    /// BLAKE3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Hex<32>>,
    /// The others.
    #[serde(flatten)]
    pub others: Digests,
}

/// How the backup was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Of all stored files but the preamble.
    pub format: Encoding,
    /// Of zstd; `None` if it was chosen while the job ran.
    pub level: Option<i32>,
    /// The disk in one stored file.
    pub whole: bool,
    /// The largest part, in bytes.
    pub split: Option<u64>,
    /// Partition numbers, if not all.
    pub parts: Option<Vec<u32>>,
}

/// A time in which the disk was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sitting {
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub ended: Option<String>,
    /// Bytes read.
    pub bytes: u64,
}

impl Manifest {
    /// From the file's bytes, all of it validated: [`ErrorKind::Unsupported`] for a newer format,
    /// [`ErrorKind::Corrupt`] for what contradicts FORMAT 2.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |source| Error::new(ErrorKind::Corrupt, MANIFEST).with_source(source);
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(Error::new(ErrorKind::Corrupt, "manifest.json is larger than 8 MiB"));
        }
        let growth: Growth = serde_json::from_slice(bytes).map_err(wrong)?;
        growth.check()?;
        let manifest: Self = serde_json::from_slice(bytes).map_err(wrong)?;
        manifest.check().map_err(|error| error.context(MANIFEST))?;
        Ok(manifest)
    }

    /// The file's bytes. Fails with [`ErrorKind::Bug`] if [`Manifest::parse`] would refuse them.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let bug = |error: Error| error.with_kind(ErrorKind::Bug);
        self.check().map_err(bug)?;
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::new(ErrorKind::Bug, "writing manifest.json").with_source(source))?;
        json.push(b'\n');
        if json.len() as u64 > MAX_MANIFEST {
            return Err(Error::new(ErrorKind::Bug, "manifest.json would be larger than 8 MiB"));
        }
        Ok(json)
    }
}

/// What decides whether the rest is understood at all; read first.
#[derive(Deserialize)]
struct Growth {
    format: u64,
    requires: Vec<String>,
}

impl Growth {
    fn check(&self) -> Result<()> {
        if self.format != FORMAT {
            let words = format!(
                "this backup has format {}, this program reads format {FORMAT}; a newer one may be able to",
                self.format
            );
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        match self.requires.first() {
            None => Ok(()),
            Some(word) => {
                let words = format!(
                    "this backup requires {word:?}, which this program does not know; a newer one may"
                );
                Err(Error::new(ErrorKind::Unsupported, words))
            }
        }
    }
}
