//! What stands around every reader: a panic is an error, a call that does not end is one, and names that are
//! none do not come out, but are told of.

use super::{DirEntry, Each, FileSystem, Info, Metadata, NodeId, Stream, Xattr};
use block::{Error, ErrorKind, Extent, ReadAt, Result, Source};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A call into a reader may take as long as this without coming back. Damaged structures that lead round in
/// circles end here; honest ones need a hundredth of it.
const LIMIT: Duration = Duration::from_secs(8);
/// What a read of the source may take of that. The rest is the disk's: old ones seek, bad sectors are tried for seconds.
const READ: Duration = Duration::from_millis(1);

/// Names of one directory, which are held in memory together.
const MOST_NAMES: usize = 2 << 20;

thread_local! {
    /// When the outermost call of this thread into a reader began.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Is this thread inside a reader? A panic there is caught and told as an error: who prints panics need not.
pub fn in_reader() -> bool {
    BEGAN.get().is_some()
}

/// Fails when the call that this thread is in takes too long. Asked at each read of the source.
pub(super) fn check_time() -> Result<()> {
    match BEGAN.get().is_some_and(|began| began.elapsed() > LIMIT) {
        true => Err(Error::new(ErrorKind::Corrupt, "its structures lead round in circles")),
        false => Ok(()),
    }
}

/// Reads from the source; how long the disk takes is not held against the reader.
pub(super) fn waiting<T>(read: impl FnOnce() -> T) -> T {
    let before = Instant::now();
    let result = read();
    let patience = before.elapsed().saturating_sub(READ);
    BEGAN.set(BEGAN.get().and_then(|began| began.checked_add(patience)));
    result
}

/// Runs a call into a reader.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = BEGAN.get();
    BEGAN.set(Some(outer.unwrap_or_else(Instant::now)));
    let result = catch_unwind(AssertUnwindSafe(call));
    BEGAN.set(outer.and(BEGAN.get()));
    result.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(Error::new(ErrorKind::Corrupt, format!("the reader of this filesystem gave up: {words}")))
    })
}

/// A filesystem with its guard.
pub(super) struct Guard(pub(super) Box<dyn FileSystem>);

impl FileSystem for Guard {
    fn info(&self) -> &Info {
        self.0.info()
    }

    fn root(&self) -> NodeId {
        self.0.root()
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        // What is done with the names is not the reader's: neither its time nor its panics.
        let (mut entries, mut unusable) = (vec![], 0_u64);
        let result = guarded(|| {
            self.0.read_dir(dir, &mut |entry| {
                if is_name(&entry) {
                    entries.push(entry);
                } else {
                    unusable = unusable.saturating_add(1);
                }
                match entries.len() {
                    0..=MOST_NAMES => Ok(true),
                    _ => {
                        Err(Error::new(ErrorKind::Unsupported, "a directory of more than two million names"))
                    }
                }
            })
        });
        // What stands before a damaged place is no worse for it.
        for entry in entries {
            if !each(entry)? {
                return Ok(());
            }
        }
        result.and_then(|()| match unusable {
            0 => Ok(()),
            1 => {
                Err(Error::new(ErrorKind::Corrupt, "1 name in it cannot be that of a file and is not shown"))
            }
            n => {
                let words = format!("{n} names in it cannot be those of files and are not shown");
                Err(Error::new(ErrorKind::Corrupt, words))
            }
        })
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        guarded(|| self.0.lookup(dir, name))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        guarded(|| self.0.metadata(node))
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        guarded(|| self.0.open(node, stream)).map(|source| -> Source { Arc::new(Guarded(source)) })
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        guarded(|| self.0.read_link(node))
    }

    fn streams(&self, node: NodeId) -> Result<Vec<Stream>> {
        guarded(|| self.0.streams(node))
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        guarded(|| self.0.xattrs(node))
    }
}

/// One component that is a name.
fn is_name(entry: &DirEntry) -> bool {
    let name = &entry.name[..];
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// The content of a file with the same guard.
struct Guarded(Source);

impl ReadAt for Guarded {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        guarded(|| self.0.read_at(offset, buf))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        guarded(|| self.0.extent_at(offset))
    }

    fn concurrency(&self) -> usize {
        self.0.concurrency()
    }

    fn granule(&self) -> u64 {
        self.0.granule()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = guarded::<()>(|| std::panic::panic_any("made so")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("made so") && !in_reader());
    }

    #[test]
    fn the_clock_runs_only_inside() {
        assert!(check_time().is_ok());
        guarded(|| {
            assert!(in_reader());
            check_time()
        })
        .unwrap();
        let late = Instant::now().checked_sub(LIMIT * 2);
        BEGAN.set(late);
        assert_eq!(check_time().is_err(), late.is_some());
        BEGAN.set(None);
    }

    #[test]
    fn a_slow_disk_is_no_circle() {
        let late = Instant::now().checked_sub(LIMIT - READ * 20);
        BEGAN.set(late);
        waiting(|| std::thread::sleep(READ * 50));
        assert!(check_time().is_ok());
        guarded(|| {
            std::thread::sleep(READ * 50);
            Ok(())
        })
        .unwrap();
        assert_eq!(check_time().is_err(), late.is_some());
        BEGAN.set(None);
    }

    /// A filesystem of these names.
    struct Names(Info, Vec<&'static [u8]>);

    impl FileSystem for Names {
        fn info(&self) -> &Info {
            &self.0
        }

        fn root(&self) -> NodeId {
            NodeId::inode(1)
        }

        fn read_dir(&self, _: NodeId, each: Each<'_>) -> Result<()> {
            self.1.iter().try_for_each(|name| each(entry(name)).map(drop))
        }

        fn metadata(&self, _: NodeId) -> Result<Metadata> {
            Err(Error::new(ErrorKind::Bug, "nobody asks"))
        }

        fn open(&self, _: NodeId, _: Option<&[u8]>) -> Result<Source> {
            Err(Error::new(ErrorKind::Bug, "nobody asks"))
        }

        fn read_link(&self, _: NodeId) -> Result<Vec<u8>> {
            Err(Error::new(ErrorKind::Bug, "nobody asks"))
        }
    }

    fn entry(name: &[u8]) -> DirEntry {
        DirEntry { name: name.to_vec(), node: NodeId::inode(1), kind: None }
    }

    #[test]
    fn what_is_not_shown_is_told_behind_the_rest() {
        let (case, condition) = (crate::fs::Case::Sensitive, crate::fs::Condition::Clean);
        let info = || Info { type_name: "made", engine: "made", case, condition, missing: vec![] };
        let list = |names| {
            let mut shown = vec![];
            let result = Guard(Box::new(Names(info(), names))).read_dir(NodeId::inode(1), &mut |entry| {
                shown.push(entry.name);
                Ok(true)
            });
            (shown, result.map_err(|error| (error.kind(), error.to_string())))
        };
        assert_eq!(list(vec![b"a", b"b"]), (vec![b"a".to_vec(), b"b".to_vec()], Ok(())));
        let (shown, result) = list(vec![b"..", b"a", b"b/c", b"", b"d"]);
        let (kind, words) = result.unwrap_err();
        assert_eq!((shown, kind), (vec![b"a".to_vec(), b"d".to_vec()], ErrorKind::Corrupt));
        assert!(words.contains("3 names in it cannot be those of files"), "{words}");
        assert!(list(vec![b"a\0"]).1.unwrap_err().1.contains("1 name in it"));
    }

    #[test]
    fn only_names_are_names() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0"] {
            assert!(!is_name(&entry(name)), "{name:?}");
        }
        assert!(is_name(&entry(b"...")) && is_name(&entry(b"a\xff")));
    }
}
