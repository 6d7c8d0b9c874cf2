//! Wrappers forward everything and speak of their own bytes.

#![allow(clippy::unwrap_used)]

use block::*;
use std::sync::Arc;
use testkit::{Memory, pattern};

fn read(source: &dyn ReadAt, range: ByteRange) -> Result<Vec<u8>> {
    let mut bytes = vec![0xAA; usize::try_from(range.len()).unwrap()];
    source.read_at(range.start(), &mut bytes).map(|()| bytes)
}

#[test]
fn a_composed_source_reads_like_its_parts() {
    let r = ByteRange::span;
    let disk = Arc::new(Memory::new(pattern(65_536)).with(|disk| {
        disk.threads = 4;
        disk.bad = vec![r(5000, 5001)];
    }));
    let part = Arc::new(Slice::new(disk, r(4096, 12_288)).unwrap());
    assert_eq!(read(&*part, r(8000, 8512)).unwrap_err().kind(), ErrorKind::OutOfRange);
    let table = Arc::new(Memory::new(vec![7; 1000]).with(|disk| disk.threads = 8));
    let all = FillAbsent(Arc::new(Concat::new([table as Source, part]).unwrap()));
    assert_eq!((all.size(), all.concurrency(), all.granule()), (9192, 4, 4096));
    assert_eq!(read(&all, r(0, 9192)).unwrap_err().range().unwrap().start(), 1000 + 5000 - 4096);
    let seam = pattern(5000);
    assert_eq!(read(&all, r(998, 1002)).unwrap(), [7, 7, seam[4096], seam[4097]]);
    assert_eq!(all.extent_at(999).unwrap().range, r(999, 1000));
    assert!(all.extent_at(9192).is_err());
    assert!(Slice::new(Arc::new(Memory::new(vec![0; 10])), r(5, 11)).is_err());
}

#[test]
fn holes_are_cut_to_the_window() {
    let r = ByteRange::span;
    let disk = Arc::new(Memory::new(vec![0; 1000]).with(|disk| disk.holes = vec![r(100, 900)]));
    let part = Slice::new(disk, r(200, 400)).unwrap();
    assert_eq!(part.extent_at(50).unwrap(), Extent { range: r(50, 200), kind: ExtentKind::Zero });
}

#[test]
fn zeroes_are_written_in_bounded_pieces_unless_the_target_knows_better() {
    struct Plain(Memory);
    impl ReadAt for Plain {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            self.0.read_at(offset, buf)
        }
    }
    impl WriteAt for Plain {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
            self.0.write_at(offset, bytes)
        }
        fn sync(&self) -> Result<()> {
            Ok(())
        }
    }
    let plain = Plain(Memory::new(vec![1; 5_000_000]));
    plain.write_zeroes(ByteRange::span(1, 4_999_999)).unwrap();
    let bytes = plain.0.bytes();
    assert_eq!([0, 1, 4_999_998, 4_999_999].map(|at| bytes[at]), [1, 0, 0, 1]);
    assert!(plain.0.writes.lock().unwrap().iter().all(|w| w.len() <= 1 << 20));
}
