//! How many threads are worth while.

use std::num::NonZero;
use std::sync::OnceLock;

/// Cores that this process may use, asked once: a process that has given up its files can not ask again what a
/// control group permits. 2 where the system does not say.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(2, NonZero::get))
}
