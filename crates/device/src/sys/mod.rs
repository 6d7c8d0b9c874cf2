//! What only the kernel can do: ioctls on block devices, SCSI commands to them and advice on memory. The
//! only `unsafe` code of selfsame is in here.

#![allow(unsafe_code)]

pub(crate) mod ioctl;
mod memory;
pub(crate) mod sg;

pub use ioctl::UNPRIVILEGED;
#[doc(hidden)]
pub use ioctl::add_partition;
pub use memory::huge_pages;
