//! Volumes inside a partition: what LVM and md make of it, read without either.
//!
//! One table, `LAYERS`, one row a kind; what needs other disks too is told, not guessed.

mod lvm;
mod lvm_text;
mod md;

use crate::probe;
use block::{Error, ErrorKind, Result, Source};

/// Layers below each other that are looked through: a logical volume on an array on a partition is two.
const DEPTH: usize = 8;

/// A volume in a partition.
pub struct Volume {
    /// Its name: of a logical volume `root`, of an array its own or none.
    pub name: String,
    /// Its bytes; fails with [`ErrorKind::Unsupported`] where this disk alone does not have them.
    pub source: Result<Source>,
}

/// What a layer gives: several volumes by name, or the only one that there can be.
enum Inside {
    /// Through it, without a name: an array.
    One(Source),
    /// By their names: logical volumes.
    Named(Vec<Volume>),
}

/// A row: what lies inside these kinds of content.
struct Layer {
    /// As blkid calls them.
    types: &'static [&'static str],
    look: fn(&Source) -> Result<Inside>,
}

const LAYERS: &[Layer] = &[
    Layer { types: &["LVM2_member"], look: lvm::look },
    Layer { types: &["linux_raid_member"], look: md::look },
];

/// What is in a partition, looked through what has no name of its own.
pub enum Nested {
    /// Nothing inside: itself, or what the arrays around it hold.
    Plain(Source),
    /// Volumes, to be chosen by name.
    Volumes(Vec<Volume>),
}

/// Looks into `source`, a partition by itself. Fails with [`ErrorKind::Unsupported`] where what is inside needs
/// other disks or a key.
pub fn look(source: &Source) -> Result<Nested> {
    let mut source = Source::clone(source);
    for _ in 0..DEPTH {
        let Some(found) = probe::identify(&*source)? else { return Ok(Nested::Plain(source)) };
        if found.usage == probe::Usage::Crypto {
            let words = format!("{} is encrypted: nothing in it can be read without its key", found.title);
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        let Some(layer) = LAYERS.iter().find(|layer| layer.types.contains(&found.type_name)) else {
            return Ok(Nested::Plain(source));
        };
        match (layer.look)(&source)? {
            Inside::One(inside) => source = inside,
            Inside::Named(volumes) => return Ok(Nested::Volumes(volumes)),
        }
    }
    Err(Error::new(ErrorKind::Corrupt, "volumes within volumes without end"))
}

/// What is needed and not here.
fn unsupported(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, words)
}
