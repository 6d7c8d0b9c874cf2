//! The superblock of btrfs: roots, sizes, features (kernel, `include/uapi/linux/btrfs_tree.h`).

use super::corrupt;
use super::sum::SumKind;
use super::tree::{Key, Root};
use block::field::{u16_at, u32_at, u64_at};
use block::{Error, ErrorKind, ReadAt, Result};

/// Where its copies are.
const PLACES: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
/// Bytes of it, and of the table of the first chunks at its end.
const SIZE: usize = 4096;
const SYSTEM_CHUNKS: usize = 0x32B;

/// What a feature that changes how it is read means to us: `Ok`, or named in the refusal. Those that are not
/// here are unknown.
const INCOMPAT: &[(u64, std::result::Result<(), &str>)] = &[
    (1 << 0, Ok(())),  // MIXED_BACKREF: of extents, which nobody reads here
    (1 << 1, Ok(())),  // DEFAULT_SUBVOL
    (1 << 2, Ok(())),  // MIXED_GROUPS: data and metadata in one chunk
    (1 << 3, Ok(())),  // COMPRESS_LZO
    (1 << 4, Ok(())),  // COMPRESS_ZSTD
    (1 << 5, Ok(())),  // BIG_METADATA
    (1 << 6, Ok(())),  // EXTENDED_IREF: more names of a file
    (1 << 7, Ok(())),  // RAID56: chunks are looked at one by one
    (1 << 8, Ok(())),  // SKINNY_METADATA: of extents
    (1 << 9, Ok(())),  // NO_HOLES
    (1 << 10, Ok(())), // METADATA_UUID: the ID in the nodes; not compared
    (1 << 11, Ok(())), // RAID1C34
    (1 << 12, Err("zones")),
    (1 << 13, Err("the second version of its extent tree")),
    (1 << 14, Err("a tree of stripes")),
    (1 << 16, Ok(())), // SIMPLE_QUOTA
];
/// `flags`: a copy of the metadata alone.
const METADUMP: [u64; 2] = [1 << 33, 1 << 34];

pub(super) struct Superblock {
    pub(super) generation: u64,
    pub(super) root: Root,
    pub(super) chunks: Root,
    /// What was written since the last commit.
    pub(super) log: Option<Root>,
    /// The directory in the tree of roots that knows the default subvolume.
    pub(super) root_dir: u64,
    pub(super) devid: u64,
    /// Bytes of a sector, for which a checksum of data stands, and of a node.
    pub(super) sector: u64,
    pub(super) node: usize,
    pub(super) sums: SumKind,
    /// Keys and items of the chunks that hold the tree of chunks.
    pub(super) system_chunks: Vec<(Key, Vec<u8>)>,
}

impl Superblock {
    /// The newest copy that is whole.
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self> {
        let mut newest: Option<Self> = None;
        let mut failed = None;
        for place in PLACES.iter().filter(|place| place.saturating_add(1 << 16) <= source.size()) {
            let mut bytes = vec![0; SIZE];
            let read = source.read_at(*place, &mut bytes).and_then(|()| Self::parse(&bytes, *place));
            match read {
                Ok(found) if newest.as_ref().is_none_or(|newest| newest.generation < found.generation) => {
                    newest = Some(found);
                }
                Ok(_) => {}
                // What the first one says is what the user hears, and a refusal is one.
                Err(error) if error.kind() == ErrorKind::Unsupported => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        newest.ok_or_else(|| failed.unwrap_or_else(|| corrupt("superblock")))
    }

    fn parse(bytes: &[u8], place: u64) -> Result<Self> {
        let wrong = || corrupt("superblock");
        let number = |at| u64_at(bytes, at).ok_or_else(wrong);
        if bytes.get(0x40..0x48) != Some(b"_BHRfS_M") || number(0x30)? != place {
            return Err(wrong());
        }
        let unsupported = |what: String| Err(Error::new(ErrorKind::Unsupported, what));
        let Some(sums) = u16_at(bytes, 0xC4).and_then(SumKind::of) else {
            return unsupported("an unknown kind of checksums".to_owned());
        };
        if !sums.fits(bytes, bytes.get(32..).unwrap_or(&[])) {
            return Err(corrupt("checksum of the superblock"));
        }
        let incompat = number(0xBC)?;
        let named = INCOMPAT.iter().fold(0, |bits, (bit, _)| bits | bit);
        if incompat & !named != 0 {
            return unsupported(format!("unknown features {:#x}", incompat & !named));
        }
        for (_, known) in INCOMPAT.iter().filter(|(bit, _)| incompat & bit != 0) {
            if let Err(words) = known {
                return unsupported((*words).to_owned());
            }
        }
        if METADUMP.iter().any(|bit| number(0x38).is_ok_and(|flags| flags & bit != 0)) {
            return unsupported("a copy of its metadata alone".to_owned());
        }
        let devices = number(0x88)?;
        if devices != 1 {
            return unsupported(format!("one of {devices} devices"));
        }
        Self::fields(bytes, sums).ok_or_else(wrong)
    }

    fn fields(bytes: &[u8], sums: SumKind) -> Option<Self> {
        let number = |at| u64_at(bytes, at);
        let generation = number(0x48)?;
        let root = |at, level: usize, generation| {
            Some(Root { at: number(at)?, level: *bytes.get(level)?, generation })
        };
        let (sector, node) = (u64::from(u32_at(bytes, 0x90)?), u32_at(bytes, 0x94)?);
        let sizes = 512..=64 << 10;
        let sane = sizes.contains(&sector) && sector.is_power_of_two();
        if !sane || !sizes.contains(&u64::from(node)) || !node.is_power_of_two() || node < 4096 {
            return None;
        }
        let log = root(0x60, 0xC8, generation.checked_add(1)?)?;
        Some(Self {
            generation,
            root: root(0x50, 0xC6, generation)?,
            chunks: root(0x58, 0xC7, number(0xA4)?)?,
            log: (log.at != 0).then_some(log),
            root_dir: number(0x80)?,
            devid: number(0xC9)?,
            sector,
            node: usize::try_from(node).ok()?,
            sums,
            system_chunks: system_chunks(bytes)?,
        })
    }
}

/// Keys, each with its chunk, whose length depends on its stripes.
fn system_chunks(bytes: &[u8]) -> Option<Vec<(Key, Vec<u8>)>> {
    let len = usize::try_from(u32_at(bytes, 0xA0)?).ok().filter(|len| *len <= 2048)?;
    let mut rest = bytes.get(SYSTEM_CHUNKS..)?.get(..len)?;
    let mut found = vec![];
    while !rest.is_empty() {
        let (key, behind) = (Key::parse(rest, 0)?, rest.get(17..)?);
        let stripes = usize::from(u16_at(behind, 44)?);
        let (item, behind) = behind.split_at_checked(stripes.checked_mul(32)?.checked_add(48)?)?;
        found.push((key, item.to_vec()));
        rest = behind;
    }
    Some(found)
}
