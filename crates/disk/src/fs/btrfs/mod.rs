//! Files of btrfs on one device: the default subvolume, and those below it as directories.
//!
//! Everything is read here, over a walker of trees that keeps nodes: nodes and data are checked against their
//! checksums, and of two copies the good one is taken. What was synced after the last commit lies over it.

mod chunk;
mod file;
mod inode;
mod log;
mod pack;
mod sum;
mod superblock;
mod tree;
mod volume;

use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Xattr};
use crate::probe::Content;
use block::field::u64_at;
use block::{Error, ErrorKind, Result, Source};
use file::File;
use inode::{DIR_INDEX, DIR_ITEM, Entry, INODE, ROOT, ROOT_REF, XATTR, entries};
use log::{Changes, Logged};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use sum::SumKind;
use tree::{Key, Root};
use volume::Volume;

/// The subvolume that is always there, and the tree of checksums of data.
const TOP: u64 = 5;
const SUMS: u64 = 7;
/// A directory that stands where a snapshot's copy of a subvolume would be.
const EMPTY: u64 = 2;
/// Bytes that a symbolic link may have.
const MOST_LINK: u64 = 64 << 10;

/// A subvolume.
#[derive(Clone, Copy)]
struct Subvolume {
    root: Root,
    /// Its topmost directory.
    dir: u64,
}

struct Btrfs {
    volume: Arc<Volume>,
    info: Info,
    top: NodeId,
    subvolumes: Mutex<HashMap<u64, Subvolume>>,
    /// What is newer, by subvolume.
    changes: BTreeMap<u64, Changes>,
}

/// What is wrong, of which structure.
fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} is wrong"))
}

/// Where the tree of an item of kind ROOT begins (`btrfs_root_item`).
fn root_of(item: &[u8]) -> Option<Root> {
    Some(Root { at: u64_at(item, 176)?, level: *item.get(238)?, generation: u64_at(item, 160)? })
}

/// Opens one, with what was synced after its last commit.
pub(super) fn open(source: Source, _: &Content) -> Result<Box<dyn FileSystem>> {
    let mut volume = Volume::new(source)?;
    volume.sums = subvolume(&volume, SUMS)?.map(|sums| sums.root);
    let mut missing = vec![];
    if volume.superblock.sums == SumKind::Blake2 {
        missing.push("its checksums, of kind BLAKE2, are not compared".to_owned());
    }
    let default = default_subvolume(&volume)?;
    if default != TOP {
        missing.push("its default subvolume is shown, and nothing that lies outside of that".to_owned());
    }
    let found =
        |id| subvolume(&volume, id)?.ok_or_else(|| corrupt(&format!("subvolume {id}, which is not there,")));
    let top = NodeId { inode: found(default)?.dir, tree: default };
    let (mut condition, mut changes) = (Condition::Clean, BTreeMap::new());
    if let Some(log) = volume.superblock.log {
        match log::changes(&volume, log, &|id| Ok(found(id)?.root)) {
            Ok(found) => (condition, changes) = (Condition::Replayed, found),
            Err(error) => {
                condition = Condition::Stale;
                missing.push(format!("what was synced after the last commit is not shown, because {error}"));
            }
        }
    }
    let case = Case::Sensitive;
    let info = Info { type_name: "btrfs", engine: "selfsame", case, condition, missing };
    let btrfs = Btrfs { volume: Arc::new(volume), info, top, subvolumes: Mutex::default(), changes };
    btrfs.directory(top)?;
    Ok(Box::new(btrfs))
}

/// Of an id; `None` if there is none.
fn subvolume(volume: &Volume, id: u64) -> Result<Option<Subvolume>> {
    let mut found = None;
    tree::items(volume, volume.superblock.root, (id, ROOT), &mut |_, item| {
        let dir = u64_at(item, 168);
        let subvolume = root_of(item).zip(dir).map(|(root, dir)| Subvolume { root, dir });
        found = Some(subvolume.ok_or_else(|| corrupt("the root of a subvolume"))?);
        Ok(true)
    })?;
    Ok(found)
}

/// The name "default" in a directory in the tree of roots leads there.
fn default_subvolume(volume: &Volume) -> Result<u64> {
    let mut found = TOP;
    let of = (volume.superblock.root_dir, DIR_ITEM);
    tree::items(volume, volume.superblock.root, of, &mut |_, item| {
        let all = entries(item).ok_or_else(|| corrupt("the default subvolume"))?;
        if let Some(entry) = all.iter().find(|e| e.name == b"default" && e.location.kind == ROOT) {
            found = entry.location.object;
        }
        Ok(true)
    })?;
    Ok(found)
}

/// Of a name, as keys of directories have it (`btrfs_name_hash`).
fn hash(name: &[u8]) -> u64 {
    super::sums::crc32c_from(!1, name).into()
}

impl Btrfs {
    fn subvolume(&self, id: u64) -> Result<Subvolume> {
        let known = || self.subvolumes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&id) {
            return Ok(*found);
        }
        let found = subvolume(&self.volume, id)?
            .ok_or_else(|| corrupt(&format!("subvolume {id}, which is not there,")))?;
        known().insert(id, found);
        Ok(found)
    }

    fn logged(&self, node: NodeId) -> Option<&Logged> {
        self.changes.get(&node.tree)?.inodes.get(&node.inode)
    }

    fn directory(&self, node: NodeId) -> Result<()> {
        match self.metadata(node)?.kind {
            FileKind::Directory => Ok(()),
            _ => Err(corrupt(&format!("kind of inode {}, which is no directory,", node.inode))),
        }
    }

    /// Where an entry of a directory leads; `None` if nowhere that we know.
    fn node(&self, dir: NodeId, entry: &Entry<'_>) -> Result<Option<NodeId>> {
        let object = entry.location.object;
        match entry.location.kind {
            INODE => Ok(Some(NodeId { inode: object, tree: dir.tree })),
            ROOT => {
                // A snapshot has the entry and not the subvolume.
                let key = Key { object: dir.tree, kind: ROOT_REF, offset: object };
                let item = tree::find(&self.volume, self.volume.superblock.root, key)?;
                if item.is_some_and(|item| u64_at(&item, 0) == Some(dir.inode)) {
                    return Ok(Some(NodeId { inode: self.subvolume(object)?.dir, tree: object }));
                }
                Ok(Some(NodeId { inode: EMPTY, tree: dir.tree.rotate_left(32) ^ object }))
            }
            _ => Ok(None),
        }
    }

    /// The entries of an item of a directory, but what the log has otherwise.
    fn old_entries<'a>(&self, dir: NodeId, item: &'a [u8]) -> Result<Vec<Entry<'a>>> {
        let mut all = entries(item).ok_or_else(|| corrupt(&format!("directory {}", dir.inode)))?;
        if let Some(changes) = self.changes.get(&dir.tree) {
            all.retain(|entry| !changes.names.contains_key(&(dir.inode, entry.name.to_vec())));
        }
        Ok(all)
    }

    fn content(&self, node: NodeId, size: u64) -> Result<File> {
        let root = self.subvolume(node.tree)?.root;
        let pieces = log::merged(&self.volume, root, node.inode, self.logged(node), size)?;
        Ok(File::new(&self.volume, size, pieces))
    }
}

impl FileSystem for Btrfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.top
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        if dir.inode == EMPTY {
            return Ok(());
        }
        self.directory(dir)?;
        let mut more = true;
        let root = self.subvolume(dir.tree)?.root;
        tree::items(&self.volume, root, (dir.inode, DIR_INDEX), &mut |_, item| {
            for entry in self.old_entries(dir, item)? {
                if let Some(node) = self.node(dir, &entry)? {
                    let kind = inode::kind_of(entry.sort);
                    more = more && each(DirEntry { name: entry.name.to_vec(), node, kind })?;
                }
            }
            Ok(more)
        })?;
        let new = self.changes.get(&dir.tree).into_iter().flat_map(|changes| {
            let names = changes.names.range((dir.inode, vec![])..);
            names.take_while(|((of, _), _)| *of == dir.inode)
        });
        for ((_, name), target) in new {
            if let Some((inode, sort)) = target.filter(|_| more) {
                let node = NodeId { inode, tree: dir.tree };
                more = each(DirEntry { name: name.clone(), node, kind: inode::kind_of(sort) })?;
            }
        }
        Ok(())
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        if dir.inode == EMPTY {
            return Ok(None);
        }
        self.directory(dir)?;
        let changed =
            self.changes.get(&dir.tree).and_then(|changes| changes.names.get(&(dir.inode, name.to_vec())));
        if let Some(target) = changed {
            return Ok(target.map(|(inode, _)| NodeId { inode, tree: dir.tree }));
        }
        let key = Key { object: dir.inode, kind: DIR_ITEM, offset: hash(name) };
        let Some(item) = tree::find(&self.volume, self.subvolume(dir.tree)?.root, key)? else {
            return Ok(None);
        };
        let all = self.old_entries(dir, &item)?;
        all.iter().find(|entry| entry.name == name).map_or(Ok(None), |entry| self.node(dir, entry))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        if node.inode == EMPTY {
            // Linux shows the time at which it was looked at.
            let empty = Metadata::new(FileKind::Directory, 0);
            return Ok(Metadata { mode: Some(0o755), uid: Some(0), gid: Some(0), ..empty });
        }
        let key = Key { object: node.inode, kind: INODE, offset: 0 };
        let base = tree::find(&self.volume, self.subvolume(node.tree)?.root, key)?;
        let item = match self.logged(node) {
            Some(logged) => Some(logged.item(base)),
            None => base,
        };
        let what = || format!("inode {}", node.inode);
        let item = item.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is not there", what())))?;
        inode::metadata(&item).ok_or_else(|| corrupt(&what()))
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        if stream.is_some() {
            return Err(Error::new(ErrorKind::NotFound, "btrfs has no streams"));
        }
        let metadata = self.metadata(node)?;
        match metadata.kind {
            FileKind::File => Ok(Arc::new(self.content(node, metadata.size)?)),
            _ => Err(Error::new(ErrorKind::Usage, "only files have content")),
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        use block::ReadAt as _;
        let metadata = self.metadata(node)?;
        if metadata.kind != FileKind::Symlink {
            return Err(Error::new(ErrorKind::Usage, "it is no symbolic link"));
        }
        if metadata.size > MOST_LINK {
            return Err(corrupt("length of a link"));
        }
        let mut target = vec![0; usize::try_from(metadata.size).unwrap_or(0)];
        self.content(node, metadata.size)?.read_at(0, &mut target)?;
        Ok(target)
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        if let Some(logged) = self.logged(node) {
            return Ok(logged.xattrs.clone());
        }
        let mut found = vec![];
        if node.inode == EMPTY {
            return Ok(found);
        }
        let root = self.subvolume(node.tree)?.root;
        tree::items(&self.volume, root, (node.inode, XATTR), &mut |_, item| {
            let all = entries(item).ok_or_else(|| corrupt("attributes"))?;
            found.extend(all.iter().map(|e| Xattr { name: e.name.to_vec(), value: e.value.to_vec() }));
            Ok(true)
        })?;
        Ok(found)
    }
}
