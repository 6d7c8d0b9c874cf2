//! What is read of a machine, on trees like those of real ones and on this one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod bus;
mod efivars;
mod fake;
mod list;
mod real;
mod usage;
