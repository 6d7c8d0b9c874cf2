//! The terminal: arguments, what is printed, exit codes. The verbs themselves are the engine's.

pub mod args;
pub mod cmd;
pub mod confirm;
pub mod exit;
pub mod fuse;
pub mod monitor;
pub mod nbd;
pub mod signals;
pub mod ui;
