//! Files of a filesystem: any volume gives an answer, a bounded one, and no panic behind the guard. Small images
//! of real makers are inputs to begin with (`mkfs.ntfs -F` takes 1 MiB); give -max_len.
#![no_main]

use block::{ByteRange, Error, Source, extents};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::sync::Arc;
use testkit::Memory;

fn no_panic(error: &Error) {
    assert!(!error.to_string().contains("gave up"), "{error}");
}

fuzz_target!(|input: &[u8]| {
    let disk: Source = Arc::new(Memory::new(input.to_vec()));
    let fs = match disk::fs::open(&disk) {
        Ok(fs) => fs,
        Err(error) => return no_panic(&error),
    };
    let (mut seen, mut left) = (BTreeSet::from([fs.root()]), vec![fs.root()]);
    while let Some(node) = left.pop() {
        let mut names = vec![];
        let listed = fs.read_dir(node, &mut |entry| {
            names.push(entry);
            Ok(true)
        });
        listed.err().iter().for_each(no_panic);
        for entry in names {
            fs.lookup(node, &entry.name).err().iter().for_each(no_panic);
            if seen.len() < 1000 && seen.insert(entry.node) {
                left.push(entry.node);
            }
        }
        fs.metadata(node).err().iter().for_each(no_panic);
        fs.read_link(node).err().iter().for_each(no_panic);
        let streams = fs.streams(node).unwrap_or_default().into_iter().map(|stream| Some(stream.name));
        for stream in [None].into_iter().chain(streams.take(10)) {
            let Ok(file) = fs.open(node, stream.as_deref()) else { continue };
            for extent in extents(&*file, ByteRange::span(0, file.size())).take(50).flatten() {
                let mut buf = vec![0; extent.range.len().min(1 << 17) as usize];
                file.read_at(extent.range.start(), &mut buf).err().iter().for_each(no_panic);
            }
        }
    }
});
