//! Names of the directories that were looked into lately, for readers whose filesystem has no index that they
//! follow: a lookup need not go through the directory each time.

use super::{Case, FileSystem, NodeId};
use block::Result;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept in all, about. A directory with more is looked through each time.
const MOST: usize = 48 << 20;
/// What a name takes besides its own bytes.
const EACH: usize = 64;

/// Names, and what they lead to.
#[derive(Default)]
struct Directory {
    exact: HashMap<Vec<u8>, NodeId>,
    /// In one case, where case does not matter.
    folded: HashMap<String, NodeId>,
    /// About.
    bytes: usize,
    /// Not all of its names are here: they are too many, or some cannot be read.
    partly: bool,
}

/// Directories, the one used last at the end.
#[derive(Default)]
pub(super) struct Names(Mutex<Vec<(NodeId, Arc<Directory>)>>);

impl Names {
    /// The file of this name; an exact match wins where several would do.
    pub(super) fn lookup(&self, fs: &dyn FileSystem, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let case = fs.info().case;
        let known = self.directory(fs, dir, case)?;
        let exact = known.exact.get(name).copied();
        match exact.or_else(|| known.folded.get(&fold(case, name)?).copied()) {
            None if known.partly => scan(fs, dir, name),
            found => Ok(found),
        }
    }

    fn directory(&self, fs: &dyn FileSystem, dir: NodeId, case: Case) -> Result<Arc<Directory>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| *known == dir) {
            let last = kept.len().saturating_sub(1);
            kept.get_mut(at..=last).unwrap_or(&mut []).rotate_left(1);
            return Ok(kept.last().map(|(_, known)| Arc::clone(known)).unwrap_or_default());
        }
        drop(kept); // others may look meanwhile
        let (mut new, mut large) = (Directory::default(), false);
        let listed = fs.read_dir(dir, &mut |entry| {
            let bytes = entry.name.len().saturating_add(EACH);
            new.bytes = new.bytes.saturating_add(bytes);
            large = new.bytes > MOST;
            if let Some(folded) = fold(case, &entry.name) {
                new.bytes = new.bytes.saturating_add(bytes);
                new.folded.entry(folded).or_insert(entry.node);
            }
            new.exact.entry(entry.name).or_insert(entry.node);
            Ok(!large)
        });
        if large {
            new = Directory::default();
        }
        new.partly = large || listed.is_err();
        let new = Arc::new(new);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((dir, Arc::clone(&new)));
        // Each directory counts, so that many empty ones are not kept for ever.
        let total = |kept: &[(NodeId, Arc<Directory>)]| {
            kept.iter().map(|(_, known)| known.bytes.saturating_add(EACH)).fold(0, usize::saturating_add)
        };
        while kept.len() > 1 && total(&kept) > MOST {
            kept.remove(0);
        }
        Ok(new)
    }
}

/// As [`FileSystem::lookup`] does where a reader has nothing better.
fn scan(fs: &dyn FileSystem, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
    let (case, mut found) = (fs.info().case, None);
    fs.read_dir(dir, &mut |entry| {
        if entry.name == name || (found.is_none() && case.same(&entry.name, name)) {
            found = Some(entry.node);
        }
        Ok(entry.name != name)
    })?;
    Ok(found)
}

fn fold(case: Case, name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok().filter(|_| case == Case::Insensitive)?;
    Some(name.chars().flat_map(char::to_uppercase).collect())
}
