//! What is read and written, against the file behind the device.

use super::*;

/// Every way to write, against a model in memory, seen through the file behind the device.
#[test]
fn what_is_written_is_there() {
    let _alone = alone();
    for sector in [512, 4096] {
        let Some(disk) = Disk::new(8 * MIB, sector) else { return };
        let old = pattern(8 * MIB as usize);
        File::options().write(true).open(disk.file()).unwrap().write_all_at(&old, 0).unwrap();
        let target = Target::claim(disk.path(), &Wanted { sector, ..disk.want() }, free).unwrap().unwrap();
        let mut model = old;
        let new = pattern(3 * MIB as usize + 99)[99..].to_vec();
        let ranges: [(u64, u64); 8] = [
            (0, MIB),
            (MIB + 512, 512),
            (2 * MIB - 1, 2),
            (2 * MIB + 100, 50),
            (3 * MIB + 4097, 2 * MIB + 3),
            (6 * MIB, 4096 + 7),
            (7 * MIB + 511, 4096 - 511),
            (8 * MIB - 5, 5),
        ];
        for (n, (offset, len)) in (0..).zip(ranges) {
            let (at, count) = (offset as usize, len as usize);
            if n % 2 == 0 {
                let mut aligned = Buf::with_capacity(count);
                aligned.grow(count).unwrap().copy_from_slice(&new[..count]);
                target.write_at(offset, &aligned).unwrap();
                model[at..at + count].copy_from_slice(&new[..count]);
            } else {
                target.write_at(offset, &new[n..n + count]).unwrap();
                model[at..at + count].copy_from_slice(&new[n..n + count]);
            }
        }
        for (offset, len) in [(0, 4096), (5000, 100), (MIB - 3, MIB + 7), (6 * MIB + 1, 8191), (7 * MIB, 0)] {
            target.write_zeroes(ByteRange::new(offset, len).unwrap()).unwrap();
            model[offset as usize..(offset + len) as usize].fill(0);
        }
        target.sync().unwrap();
        assert!(std::fs::read(disk.file()).unwrap() == model, "sector {sector}");
        for (offset, len) in ranges {
            let mut back = vec![0; len as usize];
            target.read_at(offset, &mut back).unwrap();
            assert!(back == model[offset as usize..][..len as usize], "{sector} {offset} {len}");
        }
        let end = target.size();
        assert_eq!(kind(target.write_at(end - 1, &[0; 2])), ErrorKind::OutOfRange);
        assert_eq!(kind(target.write_zeroes(ByteRange::span(end, end + 1))), ErrorKind::OutOfRange);
    }
}

/// Neighbours in one sector, written by several threads at once, do not undo each other.
#[test]
fn odd_writes_share_sectors() {
    let _alone = alone();
    let Some(disk) = Disk::new(MIB, 4096) else { return };
    let target = Target::claim(disk.path(), &Wanted { sector: 4096, ..disk.want() }, free).unwrap().unwrap();
    let bytes = pattern(64 << 10);
    let pieces: Vec<(usize, &[u8])> = bytes.chunks(100).enumerate().collect();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (target, pieces) = (&target, &pieces);
            scope.spawn(move || {
                for (n, piece) in pieces.iter().skip(first).step_by(4) {
                    target.write_at(*n as u64 * 100, piece).unwrap();
                }
            });
        }
    });
    let mut back = vec![0; bytes.len()];
    target.read_at(0, &mut back).unwrap();
    assert!(back == bytes);
}

/// As the read-back of a restore does it: positional reads by several threads, direct and odd ones, while
/// another one still writes elsewhere.
#[test]
fn many_read_at_once() {
    let _alone = alone();
    let Some(disk) = Disk::new(16 * MIB, 4096) else { return };
    let target = Target::claim(disk.path(), &Wanted { sector: 4096, ..disk.want() }, free).unwrap().unwrap();
    let bytes = pattern(12 * MIB as usize);
    target.write_at(0, &bytes).unwrap();
    target.sync().unwrap();
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (target, bytes) = (&target, &bytes);
            scope.spawn(move || {
                let mut aligned = Buf::with_capacity(MIB as usize);
                for n in 0..24 {
                    let (offset, len) = ((n * 4 + reader) * 128 * 1024 % (11 * MIB) + n % 2, MIB as usize);
                    let here = &bytes[offset as usize..][..len];
                    aligned.clear();
                    let memory = aligned.grow(len).unwrap();
                    target.read_at(offset, memory).unwrap();
                    assert!(&*memory == here, "reader {reader} at {offset}");
                }
            });
        }
        for n in 0..40 {
            target.write_at(12 * MIB + n * 5000 + 1, &bytes[..4999]).unwrap();
        }
    });
}

/// The filesystem below knows of zeroes that were asked for; written ones would be data.
#[test]
fn zeroes_are_asked_for() {
    let _alone = alone();
    let Some(disk) = Disk::new(4 * MIB, 512) else { return };
    let can = Command::new("fallocate").args(["--zero-range", "--length", "4096"]).arg(disk.file()).status();
    if !can.is_ok_and(|can| can.success()) {
        skip::<()>("fallocate --zero-range on this filesystem");
        return;
    }
    let target = disk.claim().unwrap();
    target.write_at(0, &pattern(4 * MIB as usize)).unwrap();
    target.sync().unwrap();
    target.write_zeroes(ByteRange::span(0, 4 * MIB)).unwrap();
    target.sync().unwrap();
    let below = device::FileSource::open(disk.file()).unwrap().extent_at(0).unwrap();
    assert_eq!((below.kind, below.range.end()), (block::ExtentKind::Zero, 4 * MIB));
}

#[test]
fn a_source_reads_any_piece() {
    let _alone = alone();
    for sector in [512, 4096] {
        let Some(disk) = Disk::new(4 * MIB, sector) else { return };
        let bytes = pattern(4 * MIB as usize);
        File::options().write(true).open(disk.file()).unwrap().write_all_at(&bytes, 0).unwrap();
        let source: Source = disk.open(false, true).unwrap().source;
        assert_eq!((source.size(), source.concurrency()), (4 * MIB, 4));
        for (offset, len) in [(0, 4 * MIB), (512, 512), (63 * 512, 2 * MIB), (1, 1), (4 * MIB - 1, 1), (9, 0)]
        {
            let mut buf = vec![0; len as usize];
            source.read_at(offset, &mut buf).unwrap();
            assert!(buf == bytes[offset as usize..][..len as usize], "{sector} {offset} {len}");
        }
        assert_eq!(kind(source.read_at(4 * MIB, &mut [0])), ErrorKind::OutOfRange);
    }
}

/// The file behind the device ends early, which the kernel reports as EIO; then the device does too, as if
/// it was pulled.
#[test]
fn a_bad_sector_is_told_from_a_disk_that_is_gone() {
    let _alone = alone();
    let Some(disk) = Disk::new(8 * MIB, 512) else { return };
    let target = disk.claim().unwrap();
    File::options().write(true).open(disk.file()).unwrap().set_len(4 * MIB).unwrap();
    for (offset, len) in [(6 * MIB, 4096), (6 * MIB + 1, 100)] {
        let mut buf = Buf::with_capacity(4096);
        let error = target.read_at(offset, buf.grow(len).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Media, "{error}");
        assert_eq!(error.range(), ByteRange::new(offset, len as u64));
    }
    run(&["losetup", "--set-capacity"], disk.path(), &[]);
    let mut buf = Buf::with_capacity(4096);
    let read = target.read_at(6 * MIB, buf.grow(4096).unwrap());
    let written = target.write_at(6 * MIB, &buf);
    assert_eq!([kind(read), kind(written)], [ErrorKind::Gone; 2]);
}
