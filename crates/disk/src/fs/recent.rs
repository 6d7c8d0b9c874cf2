//! The last few things that were decoded, so that neighbours need not decode them again.

use super::bytes::corrupt;
use super::{Case, DirEntry, Each, NodeId};
use block::{Error, Result};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// At most so many values, the ones used last.
pub(super) struct Recent<K, V> {
    most: usize,
    kept: Mutex<VecDeque<(K, V)>>,
}

impl<K: Eq, V: Clone> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// What is kept under this key, or what `make` makes. Threads that want the same at once may make it twice.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().rposition(|(known, _)| *known == key);
        if let Some(found) = place.and_then(|place| kept.remove(place)) {
            let value = found.1.clone();
            kept.push_back(found);
            return Ok(value);
        }
        drop(kept);
        let value = make()?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() >= self.most {
            kept.pop_front();
        }
        kept.push_back((key, value.clone()));
        Ok(value)
    }
}

/// Names in one directory. A hostile one claims more than memory holds.
const MOST_NAMES: usize = 1 << 20;

/// A directory that was read to its end, or to where it is damaged.
struct Listing {
    entries: Vec<DirEntry>,
    exact: HashMap<Vec<u8>, NodeId>,
    folded: HashMap<String, NodeId>,
    failed: Option<Error>,
}

impl Listing {
    /// The file of this name.
    fn find(&self, name: &[u8]) -> Option<NodeId> {
        let exact = self.exact.get(name);
        exact.or_else(|| self.folded.get(&fold(std::str::from_utf8(name).ok()?))).copied()
    }

    /// Why the directory is not all here.
    fn failure(&self) -> Result<()> {
        let Some(error) = &self.failed else { return Ok(()) };
        let again = Error::new(error.kind(), error.to_string());
        Err(error.range().into_iter().fold(again, Error::with_range))
    }
}

/// As [`Case::same`] compares.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

/// The directories that were read last, for filesystems that cannot look up a name without reading all of
/// its directory: looking up each of n names would be n² otherwise.
pub(super) struct Listings {
    case: Case,
    recent: Recent<NodeId, Arc<Listing>>,
}

impl Listings {
    pub(super) fn new(case: Case) -> Self {
        Self { case, recent: Recent::new(4) }
    }

    /// Calls `each` for every name in `dir`, which `fill` reads; where it is damaged, for those before that.
    pub(super) fn read_dir(
        &self,
        dir: NodeId,
        each: Each<'_>,
        fill: impl FnOnce(Add<'_>) -> Result<()>,
    ) -> Result<()> {
        let listing = self.get(dir, fill)?;
        for entry in &listing.entries {
            if !each(entry.clone())? {
                return Ok(());
            }
        }
        listing.failure()
    }

    /// The file of this name in `dir`, which `fill` reads.
    pub(super) fn lookup(
        &self,
        dir: NodeId,
        name: &[u8],
        fill: impl FnOnce(Add<'_>) -> Result<()>,
    ) -> Result<Option<NodeId>> {
        let listing = self.get(dir, fill)?;
        let found = listing.find(name);
        if found.is_none() {
            listing.failure()?;
        }
        Ok(found)
    }

    fn get(&self, dir: NodeId, fill: impl FnOnce(Add<'_>) -> Result<()>) -> Result<Arc<Listing>> {
        self.recent.get(dir, || {
            let mut entries: Vec<DirEntry> = vec![];
            let filled = fill(&mut |entry| {
                if entries.len() >= MOST_NAMES {
                    return Err(corrupt(format!("a directory of more than {MOST_NAMES} names")));
                }
                if entries.len().is_multiple_of(1024) {
                    super::guard::check_time()?;
                }
                entries.push(entry);
                Ok(())
            });
            let (mut exact, mut folded) = (HashMap::new(), HashMap::new());
            for DirEntry { name, node, .. } in &entries {
                exact.entry(name.clone()).or_insert(*node);
                if let (Case::Insensitive, Ok(name)) = (self.case, std::str::from_utf8(name)) {
                    folded.entry(fold(name)).or_insert(*node);
                }
            }
            Ok(Arc::new(Listing { entries, exact, folded, failed: filled.err() }))
        })
    }
}

/// What is called with each name that is found.
pub(super) type Add<'a> = &'a mut dyn FnMut(DirEntry) -> Result<()>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_ones() {
        let recent = Recent::new(2);
        let made = |key: u32| recent.get(key, || Ok(key)).unwrap();
        assert_eq!((made(1), made(2), made(1), made(3)), (1, 2, 1, 3));
        assert_eq!(recent.get(1, || Ok(9)).unwrap(), 1);
        assert_eq!(recent.get(2, || Ok(9)).unwrap(), 9);
        assert!(recent.get(7, || Err(corrupt("no"))).is_err());
    }

    #[test]
    fn finds_by_the_case_rule() {
        let names = [&b"Readme"[..], b"other", b"OTHER"];
        let find = |case, name: &[u8]| {
            let entry = |(n, name): (u64, &&[u8])| DirEntry {
                name: name.to_vec(),
                node: NodeId::inode(n),
                kind: None,
            };
            let mut names = (0..).zip(&names).map(entry);
            let fill = |add: &mut dyn FnMut(DirEntry) -> Result<()>| names.try_for_each(add);
            let found = Listings::new(case).lookup(NodeId::inode(0), name, fill).unwrap();
            found.map(|node| node.inode)
        };
        assert_eq!(find(Case::Sensitive, b"readme"), None);
        assert_eq!(find(Case::Insensitive, b"readme"), Some(0));
        assert_eq!(find(Case::Insensitive, b"OTHER"), Some(2));
        assert_eq!(find(Case::Sensitive, b"other"), Some(1));
    }

    #[test]
    fn names_before_the_damage_are_shown() {
        let entry = DirEntry { name: b"here".to_vec(), node: NodeId::inode(5), kind: None };
        let fill = |add: Add<'_>| add(entry.clone()).and_then(|()| Err(corrupt("damage")));
        let listings = Listings::new(Case::Sensitive);
        let mut names = vec![];
        let mut each = |entry: DirEntry| {
            names.push(entry.name);
            Ok(true)
        };
        let error = listings.read_dir(NodeId::inode(0), &mut each, fill).unwrap_err();
        assert!(error.to_string().contains("damage") && names == [b"here"]);
        let lookup = |name: &[u8]| listings.lookup(NodeId::inode(0), name, fill);
        assert_eq!(lookup(b"here").unwrap(), Some(entry.node));
        assert!(lookup(b"there").is_err());
    }
}
