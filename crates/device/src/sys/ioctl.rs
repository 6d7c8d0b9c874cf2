//! The ioctls of block devices, as in Linux `include/uapi/linux/fs.h` and `blkpg.h`.
//!
//! A request number says which way data goes but the kernel trusts that the argument has the right size,
//! so number and type stand together here, and nowhere else. On another kind of file the kernel answers
//! ENOTTY or EINVAL and touches no memory.

use block::ByteRange;
use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, ioctl, opcode};
use std::ffi::{c_int, c_void};

/// `_IO(0x12, 94)`. The argument is an `int`.
const BLKROGET: Opcode = opcode::none(0x12, 94);
/// `_IO(0x12, 95)`. No argument.
const BLKRRPART: Opcode = opcode::none(0x12, 95);
/// `_IO(0x12, 105)`. The argument is a `struct blkpg_ioctl_arg`.
const BLKPG: Opcode = opcode::none(0x12, 105);
/// `_IOR(0x12, 114, size_t)`, so the number depends on the word size, but the argument is always a `u64`.
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
/// `_IO(0x12, 127)`. The argument is `uint64_t[2]`: start and length in bytes.
const BLKZEROOUT: Opcode = opcode::none(0x12, 127);
/// `_IOR(0x12, 128, __u64)`, since Linux 5.15.
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);

/// The requests that take nothing but an open device, and no privilege: what a process needs that reads or
/// writes a device that another one opened for it.
pub const UNPRIVILEGED: [Opcode; 6] = [
    BLKROGET,
    BLKGETSIZE64,
    BLKZEROOUT,
    BLKGETDISKSEQ,
    opcode::none(0x12, 104), // BLKSSZGET
    opcode::none(0x12, 123), // BLKPBSZGET
];

/// Bytes of the device.
pub(crate) fn size(device: impl AsFd) -> Result<u64> {
    // SAFETY: the kernel stores one u64 through the pointer (`put_u64` in `blkdev_common_ioctl`), which is
    // what the Getter has room for; it lives until the call returns.
    unsafe { ioctl(device, Getter::<BLKGETSIZE64, u64>::new()) }
}

/// Bytes of a logical sector, which offsets and lengths of direct I/O are multiples of.
pub(crate) fn sector(device: impl AsFd) -> Result<u32> {
    rustix::fs::ioctl_blksszget(device)
}

/// Bytes of a physical sector, which the drive writes at once.
pub(crate) fn physical_sector(device: impl AsFd) -> Result<u32> {
    rustix::fs::ioctl_blkpbszget(device)
}

/// The kernel or the drive refuses writes.
pub(crate) fn read_only(device: impl AsFd) -> Result<bool> {
    // SAFETY: the kernel stores one int (`put_int`), which is what the Getter has room for.
    Ok(unsafe { ioctl(device, Getter::<BLKROGET, c_int>::new()) }? != 0)
}

/// The kernel's running number of attached disks. A kernel before 5.15 answers ENOTTY.
pub(crate) fn diskseq(device: impl AsFd) -> Result<u64> {
    // SAFETY: the kernel stores one u64 (`put_u64`), which is what the Getter has room for.
    unsafe { ioctl(device, Getter::<BLKGETDISKSEQ, u64>::new()) }
}

/// Makes whole sectors read as zeroes, by the drive itself where it can.
pub(crate) fn zero_out(device: impl AsFd, range: ByteRange) -> Result<()> {
    // SAFETY: the kernel copies `uint64_t[2]` from the pointer and writes no memory of ours; it drops the
    // pages that it caches of the range, and no memory of this process maps a device.
    unsafe { ioctl(device, Setter::<BLKZEROOUT, [u64; 2]>::new([range.start(), range.len()])) }
}

/// Has the kernel read the partition table again. EBUSY if a partition is in use.
pub(crate) fn reread_table(device: impl AsFd) -> Result<()> {
    // SAFETY: takes no argument and touches no memory of ours.
    unsafe { ioctl(device, NoArg::<BLKRRPART>::new()) }
}

/// `struct blkpg_partition`.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    pno: c_int,
    devname: [u8; 64],
    volname: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgIoctlArg {
    op: c_int,
    flags: c_int,
    datalen: c_int,
    data: *const c_void,
}

/// Tells the kernel of a partition that no table has: tests need partitions where the kernel parses none.
pub fn add_partition(device: impl AsFd, number: u32, range: ByteRange) -> Result<()> {
    const BLKPG_ADD_PARTITION: c_int = 1;
    const BYTES: usize = size_of::<BlkpgPartition>();
    let invalid = |_| rustix::io::Errno::INVAL;
    let partition = BlkpgPartition {
        start: i64::try_from(range.start()).map_err(invalid)?,
        length: i64::try_from(range.len()).map_err(invalid)?,
        pno: c_int::try_from(number).map_err(invalid)?,
        devname: [0; 64],
        volname: [0; 64],
    };
    let arg = BlkpgIoctlArg {
        op: BLKPG_ADD_PARTITION,
        flags: 0,
        datalen: c_int::try_from(BYTES).map_err(invalid)?,
        data: (&raw const partition).cast(),
    };
    // SAFETY: both structs have the layout of the C ones (`repr(C)`, the same fields in the same order).
    // The kernel copies the first and, through `data`, the second, and writes to neither; both live until
    // the call returns.
    unsafe { ioctl(device, Setter::<BLKPG, BlkpgIoctlArg>::new(arg)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// The numbers of util-linux's blkdev.h and of the kernel's headers, for 64 bits.
    #[test]
    #[cfg(all(target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn numbers_and_sizes_are_the_kernels() {
        let numbers = [BLKROGET, BLKRRPART, BLKPG, BLKGETSIZE64, BLKZEROOUT, BLKGETDISKSEQ];
        assert_eq!(numbers, [0x125e, 0x125f, 0x1269, 0x8008_1272, 0x127f, 0x8008_1280]);
        assert_eq!((size_of::<BlkpgPartition>(), size_of::<BlkpgIoctlArg>()), (152, 24));
    }

    #[test]
    fn a_file_is_no_device() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(size(&file).is_err() && diskseq(&file).is_err() && read_only(&file).is_err());
        assert!(sector(&file).is_err() && physical_sector(&file).is_err());
        assert!(reread_table(&file).is_err() && zero_out(&file, ByteRange::span(0, 512)).is_err());
        assert!(add_partition(&file, 1, ByteRange::span(0, 512)).is_err());
    }
}
