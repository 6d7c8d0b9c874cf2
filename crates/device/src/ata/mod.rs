//! What an ATA drive has and does not show: sectors behind a Host Protected Area, a Device Configuration
//! Overlay or an accessible maximum address, and those that a USB case keeps to itself.
//!
//! The commands go through ATA PASS-THROUGH (16) of SAT-4, so they reach drives behind libata, SAS
//! controllers and most USB cases; the kernel itself stops them where a case is known to choke on them
//! (`US_FL_NO_ATA_1X`). None of them writes, and none changes a setting.

mod identify;
mod sense;

use crate::Hidden;
use crate::hidden::not_known;
use crate::sys::sg::Reply;
use identify::Identify;
use rustix::io::{Errno, Result};

/// Sends a SCSI command that reads as many bytes, or none, and waits for its end.
pub(crate) type Send<'a> = dyn Fn(&[u8; 16], &mut [u8]) -> Result<Reply> + 'a;

/// What was asked, or why there is no answer.
type Answer<T> = std::result::Result<T, &'static str>;

/// A command of ATA/ATAPI-7 or ACS-3.
#[derive(Clone, Copy)]
struct Command {
    code: u8,
    features: u8,
    has_48_bits: bool,
}

const IDENTIFY_DEVICE: Command = Command { code: 0xec, features: 0, has_48_bits: false };
const READ_NATIVE_MAX_ADDRESS: Command = Command { code: 0xf8, features: 0, has_48_bits: false };
const READ_NATIVE_MAX_ADDRESS_EXT: Command = Command { code: 0x27, features: 0, has_48_bits: true };
/// Other features of this code change the configuration.
const DEVICE_CONFIGURATION_IDENTIFY: Command = Command { code: 0xb1, features: 0xc2, has_48_bits: false };
/// Other features of this code change the address.
const GET_NATIVE_MAX_ADDRESS_EXT: Command = Command { code: 0x78, features: 0, has_48_bits: true };

impl Command {
    /// As it is passed on. Of one that answers with data it is 512 bytes; of another its registers.
    fn pass_through(self, has_data: bool) -> [u8; 16] {
        const ATA_PASS_THROUGH_16: u8 = 0x85;
        const NON_DATA: u8 = 3 << 1;
        const PIO_DATA_IN: u8 = 4 << 1;
        const CK_COND: u8 = 1 << 5;
        /// From the drive; as many blocks as the count says.
        const T_DIR_BYT_BLOK_T_LENGTH: u8 = 0b1110;
        const USES_LBA: u8 = 1 << 6;
        let (protocol, transfer) =
            if has_data { (PIO_DATA_IN, T_DIR_BYT_BLOK_T_LENGTH) } else { (NON_DATA, CK_COND) };
        let mut bytes = [0; 16];
        bytes[0] = ATA_PASS_THROUGH_16;
        bytes[1] = protocol | u8::from(self.has_48_bits);
        bytes[2] = transfer;
        bytes[4] = self.features;
        bytes[6] = u8::from(has_data);
        bytes[13] = USES_LBA;
        bytes[14] = self.code;
        bytes
    }
}

/// What the drive behind a disk of `shown` bytes hides.
pub(crate) fn hidden(send: &Send<'_>, shown: u64) -> Hidden {
    let mut hidden = Hidden::default();
    let drive = match identify(send) {
        Ok(drive) => drive,
        Err(why) => {
            hidden.unknown.push(not_known(why));
            return hidden;
        }
    };
    let bytes = |sectors: u64| sectors.saturating_mul(drive.sector.bytes());
    let mut outer = drive.sectors;
    match bytes(outer).checked_sub(shown) {
        Some(0) => {}
        Some(more) => hidden.known.push(format!("controller or USB case: {more} bytes at the end hidden")),
        None => {
            // A case with several drives, of which one answers.
            hidden.unknown.push(not_known("the drive that answers is smaller"));
            return hidden;
        }
    }
    let mut add = |what: &str, answer: Answer<u64>| match answer.map(|all| all.checked_sub(outer)) {
        Ok(Some(0)) => {}
        Ok(Some(more)) => {
            outer += more;
            hidden.known.push(format!("{what}: {more} sectors hidden ({} bytes at the end)", bytes(more)));
        }
        Ok(None) => hidden.unknown.push(format!("{what}: not known, the drive contradicts itself")),
        Err(why) => hidden.unknown.push(format!("{what}: not known, {why}")),
    };
    // A drive has one of the first two. What the overlay takes away lies behind both.
    if drive.has_amac {
        add("accessible max address", native_sectors(send, GET_NATIVE_MAX_ADDRESS_EXT));
    } else if drive.has_hpa {
        let by_width = if drive.has_48_bits { READ_NATIVE_MAX_ADDRESS_EXT } else { READ_NATIVE_MAX_ADDRESS };
        add("HPA", native_sectors(send, by_width));
    }
    if drive.has_dco {
        add("DCO", factory_sectors(send));
    }
    hidden
}

fn identify(send: &Send<'_>) -> Answer<Identify> {
    let data = data(send, IDENTIFY_DEVICE)?;
    Identify::parse(&data).ok_or("its IDENTIFY DEVICE data are not those of an ATA disk")
}

fn factory_sectors(send: &Send<'_>) -> Answer<u64> {
    let data = data(send, DEVICE_CONFIGURATION_IDENTIFY)?;
    identify::factory_sectors(&data).ok_or("its configuration data are damaged")
}

/// The sectors that could be addressed: one more than the native max address.
fn native_sectors(send: &Send<'_>, command: Command) -> Answer<u64> {
    let reply = reply(send, command, &mut [])?;
    let registers = sense::registers(&reply.sense).ok_or_else(|| failure(&reply.sense))?;
    if !registers.ok {
        return Err(REFUSED);
    }
    let address = if command.has_48_bits { registers.lba_48 } else { Some(registers.lba_28) };
    address.map(|address| address + 1).ok_or("the controller or USB case passes on half an answer")
}

fn data(send: &Send<'_>, command: Command) -> Answer<[u8; identify::BYTES]> {
    let mut data = [0; identify::BYTES];
    let reply = reply(send, command, &mut data)?;
    match (reply.status, reply.count) {
        (0, identify::BYTES) => Ok(data),
        (0, _) => Err("the answer is too short"),
        _ => Err(failure(&reply.sense)),
    }
}

const REFUSED: &str = "the drive refused the command";
const NO_WAY: &str = "no ATA command gets to the drive";

fn reply(send: &Send<'_>, command: Command, data: &mut [u8]) -> Answer<Reply> {
    let has_data = !data.is_empty();
    match send(&command.pass_through(has_data), data) {
        Ok(reply) if reply.host_status == 0 => Ok(reply),
        Ok(_) => Err("the drive did not answer"),
        Err(Errno::PERM | Errno::ACCESS) => Err("only root may ask the drive"),
        Err(Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP) => Err(NO_WAY),
        Err(_) => Err("asking the drive failed"),
    }
}

/// Why a command failed, by its sense data.
fn failure(sense: &[u8]) -> &'static str {
    const ILLEGAL_REQUEST: u8 = 0x05;
    const ABORTED_COMMAND: u8 = 0x0b;
    match sense::key(sense) {
        Some(ILLEGAL_REQUEST) => NO_WAY,
        Some(ABORTED_COMMAND) => REFUSED,
        _ => "the answer has no registers of the drive",
    }
}

#[cfg(test)]
mod tests;
