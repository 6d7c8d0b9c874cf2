//! SCSI commands to a disk, as in Linux `include/uapi/scsi/sg.h`. Only such as read from the device.

use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::ffi::{c_int, c_uchar, c_uint, c_ushort, c_void};
use std::ptr::null_mut;

/// The argument is a `struct sg_io_hdr`.
const SG_IO: Opcode = 0x2285;
/// `interface_id` of `struct sg_io_hdr`.
const INTERFACE: c_int = 'S' as c_int;
const SG_DXFER_NONE: c_int = -1;
const SG_DXFER_FROM_DEV: c_int = -3;
/// The kernel cuts sense data off here.
const SENSE: u8 = 64;
/// A drive that has to spin up first answers within this.
const TIMEOUT_MS: c_uint = 15_000;

/// `struct sg_io_hdr`.
#[repr(C)]
struct SgIoHdr {
    interface_id: c_int,
    dxfer_direction: c_int,
    cmd_len: c_uchar,
    mx_sb_len: c_uchar,
    iovec_count: c_ushort,
    dxfer_len: c_uint,
    dxferp: *mut c_void,
    cmdp: *const c_uchar,
    sbp: *mut c_uchar,
    timeout: c_uint,
    flags: c_uint,
    pack_id: c_int,
    usr_ptr: *mut c_void,
    status: c_uchar,
    masked_status: c_uchar,
    msg_status: c_uchar,
    sb_len_wr: c_uchar,
    host_status: c_ushort,
    driver_status: c_ushort,
    resid: c_int,
    duration: c_uint,
    info: c_uint,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// SCSI status: 0 good, 2 check condition.
    pub(crate) status: u8,
    /// Not 0: the command did not reach the device or no answer came back.
    pub(crate) host_status: u16,
    /// Bytes of the data that came.
    pub(crate) count: usize,
    /// Sense data; empty if there is none.
    pub(crate) sense: Vec<u8>,
}

/// Sends a command that answers with up to `data.len()` bytes, or that moves no data if there are none.
///
/// ENOTTY or EINVAL: not a SCSI disk. EPERM: the kernel lets only CAP_SYS_RAWIO send such a command.
pub(crate) fn read(device: impl AsFd, command: &[u8; 16], data: &mut [u8]) -> Result<Reply> {
    let mut sense = [0; SENSE as usize];
    let mut header = SgIoHdr {
        interface_id: INTERFACE,
        dxfer_direction: if data.is_empty() { SG_DXFER_NONE } else { SG_DXFER_FROM_DEV },
        cmd_len: 16,
        mx_sb_len: SENSE,
        iovec_count: 0,
        dxfer_len: c_uint::try_from(data.len()).map_err(|_| Errno::INVAL)?,
        dxferp: if data.is_empty() { null_mut() } else { data.as_mut_ptr().cast() },
        cmdp: command.as_ptr(),
        sbp: sense.as_mut_ptr(),
        timeout: TIMEOUT_MS,
        flags: 0,
        pack_id: 0,
        usr_ptr: null_mut(),
        status: 0,
        masked_status: 0,
        msg_status: 0,
        sb_len_wr: 0,
        host_status: 0,
        driver_status: 0,
        resid: 0,
        duration: 0,
        info: 0,
    };
    // SAFETY: the struct has the layout of the C one (`repr(C)`, the same fields in the same order), and
    // the kernel reads and writes it through the Updater. Through the struct it reads `cmd_len` bytes at
    // `cmdp`, and writes at most `dxfer_len` bytes at `dxferp` and `mx_sb_len` bytes at `sbp`: the lengths
    // of `command`, `data` and `sense`, which are borrowed or owned here, apart from each other, and live
    // until the call, which waits for the command's end, returns.
    unsafe { ioctl(device, Updater::<SG_IO, SgIoHdr>::new(&mut header)) }?;
    let missing = usize::try_from(header.resid).unwrap_or(0);
    Ok(Reply {
        status: header.status,
        host_status: header.host_status,
        count: data.len().saturating_sub(missing),
        sense: sense.get(..usize::from(header.sb_len_wr)).unwrap_or(&sense).to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::mem::offset_of;

    /// The sizes and places of the kernel's struct, for 64 bits.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_struct_is_the_kernels() {
        assert_eq!(size_of::<SgIoHdr>(), 88);
        let places = [
            offset_of!(SgIoHdr, dxferp),
            offset_of!(SgIoHdr, sbp),
            offset_of!(SgIoHdr, timeout),
            offset_of!(SgIoHdr, usr_ptr),
            offset_of!(SgIoHdr, status),
            offset_of!(SgIoHdr, host_status),
            offset_of!(SgIoHdr, resid),
        ];
        assert_eq!(places, [16, 32, 40, 56, 64, 68, 72]);
    }

    #[test]
    fn a_file_takes_no_command() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(read(&file, &[0; 16], &mut []).is_err());
        assert!(read(&file, &[0; 16], &mut [0; 512]).is_err());
    }
}
