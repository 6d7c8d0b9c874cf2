//! Disks for tests. Nothing here is shipped.

mod loopdev;
mod memory;
pub mod sample;

pub use loopdev::LoopDevice;
pub use memory::{Memory, pattern};
