//! Bytes that somebody made to harm: a right answer or an error, never a panic, a hang, a large
//! allocation, or bytes that were not saved.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;
mod bytes;
mod index;
mod manifest;
