//! What is on a disk: partition tables and recognised content. Everything here reads hostile bytes.
#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

pub mod boot;
mod boot_entry;
pub mod deleted;
pub mod esp;
mod fat;
mod finding;
pub mod fs;
mod gpt;
mod gpt_move;
mod gpt_new;
mod guid;
mod kernel;
pub mod layout;
mod mbr;
pub mod nested;
mod new_ids;
mod partition;
pub mod probe;
mod reader;
pub mod sample;
mod script;
mod sector_size;
mod slices;
mod types;
pub mod used;

pub use boot_entry::{BootEntry, BootId, BootPartition};
pub use finding::Finding;
pub use gpt::Gpt;
pub use gpt_move::gpt_moved;
pub use gpt_new::{Alignment, BASIC_DATA_TYPE, LINUX_TYPE, NewPartition, NewTable, gpt_new};
pub use guid::Guid;
pub use layout::{Layout, Table, TablePart};
pub use mbr::Mbr;
pub use new_ids::new_ids;
pub use partition::{Partition, TypeId};
