//! A server of the Network Block Device protocol: fixed newstyle, structured replies, `base:allocation`, several
//! connections at once.

mod client;
mod handshake;
mod transmission;
mod wire;

pub use client::Disk;

use block::{Source, WriteAt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections at once; more wait.
const MAX_CONNECTIONS: usize = 64;
/// Between two looks at the flag that ends it, in nanoseconds.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Something that is served.
pub struct Export {
    /// How clients ask for it; the first one has none.
    pub name: String,
    /// One line for a person.
    pub description: String,
    /// What is read. Absent bytes must read as zeroes, bad ones as errors.
    pub source: Source,
    /// Where writes go, which `source` shows: `None` for read-only.
    pub overlay: Option<Arc<dyn WriteAt>>,
}

impl Export {
    fn size(&self) -> u64 {
        self.source.size()
    }

    /// Bytes that reads are best multiples of: a power of two.
    fn granule(&self) -> u64 {
        self.source.granule().next_power_of_two().clamp(512, 1 << 20)
    }
}

/// Where clients come from.
#[derive(Debug)]
pub enum Listener {
    /// A socket in the file system.
    Unix(UnixListener),
    /// A port.
    Tcp(TcpListener),
}

/// A client.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).read(buf),
            Stream::Tcp(stream) => (&mut &*stream).read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).write(buf),
            Stream::Tcp(stream) => (&mut &*stream).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How clients find a socket: the NBD URI specification.
pub fn unix_uri(path: &OsStr) -> String {
    let mut uri = "nbd+unix:///?socket=".to_owned();
    for byte in path.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// Serves until `stop` is set, and then cuts off who is still there. How many clients came is returned.
pub fn serve(listener: &Listener, exports: &[Arc<Export>], stop: &AtomicBool) -> io::Result<usize> {
    let clients = Mutex::new(BTreeMap::<usize, Stream>::new());
    let clients = || clients.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let mut came = 0;
        while !stop.load(Ordering::SeqCst) {
            let mut fds = [PollFd::new(listener, PollFlags::IN)];
            let waiting = if clients().len() < MAX_CONNECTIONS { &mut fds[..] } else { &mut fds[..0] };
            match poll(waiting, Some(&PATIENCE)) {
                Ok(0) | Err(Errno::INTR) => continue,
                ready => ready?,
            };
            // A client that went before it was let in is none.
            let Ok(stream) = listener.accept() else { continue };
            came += 1;
            let number = came;
            clients().insert(number, stream.try_clone()?);
            let clients = &clients;
            scope.spawn(move || {
                // What goes wrong is the client's business: it sees it, or it is gone.
                let _ = connection(&stream, exports);
                clients().remove(&number);
                let _ = stream.shutdown();
            });
        }
        clients().values().for_each(|client| drop(client.shutdown()));
        Ok(came)
    })
}

/// Serves one client that is there already, until it goes.
pub fn converse(stream: UnixStream, exports: &[Arc<Export>]) {
    // What goes wrong is the client's business: it sees it, or it is gone.
    let _ = connection(&Stream::Unix(stream), exports);
}

fn connection(stream: &Stream, exports: &[Arc<Export>]) -> io::Result<()> {
    let mut both = stream;
    let Some(agreed) = handshake::negotiate(&mut both, exports)? else { return Ok(()) };
    let workers = agreed.export.source.concurrency().clamp(1, 2 * block::cores());
    transmission::serve(BufReader::new(stream), stream, &agreed, workers);
    Ok(())
}

#[cfg(test)]
mod tests;
