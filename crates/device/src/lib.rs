//! Live hardware: the disks of this machine and their identity, sources, and the one door to a target.
//!
//! * Who is who: an [`Identity`] (what a disk that comes back must match), an [`Instance`] (this
//!   attachment) and a [`DiskId`] (the disk *and what is on it*); what its drive keeps apart: [`Hidden`].
//! * In use by whom: [`Usage`]; [`judge`] makes [`Refusal`]s of [`Facts`], and is pure.
//! * Reading: a [`FileSource`] or a [`DeviceSource`]; writing: a [`Target`], which only `claim` makes.
//! * [`Monitor`] is how the engine comes to all of them.
//! * [`Machine`] says where the kernel tells about hardware.

#![deny(unsafe_code)]

mod ata;
mod below;
mod bus;
mod efivars;
mod facts;
mod file;
mod find;
mod guard;
mod handle;
mod hidden;
mod id;
mod identity;
mod io_hints;
mod list;
mod machine;
mod monitor;
mod mounts;
mod permission;
mod source;
mod sys;
mod target;
mod topology;
mod usage;
mod wire;

pub use below::Below;
pub use facts::Usage;
pub use file::FileSource;
pub use find::Place;
pub use guard::{Facts, Refusal, Wanted, judge};
pub use handle::Handle;
pub use hidden::Hidden;
pub use id::{Attached, DiskId, Identity, Instance, disk_id};
pub use io_hints::IoHints;
pub use list::{Disk, DiskKind, Partition};
pub use machine::Machine;
pub use monitor::{InProcess, Monitor};
pub use mounts::Mount;
pub use source::{DeviceSource, Opened, SourceOptions};
#[doc(hidden)]
pub use sys::add_partition;
pub use sys::{UNPRIVILEGED, huge_pages};
pub use target::Target;
