//! What the records of an XFS log hold: operations, which are pieces of transactions, which are items.

use super::log::{Live, broken};
use block::Result;
use block::field::{be32_at, u16_at, u32_at, u64_at};
use std::collections::{BTreeMap, BTreeSet};

/// Flags of an operation.
const START: u8 = 0x01;
const COMMIT: u8 = 0x02;
const WAS_CONTINUED: u8 = 0x08;
const UNMOUNT: u8 = 0x20;
/// Who wrote it: a transaction, or the log itself.
const TRANSACTION: u8 = 0x69;
const LOG: u8 = 0xAA;
/// Bytes in front of what an operation carries.
const HEADER: usize = 12;
/// What a transaction begins with.
const TRANSACTION_MAGIC: u32 = 0x5452_414E;
/// Bytes of transactions that are not committed yet.
const MOST_OPEN: usize = 64 << 20;

/// Kinds of items that change blocks.
pub(super) const INODE: u16 = 0x123B;
pub(super) const BUFFER: u16 = 0x123C;
pub(super) const CREATE: u16 = 0x123F;
/// The rest: ends of extents, unlinked inodes, quotas, and what is intended and done of the deferred work.
const OTHERS: [std::ops::RangeInclusive<u16>; 3] = [0x1236..=0x1238, 0x123D..=0x123E, 0x1240..=0x124F];
/// Intended and done, where what was not done would be seen: parts of files that are moved, attributes.
const SEEN: [(u16, u16); 3] = [(0x1244, 0x1245), (0x1246, 0x1247), (0x1248, 0x1249)];

/// One that was committed.
pub(super) struct Transaction {
    /// Of the record where it began.
    pub(super) lsn: u64,
    regions: Vec<Vec<u8>>,
}

/// A change: its kind, a description and what goes with it.
pub(super) struct Item<'a> {
    pub(super) kind: u16,
    pub(super) format: &'a [u8],
    pub(super) data: &'a [Vec<u8>],
}

/// Calls for every committed transaction, in the order of the commits.
pub(super) fn each(live: &Live, each: &mut dyn FnMut(&Transaction) -> Result<()>) -> Result<()> {
    let mut open: BTreeMap<u32, Transaction> = BTreeMap::new();
    let mut held = 0usize;
    live.each(&mut |record| {
        let mut rest = &record.body[..];
        for _ in 0..record.operations {
            let (operation, behind) = operation(rest).ok_or_else(|| broken("an operation"))?;
            rest = behind;
            let Operation { id, client, flags, payload } = operation;
            match client {
                TRANSACTION if flags & UNMOUNT == 0 => {}
                LOG | TRANSACTION => continue,
                _ => return Err(broken("an operation")),
            }
            if flags & START != 0 {
                open.insert(id, Transaction { lsn: record.lsn, regions: vec![] });
            } else if flags & COMMIT != 0 {
                if let Some(done) = open.remove(&id) {
                    held = held.saturating_sub(done.len());
                    each(&done)?;
                }
            } else if let Some(transaction) = open.get_mut(&id).filter(|_| !payload.is_empty()) {
                // One that is not open began before the oldest record, and all of it is in its place.
                held = held.saturating_add(payload.len());
                match transaction.regions.last_mut().filter(|_| flags & WAS_CONTINUED != 0) {
                    Some(last) => last.extend_from_slice(payload),
                    None => transaction.regions.push(payload.to_vec()),
                }
                if held > MOST_OPEN {
                    return Err(broken("transactions without end"));
                }
            }
        }
        Ok(())
    })
}

struct Operation<'a> {
    id: u32,
    client: u8,
    flags: u8,
    payload: &'a [u8],
}

fn operation(bytes: &[u8]) -> Option<(Operation<'_>, &[u8])> {
    let len = usize::try_from(be32_at(bytes, 4)?).ok()?;
    let (payload, behind) = bytes.get(HEADER..)?.split_at_checked(len)?;
    let (id, client, flags) = (be32_at(bytes, 0)?, *bytes.get(8)?, *bytes.get(9)?);
    Some((Operation { id, client, flags, payload }, behind))
}

impl Transaction {
    fn len(&self) -> usize {
        self.regions.iter().map(Vec::len).sum()
    }

    /// Its items in the order in which they are to be replayed: what makes blocks, what changes them, what
    /// frees them.
    pub(super) fn items(&self) -> Result<Vec<Item<'_>>> {
        self.split().ok_or_else(|| broken("a transaction"))
    }

    fn split(&self) -> Option<Vec<Item<'_>>> {
        let Some((header, mut rest)) = self.regions.split_first() else { return Some(vec![]) };
        if u32_at(header, 0)? != TRANSACTION_MAGIC {
            return None;
        }
        let mut items = vec![];
        while let Some(format) = rest.first() {
            let (kind, count) = (u16_at(format, 0)?, usize::from(u16_at(format, 2)?));
            let known =
                matches!(kind, INODE | BUFFER | CREATE) || OTHERS.iter().any(|range| range.contains(&kind));
            let (item, behind) = rest.split_at_checked(count).filter(|_| known)?;
            items.push(Item { kind, format, data: item.get(1..)? });
            rest = behind;
        }
        items.sort_by_key(|item| match item.kind {
            BUFFER if item.is_cancel() => 2,
            BUFFER | CREATE => 0,
            _ => 1,
        });
        Some(items)
    }
}

impl Item<'_> {
    /// A buffer that is freed: what older transactions did to it is not replayed.
    pub(super) fn is_cancel(&self) -> bool {
        self.kind == BUFFER && u16_at(self.format, 4).is_some_and(|flags| flags & 2 != 0)
    }

    /// First sector and sectors of a buffer.
    pub(super) fn buffer(&self) -> Option<(u64, u64)> {
        Some((u64_at(self.format, 8)?, u64::from(u16_at(self.format, 6)?)))
    }
}

/// Work that was intended and not done, where it would be seen.
#[derive(Default)]
pub(super) struct Unfinished(BTreeSet<(u16, u64)>);

impl Unfinished {
    pub(super) fn note(&mut self, item: &Item<'_>) {
        let Some(id) = u64_at(item.format, 8) else { return };
        for (intended, done) in SEEN {
            if item.kind == intended {
                self.0.insert((intended, id));
            } else if item.kind == done {
                self.0.remove(&(intended, id));
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
