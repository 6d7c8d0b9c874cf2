//! The words and the contract. Everything else in selfsame meets here, and this crate depends on nothing.
//!
//! * Words: [`ByteRange`], [`Lba`], [`SectorSize`], [`Extent`], [`Region`]; [`field`] reads them from bytes.
//! * Reading: [`ReadAt`], and wrappers that are sources themselves: [`Slice`], [`Concat`], [`FillAbsent`].
//! * Writing: [`WriteAt`], always readable, so that what was written is read back through the same handle.
//! * Opening: [`Files`] and [`Folder`], so that a process without rights can have files opened for it.
//! * Moving: [`Buffer`] is what one read moves, [`Sink`] with its [`Encode`] is where it goes.
//!
//! All offsets and lengths are bytes unless a name says sectors.

mod buf;
mod concat;
mod cores;
mod error;
mod extent;
pub mod field;
mod files;
mod fill;
mod range;
mod read;
mod region;
mod sink;
mod slice;
mod write;

pub use buf::Buf;
pub use concat::Concat;
pub use cores::cores;
pub use error::{Error, ErrorKind, Result};
pub use extent::{Extent, ExtentKind, ExtentMap};
pub use files::{Entry, Files, Folder, Found, How, folder_of};
pub use fill::FillAbsent;
pub use range::{ByteRange, Lba, SectorSize};
pub use read::{ReadAt, Source, extents};
pub use region::{Region, Role};
pub use sink::{Buffer, Encode, Sink};
pub use slice::Slice;
pub use write::WriteAt;
