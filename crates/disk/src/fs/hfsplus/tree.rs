//! The B-trees of HFS+ (TN1150): nodes of one size in a file, keys in order, leaves in a chain.

use super::super::bytes::{self, Fields, corrupt, narrow};
use super::super::recent::Recent;
use block::{Result, Source};
use std::cmp::Ordering;
use std::sync::Arc;

/// Levels: more is damage.
const DEEPEST: u16 = 16;
const LEAF: u8 = 0xFF;
const INDEX: u8 = 0;

/// Where a record is: its node and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) node: u32,
    pub(super) index: u16,
}

/// A tree in a file.
pub(super) struct Tree {
    file: Source,
    node_size: u64,
    root: u32,
    nodes: u32,
    depth: u16,
    /// How names are compared: 0xBC as numbers.
    pub(super) compare: u8,
    recent: Recent<u32, Arc<Vec<u8>>>,
}

/// A node that was read.
pub(super) struct Node(Arc<Vec<u8>>);

impl Node {
    fn kind(&self) -> Result<u8> {
        Fields::new(&self.0, "a node").u8(8)
    }

    fn records(&self) -> Result<u16> {
        Fields::new(&self.0, "a node").be16(10)
    }

    /// Record number `index`: their places are listed backwards from the end of the node.
    pub(super) fn record(&self, index: u16) -> Result<&[u8]> {
        let f = Fields::new(&self.0, "a node");
        let place = |index: u16| -> Result<usize> {
            let back = usize::from(index).saturating_add(1).saturating_mul(2);
            let at = self.0.len().checked_sub(back).ok_or_else(|| corrupt("too many records in a node"))?;
            Ok(f.be16(at)?.into())
        };
        let (start, end) = (place(index)?, place(index.saturating_add(1))?);
        f.slice(start, end.saturating_sub(start))
    }
}

/// A record without its key: the key says its length in front.
pub(super) fn body(record: &[u8]) -> Result<&[u8]> {
    let len = usize::from(Fields::new(record, "a key").be16(0)?).saturating_add(2);
    let even = len.saturating_add(len % 2);
    record.get(even..).ok_or_else(|| corrupt("a key longer than its record"))
}

impl Tree {
    pub(super) fn open(file: Source, what: &'static str) -> Result<Self> {
        let head = bytes::read(&*file, 0, 256, what)?;
        let f = Fields::new(&head, what);
        if f.u8(8)? != 1 {
            return Err(corrupt(format!("{what} has no head")));
        }
        let node_size = u64::from(f.be16(32)?);
        if !node_size.is_power_of_two() || node_size < 512 {
            return Err(corrupt(format!("{what} has nodes of {node_size} bytes")));
        }
        let depth = f.be16(14)?;
        if depth > DEEPEST {
            return Err(corrupt(format!("{what} has {depth} levels")));
        }
        Ok(Self {
            file,
            node_size,
            root: f.be32(16)?,
            nodes: f.be32(36)?,
            depth,
            compare: f.u8(51)?,
            recent: Recent::new(64),
        })
    }

    pub(super) fn node(&self, number: u32) -> Result<Node> {
        if number >= self.nodes {
            return Err(corrupt(format!("node {number} of a tree of {}", self.nodes)));
        }
        let at = u64::from(number).saturating_mul(self.node_size);
        let read = || Ok(Arc::new(bytes::read(&*self.file, at, self.node_size, "a node")?));
        Ok(Node(self.recent.get(number, read)?))
    }

    /// Calls `each` with the records from the first one on whose key is not less, by `compare` of a record with
    /// what is sought, until it says `false`.
    pub(super) fn walk(
        &self,
        compare: &dyn Fn(&[u8]) -> Result<Ordering>,
        each: &mut dyn FnMut(Spot, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        if self.root == 0 {
            return Ok(());
        }
        let mut number = self.root;
        for _ in 0..self.depth {
            let node = self.node(number)?;
            match node.kind()? {
                LEAF => break,
                INDEX => {}
                other => return Err(corrupt(format!("a node of kind {other} in a tree"))),
            }
            let mut child = None;
            for index in 0..node.records()? {
                let record = node.record(index)?;
                // Equal keys may begin in the node before, where only a part of the key is sought.
                if child.is_some() && compare(record)? != Ordering::Less {
                    break;
                }
                child = Some(Fields::new(body(record)?, "a node").be32(0)?);
            }
            number = child.ok_or_else(|| corrupt("an empty node in a tree"))?;
        }
        let mut found = false;
        for _ in 0..self.nodes {
            let node = self.node(number)?;
            super::super::guard::check_time()?;
            if node.kind()? != LEAF {
                return Err(corrupt("a node that is no leaf among leaves"));
            }
            for index in 0..node.records()? {
                let record = node.record(index)?;
                found = found || compare(record)? != Ordering::Less;
                if found && !each(Spot { node: number, index }, record)? {
                    return Ok(());
                }
            }
            number = Fields::new(&node.0, "a node").be32(0)?;
            if number == 0 {
                return Ok(());
            }
        }
        Err(corrupt("leaves that lead round in circles"))
    }
}

/// The units of a name: how many, and they.
pub(super) fn name(f: Fields<'_>, at: usize) -> Result<Vec<u16>> {
    let len = usize::from(f.be16(at)?);
    if len > 255 {
        return Err(corrupt(format!("a name of {len} units")));
    }
    Ok(bytes::units(f.slice(at.saturating_add(2), len.saturating_mul(2))?).collect())
}

/// A 32-bit number and a record's number, as one.
pub(super) fn pack(spot: Spot) -> u64 {
    (u64::from(spot.node) << 16) | u64::from(spot.index)
}

/// The same the other way round.
pub(super) fn unpack(packed: u64) -> Option<Spot> {
    let node = u32::try_from(packed >> 16).ok()?;
    Some(Spot { node, index: u16::try_from(narrow(packed & 0xFFFF)).ok()? })
}
