//! What is where: the numbers by which the kernel calls files, and what each one is.
//!
//! A number says the volume in its upper 16 bits and the file's own number below, so that it is the same at every
//! mount. Files whose own number does not fit, or is not all of their address, get theirs from a table.

use block::{Error, ErrorKind, Result, Source};
use disk::fs::{FileSystem, NodeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The topmost folder, as FUSE has it.
pub(super) const TOP: u64 = 1;
/// The folder of images, and its first file.
pub(super) const IMAGES: u64 = 2;
const FIRST_IMAGE: u64 = 16;
/// How the folder of images is called.
pub(super) const IMAGES_NAME: &[u8] = b"images";

/// Bits of a file's own number.
const OWN_BITS: u32 = 48;
/// A number from the table of its volume.
const TABLED: u64 = 1 << (OWN_BITS - 1);
/// The root of a volume, whatever its own number.
const ROOT: u64 = 0;

/// A raw region, or the whole disk.
pub struct Image {
    /// Its name in `images/`.
    pub name: String,
    /// Its bytes: absent ones are zeroes, bad ones errors.
    pub source: Source,
}

/// A volume with files.
pub struct Volume {
    name: String,
    open: Box<dyn Fn() -> Result<Arc<dyn FileSystem>> + Send + Sync>,
    /// `None`: it cannot be read, which was said.
    opened: OnceLock<Option<Arc<dyn FileSystem>>>,
    refused: Box<dyn Fn(&Error) + Send + Sync>,
    table: Mutex<Table>,
}

/// Files that have no number of their own.
#[derive(Default)]
struct Table {
    numbers: HashMap<NodeId, u64>,
    nodes: Vec<NodeId>,
}

impl Volume {
    /// A folder of this name. It is opened when somebody looks into it; if that fails, `refused` is told once and
    /// the folder is empty.
    pub fn new(
        name: String,
        open: impl Fn() -> Result<Arc<dyn FileSystem>> + Send + Sync + 'static,
        refused: impl Fn(&Error) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            open: Box::new(open),
            opened: OnceLock::new(),
            refused: Box::new(refused),
            table: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn files(&self) -> Option<&Arc<dyn FileSystem>> {
        let open = || (self.open)().inspect_err(|error| (self.refused)(error)).ok();
        self.opened.get_or_init(open).as_ref()
    }

    /// The lower bits of a file's number.
    fn own_number(&self, node: NodeId) -> u64 {
        if self.files().is_some_and(|files| files.root() == node) {
            return ROOT;
        }
        if node.tree == 0 && (1..TABLED).contains(&node.inode) {
            return node.inode;
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let next = table.nodes.len() as u64 | TABLED;
        let number = *table.numbers.entry(node).or_insert(next);
        if number == next {
            table.nodes.push(node);
        }
        number
    }

    fn node(&self, own: u64) -> Option<NodeId> {
        match own {
            ROOT => self.files().map(|files| files.root()),
            own if own & TABLED == 0 => Some(NodeId::inode(own)),
            own => {
                let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
                usize::try_from(own ^ TABLED).ok().and_then(|index| table.nodes.get(index).copied())
            }
        }
    }
}

/// What a number stands for.
pub(super) enum Node<'a> {
    Top,
    Images,
    Image(&'a Image),
    /// The folder of a volume that cannot be read.
    Empty,
    File(&'a Arc<dyn FileSystem>, NodeId),
}

/// All of it.
pub struct Tree {
    volumes: Vec<Volume>,
    images: Vec<Image>,
    /// Bytes of the disk.
    pub(super) size: u64,
    pub(super) owner: super::Owner,
}

impl Tree {
    /// Of a disk of `size` bytes.
    pub fn new(volumes: Vec<Volume>, images: Vec<Image>, size: u64, owner: super::Owner) -> Self {
        Self { volumes, images, size, owner }
    }

    pub(super) fn node(&self, number: u64) -> Result<Node<'_>> {
        let missing = || Error::new(ErrorKind::NotFound, "no such file");
        let own = number & ((1 << OWN_BITS) - 1);
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        match number >> OWN_BITS {
            0 if number == TOP => Ok(Node::Top),
            0 if number == IMAGES => Ok(Node::Images),
            0 => {
                let image = number.checked_sub(FIRST_IMAGE).and_then(|n| self.images.get(index(n)));
                image.map(Node::Image).ok_or_else(missing)
            }
            volume => {
                let volume = self.volumes.get(index(volume - 1)).ok_or_else(missing)?;
                match (volume.files(), own) {
                    (Some(files), own) => Ok(Node::File(files, volume.node(own).ok_or_else(missing)?)),
                    (None, ROOT) => Ok(Node::Empty),
                    (None, _) => Err(missing()),
                }
            }
        }
    }

    /// The number of a file of the volume that `sibling` is in.
    pub(super) fn number(&self, sibling: u64, node: NodeId) -> u64 {
        let volume = sibling >> OWN_BITS;
        let found = volume.checked_sub(1).and_then(|n| self.volumes.get(usize::try_from(n).ok()?));
        found.map_or(0, |found| volume << OWN_BITS | found.own_number(node))
    }

    /// Names and numbers in the topmost folder.
    pub(super) fn top(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let volumes = self.volumes.iter().zip(1_u64..);
        let volumes = volumes.map(|(volume, number)| (volume.name().as_bytes(), number << OWN_BITS));
        volumes.chain([(IMAGES_NAME, IMAGES)])
    }

    /// In the folder of images.
    pub(super) fn images(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.images.iter().zip(FIRST_IMAGE..).map(|(image, number)| (image.name.as_bytes(), number))
    }

    /// The file of a name in a folder.
    pub(super) fn lookup(&self, dir: u64, name: &[u8]) -> Result<u64> {
        let missing = || Error::new(ErrorKind::NotFound, "no such file");
        let named = |(there, number): (&[u8], u64)| (there == name).then_some(number);
        let found = match self.node(dir)? {
            Node::Top => self.top().find_map(named),
            Node::Images => self.images().find_map(named),
            Node::Image(_) | Node::Empty => None,
            Node::File(files, node) => files.lookup(node, name)?.map(|node| self.number(dir, node)),
        };
        found.ok_or_else(missing)
    }
}
