//! Files inside: from a subject and a locator to a filesystem and what is in it.
//!
//! `Volumes` knows what may hold files; a [`Volume`] opens to a filesystem; [`resolve`] and [`expand`] go
//! along paths inside it and [`Walk`] below them. None of them leaves the filesystem.

mod check;
mod contents;
mod get;
mod glob;
mod locator;
mod noting;
mod path;
mod undelete;
mod unread;
mod volumes;
mod walk;

pub use check::{FileFault, FilesChecked, PartChecked, check_files};
pub use get::{Get, GetFault, GetOptions, Got};
pub use glob::{Expanded, expand};
pub use locator::Locator;
pub use noting::{Lost, Noting};
pub use path::{Found, resolve, resolve_stream, resolve_through};
pub use undelete::undelete;
pub use unread::{Unread, has_unread, unread};
pub use volumes::{Volume, Volumes};
pub use walk::{Below, Step, Walk, kind_of, list};

/// Bytes are not to be had: nobody has them, or they are wrong.
fn is_lost(error: &block::Error) -> bool {
    use block::ErrorKind;
    matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent | ErrorKind::Corrupt)
}
