//! Ctrl-C, SIGTERM and SIGHUP: the first one asks a job to stop, the second one leaves at once.

use crate::exit::Exit;
use block::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// What the signals have said so far.
#[derive(Clone)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
}

impl Signals {
    /// From now on a signal leaves at once with exit code 130, until [`Signals::begin_job`].
    pub fn install() -> Result<Self> {
        let signals = Self { stop: Arc::default(), leave: Arc::new(AtomicBool::new(true)) };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the shutdown looks at what the signals before this one have set.
            flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, signals.leave.clone())
                .and_then(|_| flag::register(signal, signals.stop.clone()))
                .and_then(|_| flag::register(signal, signals.leave.clone()))
                .map_err(|error| Error::io(error, "watching for signals"))?;
        }
        Ok(signals)
    }

    /// A job begins that must not be torn: its first signal only asks it to stop, by the flag returned.
    pub fn begin_job(&self) -> Arc<AtomicBool> {
        self.leave.store(false, SeqCst);
        self.stop.store(false, SeqCst);
        Arc::clone(&self.stop)
    }

    /// Was the job asked to stop?
    pub fn stop_asked(&self) -> bool {
        self.stop.load(SeqCst)
    }
}
