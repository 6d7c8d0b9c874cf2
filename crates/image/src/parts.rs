//! One stored file while it is written: its parts, one behind the other (FORMAT 3.3).

use crate::background_sum::FinishedSums;
use crate::{Appender, PartInfo, Store};
use block::Result;

/// Bytes that an appender gathers before it writes.
const GATHER: usize = 4 << 20;

/// Appends to a stored file, cutting it into parts of at most `split` bytes.
pub(crate) struct Parts {
    name: String,
    split: Option<u64>,
    current: Option<Appender>,
    summed: bool,
    done: Vec<PartInfo>,
    sums: FinishedSums,
    len: u64,
}

/// A finished stored file.
pub(crate) struct Finished {
    pub(crate) parts: Vec<PartInfo>,
    /// SHA-256 of each part, if they were summed while writing.
    pub(crate) sums: FinishedSums,
}

impl Parts {
    pub(crate) fn new(name: String, split: Option<u64>, summed: bool) -> Self {
        Self { name, split, current: None, summed, done: vec![], sums: FinishedSums::default(), len: 0 }
    }

    /// Bytes of all parts so far: the next stored offset.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes that stay in one part: a frame.
    pub(crate) fn append(&mut self, store: &Store, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        if self.room().is_some_and(|room| room < len) && self.in_part() > 0 {
            self.close()?;
        }
        self.write(store, bytes)
    }

    /// Appends bytes that may be cut anywhere: a seek table larger than a part.
    pub(crate) fn append_anywhere(&mut self, store: &Store, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.room() == Some(0) {
                self.close()?;
            }
            let most = self.room().and_then(|room| usize::try_from(room).ok()).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(most));
            self.write(store, now)?;
            bytes = later;
        }
        Ok(())
    }

    /// Leaves zeroes out, cut on multiples of `grid`: of a raw file.
    pub(crate) fn hole(&mut self, store: &Store, len: u64, grid: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            let room = self.room().map_or(left, |room| room - room % grid);
            if room == 0 {
                self.close()?;
                continue;
            }
            let now = left.min(room);
            self.open(store)?.hole(now)?;
            self.len += now;
            left -= now;
        }
        Ok(())
    }

    fn write(&mut self, store: &Store, bytes: &[u8]) -> Result<()> {
        self.open(store)?.append(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn in_part(&self) -> u64 {
        self.current.as_ref().map_or(0, Appender::len)
    }

    /// Bytes that still fit into the current part.
    pub(crate) fn room(&self) -> Option<u64> {
        self.split.map(|split| split.saturating_sub(self.in_part()))
    }

    fn part_name(&self) -> String {
        match self.split {
            None => self.name.clone(),
            Some(_) => format!("{}.{:03}", self.name, self.done.len()),
        }
    }

    fn open(&mut self, store: &Store) -> Result<&mut Appender> {
        let name = self.part_name();
        match &mut self.current {
            Some(current) => Ok(current),
            none => {
                let part = store.append(&name, GATHER)?;
                Ok(none.insert(if self.summed { part.summed()? } else { part }))
            }
        }
    }

    /// Ends the current part: what comes next begins another one.
    pub(crate) fn close(&mut self) -> Result<()> {
        let name = self.part_name();
        let Some(current) = self.current.take() else { return Ok(()) };
        let (size, sum) = current.finish_summing()?;
        if let Some(sum) = sum {
            self.sums.push(name.clone(), sum)?;
        }
        self.done.push(PartInfo { name, size });
        Ok(())
    }

    /// What was appended is durable when this returns.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.current.as_mut().map_or(Ok(()), Appender::sync)
    }

    /// The last part is durable. A file that fits into one part has its plain name.
    pub(crate) fn finish(mut self, store: &Store) -> Result<Finished> {
        self.close()?;
        if let (Some(_), [only]) = (self.split, &mut self.done[..]) {
            store.rename(&only.name, &self.name)?;
            only.name.clone_from(&self.name);
            self.sums.rename(&self.name);
        }
        Ok(Finished { parts: self.done, sums: self.sums })
    }
}
