//! Disks for tests. Nothing here is shipped.

mod image_file;
mod loopdev;
mod memory;
pub mod sample;
pub mod tools;

pub use image_file::ImageFile;
pub use loopdev::LoopDevice;
pub use memory::{Memory, pattern};
