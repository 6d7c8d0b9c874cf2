//! A filesystem in memory, as honest or as hostile as a test wants it.

use block::{Error, ErrorKind, Result, Source};
use disk::fs::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::Memory;

/// A file of it.
#[derive(Clone)]
pub(crate) enum Node {
    Dir(Vec<(Vec<u8>, u64)>),
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// A name, and bytes.
pub(crate) type NamedBytes = (Vec<u8>, Vec<u8>);

pub(crate) struct Fake {
    info: Info,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) streams: BTreeMap<u64, Vec<NamedBytes>>,
}

impl Fake {
    /// From paths: `a/` is a directory, `a -> b` a link, all else a file that holds its own path.
    pub(crate) fn of(paths: &[&str]) -> Self {
        let info = Info {
            type_name: "fake",
            engine: "test",
            case: Case::Sensitive,
            condition: Condition::Clean,
            missing: vec![],
        };
        let mut fake = Self { info, nodes: BTreeMap::new(), streams: BTreeMap::new() };
        fake.nodes.insert(1, Node::Dir(vec![]));
        for path in paths {
            match path.split_once(" -> ") {
                Some((path, target)) => fake.put(path, Node::Link(target.into())),
                None if path.ends_with('/') => fake.put(path.trim_end_matches('/'), Node::Dir(vec![])),
                None => fake.put(path, Node::File(path.as_bytes().to_vec())),
            }
        }
        fake
    }

    pub(crate) fn insensitive(mut self) -> Self {
        self.info.case = Case::Insensitive;
        self
    }

    /// Puts a node at a path; directories on the way are made.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let (mut dir, names) = (1, path.split('/').collect::<Vec<_>>());
        for (n, name) in names.iter().enumerate() {
            let Some(Node::Dir(entries)) = self.nodes.get(&dir) else { panic!("{path}") };
            let known = entries.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, id)| *id);
            dir = known.unwrap_or_else(|| {
                let last = n + 1 == names.len();
                self.add(dir, name.as_bytes(), if last { node.clone() } else { Node::Dir(vec![]) })
            });
        }
    }

    /// Puts a node of any name into a directory.
    pub(crate) fn add(&mut self, dir: u64, name: &[u8], node: Node) -> u64 {
        let id = self.nodes.keys().last().unwrap() + 1;
        self.nodes.insert(id, node);
        self.link(dir, name, id);
        id
    }

    pub(crate) fn link(&mut self, dir: u64, name: &[u8], id: u64) {
        let Some(Node::Dir(entries)) = self.nodes.get_mut(&dir) else { panic!("{dir}") };
        entries.push((name.to_vec(), id));
    }

    fn node(&self, id: NodeId) -> Result<&Node> {
        self.nodes.get(&id.inode).ok_or_else(|| Error::new(ErrorKind::Corrupt, "no such inode"))
    }
}

impl FileSystem for Fake {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::inode(1)
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        let Node::Dir(entries) = self.node(dir)? else {
            return Err(Error::new(ErrorKind::Corrupt, "no directory"));
        };
        for (name, id) in entries {
            if !each(DirEntry { name: name.clone(), node: NodeId::inode(*id), kind: None })? {
                break;
            }
        }
        Ok(())
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let (kind, size) = match self.node(node)? {
            Node::Dir(_) => (FileKind::Directory, 0),
            Node::File(bytes) => (FileKind::File, bytes.len()),
            Node::Link(target) => (FileKind::Symlink, target.len()),
        };
        let links = |id: u64| {
            let entries = self.nodes.values().filter_map(|node| match node {
                Node::Dir(entries) => Some(entries),
                _ => None,
            });
            entries.flatten().filter(|(_, linked)| *linked == id).count()
        };
        Ok(Metadata { links: links(node.inode).max(1) as u32, ..Metadata::new(kind, size as u64) })
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let bytes = match (self.node(node)?, stream) {
            (Node::File(bytes), None) => Some(bytes),
            (_, Some(name)) => {
                let streams = self.streams.get(&node.inode).into_iter().flatten();
                streams.filter(|(known, _)| known == name).map(|(_, bytes)| bytes).next()
            }
            _ => None,
        };
        match bytes {
            Some(bytes) => Ok(Arc::new(Memory::new(bytes.clone()))),
            None => Err(Error::new(ErrorKind::NotFound, "no such stream")),
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        match self.node(node)? {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(Error::new(ErrorKind::Corrupt, "no link")),
        }
    }

    fn streams(&self, node: NodeId) -> Result<Vec<Stream>> {
        let streams = self.streams.get(&node.inode).into_iter().flatten();
        Ok(streams.map(|(name, bytes)| Stream { name: name.clone(), size: bytes.len() as u64 }).collect())
    }
}
