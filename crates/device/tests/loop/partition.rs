//! Partitions, which the kernel is told of by hand, and the monitor that finds them by their number.

use super::*;
use device::add_partition;

/// A disk with one partition from its second MiB on, four MiB large, and the node of that.
fn partitioned() -> Option<(Disk, PathBuf)> {
    let disk = Disk::new(16 * MIB, 512)?;
    let range = ByteRange::span(MIB, 5 * MIB);
    add_partition(File::open(disk.path()).unwrap(), 1, range).unwrap();
    let node = PathBuf::from(format!("{}p1", disk.path().display()));
    if node.exists() { Some((disk, node)) } else { skip("nodes that the kernel makes (devtmpfs)") }
}

#[test]
fn a_partition_is_a_device_of_its_own() {
    let _alone = alone();
    let Some((disk, node)) = partitioned() else { return };
    let monitor = InProcess { machine: Machine::host() };
    let how = SourceOptions { live: false, exclusive: true };
    let shown = instance(&node);
    assert_eq!(shown.diskseq, disk.instance().diskseq);

    let opened = monitor.open_source(shown, how).unwrap();
    assert_eq!(opened.source.size(), 4 * MIB);
    // As long as a partition is held, nobody gets the disk alone, and plain reading goes on.
    assert_eq!(kind(monitor.open_source(disk.instance(), how)), ErrorKind::Refused);
    assert!(monitor.open_source(disk.instance(), SourceOptions { live: true, ..how }).unwrap().live);
    assert_eq!(disk.claim().err().unwrap(), [Refusal::Busy]);
    drop(opened);

    let whole = monitor.open_source(disk.instance(), how).unwrap();
    assert_eq!((whole.source.size(), whole.live), (16 * MIB, false));
    let nobody = Instance { devno: (shown.devno.0, 1 << 19), diskseq: 1 };
    assert_eq!(kind(monitor.open_source(nobody, how)), ErrorKind::Gone);
}

#[test]
fn a_claimed_partition_is_written_at_its_place() {
    let _alone = alone();
    let Some((disk, node)) = partitioned() else { return };
    let want = Wanted { instance: instance(&node), need: 4 * MIB, ..disk.want() };
    let target = Target::claim(&node, &want, free).unwrap().unwrap();
    target.write_at(1, b"here").unwrap();
    target.sync().unwrap();
    let mut there = [0; 4];
    File::open(disk.file()).unwrap().read_exact_at(&mut there, MIB + 1).unwrap();
    assert_eq!(&there, b"here");
    assert_eq!(kind(target.write_at(4 * MIB - 1, &[0; 2])), ErrorKind::OutOfRange);
}

#[test]
fn the_table_is_read_again_when_no_partition_is_in_use() {
    let _alone = alone();
    let Some((disk, node)) = partitioned() else { return };
    let target = disk.claim().unwrap();
    let user = File::open(&node).unwrap();
    assert_eq!(target.reread_table(), Err("a partition is still in use".into()));
    drop(user);
    target.reread_table().unwrap();
    // No table says that there is a partition.
    let name = node.file_name().unwrap();
    assert!(!Path::new("/sys/class/block").join(name).exists());
}
