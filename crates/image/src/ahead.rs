//! Threads that decode what a sequential reader will ask for next.

use block::Result;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

/// Frames that wait to be decoded, at most: what is more is not read ahead.
const WAITING: usize = 32;

/// Work that nobody waits for: it fills the cache. Its error comes again to whom asks for the bytes.
pub(crate) type Task = Box<dyn FnOnce() -> Result<()> + Send>;

/// Shared by all readers of a backup. Its threads begin with the first task and end when it is dropped.
#[derive(Default)]
pub(crate) struct Ahead(OnceLock<Option<SyncSender<Task>>>);

impl Ahead {
    /// Has a task done soon; `false`: not at all.
    pub(crate) fn soon(&self, task: Task) -> bool {
        self.0.get_or_init(begin).as_ref().is_some_and(|tasks| tasks.try_send(task).is_ok())
    }
}

/// `None` where no thread can be had: then nothing is read ahead.
fn begin() -> Option<SyncSender<Task>> {
    let (tasks, queue) = sync_channel(WAITING);
    let queue = Arc::new(Mutex::new(queue));
    let count = block::cores();
    let started = (0..count).map(|_| {
        let queue = Arc::clone(&queue);
        thread::Builder::new().name("ahead".to_owned()).spawn(move || work(&queue))
    });
    let started = started.filter(std::io::Result::is_ok).count();
    (started > 0).then_some(tasks)
}

fn work(queue: &Mutex<Receiver<Task>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = next else { break };
        let _ = task();
    }
}
