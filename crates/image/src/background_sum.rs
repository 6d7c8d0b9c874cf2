//! SHA-256 of what is written, on a thread of its own.
//!
//! It cannot be split among threads: at about 1.4 GB/s it is what a raw backup waits for. Here it waits for
//! nothing else: while it sums one buffer, the next one is filled and written.

use crate::{Hex, frame};
use block::{Buf, Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Messages that may wait: so many buffers, or zero frames of at most 1 GiB, is it behind at most.
const BEHIND: usize = 2;

enum Message {
    Bytes(Buf),
    Zeroes(u64),
}

/// A sum in the making. Dropped, it ends by itself.
#[derive(Debug)]
pub(crate) struct BackgroundSum {
    bytes: SyncSender<Message>,
    /// Buffers that were summed.
    back: Receiver<Buf>,
    thread: JoinHandle<Sha256>,
}

impl BackgroundSum {
    /// Of no bytes yet; buffers of `buffer` bytes go back and forth. Fails where no thread can be had.
    pub(crate) fn new(buffer: usize) -> Result<Self> {
        let (bytes, messages) = sync_channel(BEHIND);
        let (give_back, back) = channel();
        for _ in 0..BEHIND {
            let _ = give_back.send(Buf::with_capacity(buffer));
        }
        let thread = Builder::new()
            .name("sha256".to_owned())
            .spawn(move || sum(messages, give_back))
            .map_err(|error| Error::io(error, "starting a thread"))?;
        Ok(Self { bytes, back, thread })
    }

    /// Adds all of `buf` and puts an empty one in its place.
    pub(crate) fn bytes(&mut self, buf: &mut Buf) -> Result<()> {
        let mut next = self.back.recv().map_err(|_| gone())?;
        next.clear();
        self.send(Message::Bytes(std::mem::replace(buf, next)))
    }

    /// Adds so many zeroes.
    pub(crate) fn zeroes(&mut self, len: u64) -> Result<()> {
        self.send(Message::Zeroes(len))
    }

    fn send(&self, message: Message) -> Result<()> {
        self.bytes.send(message).map_err(|_| gone())
    }

    /// The sum of all that was added.
    pub(crate) fn finish(self) -> Result<Hex<32>> {
        drop(self.bytes);
        let sum = self.thread.join().map_err(|_| gone())?;
        Ok(Hex(sum.finalize().into()))
    }
}

/// Only a panic ends the thread before it is told to.
fn gone() -> Error {
    Error::new(ErrorKind::Bug, "the thread that sums what is written is gone")
}

/// The sums of files that are finished. The last one may still be under way, so that the next file is begun
/// meanwhile: not more, as each has buffers.
#[derive(Debug, Default)]
pub(crate) struct FinishedSums {
    done: Vec<(String, Hex<32>)>,
    last: Option<(String, BackgroundSum)>,
}

impl FinishedSums {
    /// One more file is finished.
    pub(crate) fn push(&mut self, name: String, sum: BackgroundSum) -> Result<()> {
        self.settle()?;
        self.last = Some((name, sum));
        Ok(())
    }

    /// More files are.
    pub(crate) fn append(&mut self, later: Self) -> Result<()> {
        self.settle()?;
        self.done.extend(later.done);
        self.last = later.last;
        Ok(())
    }

    /// Gives the only file another name.
    pub(crate) fn rename(&mut self, name: &str) {
        let last = self.last.iter_mut().map(|(old, _)| old);
        last.chain(self.done.iter_mut().map(|(old, _)| old)).for_each(|old| name.clone_into(old));
    }

    fn settle(&mut self) -> Result<()> {
        if let Some((name, sum)) = self.last.take() {
            self.done.push((name, sum.finish()?));
        }
        Ok(())
    }

    /// All of them.
    pub(crate) fn finish(mut self) -> Result<Vec<(String, Hex<32>)>> {
        self.settle()?;
        Ok(self.done)
    }
}

fn sum(messages: Receiver<Message>, give_back: Sender<Buf>) -> Sha256 {
    let mut sum = Sha256::new();
    for message in messages {
        match message {
            Message::Bytes(buf) => {
                sum.update(&*buf);
                let _ = give_back.send(buf);
            }
            Message::Zeroes(len) => frame::zeroes(len).for_each(|piece| sum.update(piece)),
        }
    }
    sum
}
