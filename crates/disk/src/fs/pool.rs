//! Readers that want to be borrowed mutably, made for many threads: as many of them as are in use at once.

use block::Result;
use std::sync::{Mutex, PoisonError};

/// Handles of one kind; a call takes one that nobody uses, or makes another.
pub(super) struct Pool<T> {
    idle: Mutex<Vec<T>>,
    make: Box<dyn Fn() -> Result<T> + Send + Sync>,
}

impl<T> Pool<T> {
    /// With the first one made, so that what makes it fail is known at once.
    pub(super) fn new(make: impl Fn() -> Result<T> + Send + Sync + 'static) -> Result<Self> {
        let first = make()?;
        Ok(Self { idle: Mutex::new(vec![first]), make: Box::new(make) })
    }

    /// Calls with a handle. One whose call panicked is not used again.
    pub(super) fn with<R>(&self, call: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut handle = match idle {
            Some(handle) => handle,
            None => (self.make)()?,
        };
        let result = call(&mut handle);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        result
    }
}
