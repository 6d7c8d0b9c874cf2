//! Directories: trees of names, whose topmost node is in the record and the others in blocks.

use super::super::guard::check_time;
use super::attribute::Attribute;
use super::content::Plain;
use super::corrupt;
use super::file::File;
use super::geometry::RECORD_MAX;
use super::names::{FileName, Upcase, outside, units};
use super::record::{Reference, fixed_up};
use block::field::{u16_at, u32_at, u64_at};
use block::{Error, ErrorKind, ReadAt, Result};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The index of names is called `$I30`.
const NAME: &[u8] = b"$\x00I\x003\x000\x00";
/// Where the list of entries is described, in the root and in a block.
const ROOT_HEADER: usize = 16;
const BLOCK_HEADER: usize = 24;
const HAS_CHILD: u16 = 1;
const IS_LAST: u16 = 2;
/// Blocks of a unit of this many bytes are counted, where they are smaller than a cluster.
const SMALL_UNIT: u64 = 512;
/// Bytes of a list of blocks in use: eight million of them.
const BITMAP_MAX: u64 = 1 << 20;
/// Honest trees have four levels.
const LEVELS: usize = 64;

/// A directory that is open.
pub(super) struct Index {
    root: Vec<u8>,
    blocks: Option<Plain>,
    /// A bit for each block that is in use.
    used: Vec<u8>,
    /// Bytes of a block.
    block: usize,
    /// Bytes that a block's number counts.
    unit: u64,
}

/// A name, or the end of a node; what is in front of it is in the child.
struct Entry<'a> {
    reference: Reference,
    name: Option<FileName<'a>>,
    child: Option<u64>,
}

/// A name as it is listed.
pub(super) struct Named {
    pub(super) name: Vec<u8>,
    pub(super) reference: Reference,
    /// Of [`FileName::attributes`].
    pub(super) attributes: u32,
}

/// What is left to do of a walk.
enum Step {
    Node(u64),
    Name(Named),
}

impl Index {
    /// Of a file that is a directory.
    pub(super) fn open(file: &File, cluster: u64) -> Result<Self> {
        let root = file.value(Attribute::INDEX_ROOT, NAME, RECORD_MAX)?;
        let root = root.ok_or_else(|| Error::new(ErrorKind::Usage, "it is no directory"))?;
        let index_block_size = u64::from(u32_at(&root, 8).unwrap_or(0));
        if !index_block_size.is_power_of_two() || !(SMALL_UNIT..=RECORD_MAX).contains(&index_block_size) {
            return Err(corrupt("a directory has blocks of an impossible size"));
        }
        let blocks = file.plain(Attribute::INDEX_ALLOCATION, NAME)?;
        let unit = if index_block_size >= cluster { cluster } else { SMALL_UNIT };
        // Only asked for where the tree is damaged.
        let used = file.value(Attribute::BITMAP, NAME, BITMAP_MAX).ok().flatten().unwrap_or_default();
        Ok(Self { root, blocks, used, block: usize::try_from(index_block_size).unwrap_or(0), unit })
    }

    /// A block, whole and fixed up.
    fn block(&self, vcn: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.block];
        let at = vcn.checked_mul(self.unit);
        let Some((blocks, at)) = self.blocks.as_ref().zip(at) else {
            return Err(corrupt("a block of a directory is missing"));
        };
        let read = blocks.read_at(at, &mut bytes);
        read.map_err(|error| match error.kind() {
            ErrorKind::OutOfRange => corrupt("a block of a directory lies behind its end"),
            _ => error.context("a block of a directory"),
        })?;
        let block = fixed_up(bytes, *b"INDX").filter(|block| u64_at(block, 16) == Some(vcn));
        block.ok_or_else(|| corrupt("a block of a directory is damaged"))
    }

    /// Calls `each` for every name in order, without those for DOS; `false` ends it. Where a node is damaged,
    /// for all that are whole, and then fails.
    pub(super) fn walk(&self, each: &mut dyn FnMut(Named) -> Result<bool>) -> Result<()> {
        let (mut seen, mut steps, mut damage) = (BTreeSet::new(), vec![], None);
        damage = push(&mut steps, &self.root, ROOT_HEADER).err().or(damage);
        let mut unseen = self.in_use();
        loop {
            let step = match steps.pop() {
                Some(step) => step,
                // What a damaged node leads to is found without it.
                None if damage.is_some() => match unseen.find(|vcn| !seen.contains(vcn)) {
                    Some(vcn) => Step::Node(vcn),
                    None => break,
                },
                None => break,
            };
            match step {
                Step::Name(named) => {
                    if !each(named)? {
                        return Ok(());
                    }
                }
                Step::Node(vcn) => {
                    let node = match seen.insert(vcn) {
                        true => self.block(vcn),
                        false => Err(corrupt("the blocks of a directory lead round in circles")),
                    };
                    let pushed = node.and_then(|node| push(&mut steps, &node, BLOCK_HEADER));
                    damage = damage.or(pushed.err());
                    check_time()?;
                }
            }
        }
        damage.map_or(Ok(()), Err)
    }

    /// Numbers of the blocks that are in use.
    fn in_use(&self) -> impl Iterator<Item = u64> {
        let step = u64::try_from(self.block).ok().and_then(|block| block.checked_div(self.unit)).unwrap_or(1);
        let bits =
            self.used.iter().flat_map(|byte| (0..8_u32).map(|bit| byte.checked_shr(bit).unwrap_or(0) & 1));
        let used = (0_u64..).zip(bits).filter(|(_, bit)| *bit == 1);
        used.map(move |(number, _)| number.saturating_mul(step))
    }

    /// The file of this name: of exactly this, else of one that differs in case only.
    pub(super) fn find(&self, name: &[u16], upcase: &Upcase) -> Result<Option<Reference>> {
        match self.descend(name, upcase, true)? {
            None => self.descend(name, upcase, false),
            found => Ok(found),
        }
    }

    /// One way down the tree. `exactly`: among names that differ in case only, which are sorted by their
    /// letters, this one; else the first that comes.
    fn descend(&self, name: &[u16], upcase: &Upcase, exactly: bool) -> Result<Option<Reference>> {
        let mut node = (self.root.clone(), ROOT_HEADER);
        for _ in 0..LEVELS {
            let mut child = None;
            let (entries, whole) = entries(&node.0, node.1);
            for entry in entries {
                let order = entry.name.map_or(Ordering::Less, |key| {
                    let folded = upcase.order(name, units(key.name));
                    let exact = || name.iter().copied().cmp(units(key.name));
                    folded.then_with(|| if exactly { exact() } else { Ordering::Equal })
                });
                match order {
                    Ordering::Equal => return Ok(Some(entry.reference)),
                    Ordering::Greater => {}
                    Ordering::Less => {
                        child = entry.child;
                        break;
                    }
                }
            }
            if !whole {
                return Err(damaged());
            }
            let Some(child) = child else { return Ok(None) };
            node = (self.block(child)?, BLOCK_HEADER);
        }
        Err(corrupt("the blocks of a directory lead round in circles"))
    }
}

fn damaged() -> Error {
    corrupt("a node of a directory is damaged")
}

/// Puts a node on the stack, its first name uppermost. Fails if it is damaged, with what is in front there.
fn push(steps: &mut Vec<Step>, node: &[u8], header: usize) -> Result<()> {
    let (entries, whole) = entries(node, header);
    for entry in entries.into_iter().rev() {
        if let Some(name) = entry.name.filter(|name| !name.is_dos) {
            let (reference, attributes) = (entry.reference, name.attributes);
            steps.push(Step::Name(Named { name: outside(name.name), reference, attributes }));
        }
        steps.extend(entry.child.map(Step::Node));
    }
    if whole { Ok(()) } else { Err(damaged()) }
}

/// The entries of a node, up to its last one, which has no name; `false` if it is damaged behind them.
fn entries(node: &[u8], header: usize) -> (Vec<Entry<'_>>, bool) {
    let (mut entries, mut rest) = (vec![], list(node, header).unwrap_or(&[]));
    while let Some((entry, after)) = Entry::first(rest) {
        let is_last = entry.name.is_none();
        entries.push(entry);
        if is_last {
            return (entries, true);
        }
        rest = after;
    }
    (entries, false)
}

/// The bytes of a node that its header says are entries.
fn list(node: &[u8], header: usize) -> Option<&[u8]> {
    let list = node.get(header..)?;
    let (first, end) = (usize::try_from(u32_at(list, 0)?).ok()?, usize::try_from(u32_at(list, 4)?).ok()?);
    list.get(first..end)
}

impl<'a> Entry<'a> {
    /// The first of some, and the others.
    fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = usize::from(u16_at(bytes, 8)?);
        let (entry, after) = bytes.split_at_checked(length).filter(|_| length >= 16)?;
        let (key_length, flags) = (usize::from(u16_at(entry, 10)?), u16_at(entry, 12)?);
        let child = match flags & HAS_CHILD {
            0 => None,
            _ => Some(u64_at(entry, length.checked_sub(8)?)?),
        };
        let name = match flags & IS_LAST {
            0 => Some(FileName::parse(entry.get(16..)?.get(..key_length)?)?),
            _ => None,
        };
        Some((Self { reference: Reference::of(u64_at(entry, 0)?), name, child }, after))
    }
}
