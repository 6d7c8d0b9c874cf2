//! How a disk is kept: docs/FORMAT.md in code.
//!
//! * A folder: [`Store`] is the only creator of files, [`ImageFile`] the only one outside a backup.
//! * What it holds: [`Manifest`], [`Sums`], [`mapfile`], [`restore_text`].
//! * Writing: [`Writer`] is a [`block::Sink`]; reading: [`Backup`] gives [`block::Source`]s.

#![forbid(unsafe_code)]

mod ahead;
mod appender;
mod background_sum;
mod backup;
mod cache;
mod encoder;
mod folder;
mod frame;
mod hex;
mod image_file;
mod index;
mod index_writer;
mod level;
mod manifest;
pub mod mapfile;
mod name;
mod outlet;
mod overlay;
mod page;
mod parts;
mod reader;
mod restore_text;
mod room;
mod seek_table;
mod shape;
mod store;
mod stored_file;
mod sums;
mod tree;
mod writer;

pub use appender::Appender;
pub use backup::{Backup, Fault};
pub use encoder::{Encoded, FrameEncoder};
pub use folder::{LocalFiles, LocalFolder};
pub use frame::{Compressor, Decompressor, Sort, encode_stored, encode_zero, is_zero, zeroes};
pub use hex::Hex;
pub use image_file::ImageFile;
pub use index::Index;
pub use level::Level;
pub use manifest::*;
pub use outlet::{Allowed, Attrs, Lacking, LocalOutlet, Made, Outlet, Special, Step, TOP};
pub use overlay::Overlay;
pub use page::Frame;
pub use reader::{Scratch, plain};
pub use restore_text::restore_text;
pub use room::{Room, room};
pub use store::{Store, is_part, random_id};
pub use sums::Sums;
pub use tree::value;
pub use writer::{Spec, Writer, Written};
