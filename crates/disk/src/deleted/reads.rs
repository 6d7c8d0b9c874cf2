//! How finders read: small things through a cache, in all no more than a limit, and a place that cannot be read
//! is simply not there.

use crate::fs::Cache;
use block::{ByteRange, ErrorKind, ReadAt, Result, Source};
use std::cell::Cell;
use std::sync::Arc;

/// Bytes that looking through one volume may take in all.
const BUDGET: u64 = 4 << 30;

/// A volume as finders see it.
pub(super) struct Reads {
    source: Source,
    left: Cell<u64>,
    /// Places that could not be read.
    unreadable: Cell<u64>,
}

impl Reads {
    pub(super) fn new(source: &Source) -> Self {
        let source: Source = Arc::new(Cache::new(Arc::clone(source)));
        Self { source, left: Cell::new(BUDGET), unreadable: Cell::new(0) }
    }

    /// Bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }

    /// The volume, with its cache.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// `len` bytes at `at` of the volume. `None` beyond its end, where it cannot be read, and when all that
    /// may be read was read; other errors fail.
    pub(super) fn get(&self, at: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.get_of(&*self.source, at, len)
    }

    /// The same of another source, made of this one.
    pub(super) fn get_of(&self, source: &dyn ReadAt, at: u64, len: u64) -> Result<Option<Vec<u8>>> {
        if ByteRange::within(source.size(), at, len).is_err() {
            return Ok(None);
        }
        let left = self.left.get().checked_sub(len.max(512));
        let (Some(left), Ok(room)) = (left, usize::try_from(len)) else {
            self.left.set(0);
            return Ok(None);
        };
        self.left.set(left);
        let mut bytes = vec![0; room];
        match source.read_at(at, &mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if is_hole(error.kind()) => {
                self.unreadable.set(self.unreadable.get().saturating_add(1));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What could not be looked at, in sentences.
    pub(super) fn finish(&self, missing: &mut Vec<String>) {
        match self.unreadable.get() {
            0 => {}
            1 => missing.push("One place of its structures could not be read.".to_owned()),
            n => missing.push(format!("{n} places of its structures could not be read.")),
        }
        if self.left.get() == 0 {
            missing.push(format!("Looking ended after {} GiB of its structures.", BUDGET >> 30));
        }
    }
}

/// Errors that say of a place that nobody has it.
fn is_hole(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Media | ErrorKind::Absent | ErrorKind::OutOfRange | ErrorKind::Corrupt)
}
