//! A drive that answers from a table, as libata and USB cases pass its answers on.

use super::identify::tests::{DISK, changed, data};
use super::*;

const SECTORS: u64 = 976_773_168;
const BYTES: u64 = SECTORS * 512;

/// A drive behind the seam.
struct Drive {
    identify: [u8; 512],
    /// The address that it answers to the command with this code.
    native: (u8, u64),
    configuration: [u8; 512],
}

impl Drive {
    fn new() -> Self {
        Self { identify: data(&DISK), native: (0x27, SECTORS - 1), configuration: configuration(SECTORS) }
    }

    fn send(&self, command: &[u8; 16], memory: &mut [u8]) -> Result<Reply> {
        let [0x85, protocol, flags, 0, features, 0, count, 0, 0, 0, 0, 0, 0, 0x40, code, 0] = *command else {
            panic!("{command:x?}")
        };
        let has_48_bits = protocol & 1;
        match (code, features, protocol >> 1, flags, count) {
            (0xec, 0, 4, 0x0e, 1) => memory.copy_from_slice(&self.identify),
            (0xb1, 0xc2, 4, 0x0e, 1) => memory.copy_from_slice(&self.configuration),
            (0x27 | 0x78, 0, 3, 0x20, 0) | (0xf8, 0, 3, 0x20, 0) if code == self.native.0 => {
                assert_eq!(has_48_bits == 1, code != 0xf8);
                return Ok(check_condition(1, &registers(has_48_bits, self.native.1, 0x50)));
            }
            other => panic!("never sent: {other:x?}"),
        }
        Ok(Reply { count: memory.len(), ..Reply::default() })
    }

    fn hidden(&self, shown: u64) -> Hidden {
        hidden(&|command, memory| self.send(command, memory), shown)
    }
}

fn configuration(sectors: u64) -> [u8; 512] {
    let [a, b, c, d, e, f, ..] = (sectors - 1).to_le_bytes();
    let word = |low, high| u16::from_le_bytes([low, high]);
    data(&[(0, 2), (3, word(a, b)), (4, word(c, d)), (5, word(e, f))])
}

/// The ATA Status Return descriptor.
fn registers(extend: u8, lba: u64, status: u8) -> Vec<u8> {
    let [l0, l8, l16, l24, l32, l40, ..] = lba.to_le_bytes();
    let device = if extend == 1 { 0x40 } else { 0x40 | l24 & 0x0f };
    let [h24, h32, h40] = if extend == 1 { [l24, l32, l40] } else { [0; 3] };
    vec![0x09, 12, extend, 0, 0, 0, h24, l0, h32, l8, h40, l16, device, status]
}

fn check_condition(key: u8, descriptors: &[u8]) -> Reply {
    let length = u8::try_from(descriptors.len()).unwrap();
    let sense = [&[0x72, key, 0, 0x1d, 0, 0, 0, length], descriptors].concat();
    Reply { status: 2, sense, ..Reply::default() }
}

fn known(sentences: &[&str]) -> Hidden {
    Hidden { known: sentences.iter().map(|s| (*s).to_owned()).collect(), unknown: vec![] }
}

#[test]
fn a_drive_that_hides_nothing() {
    assert_eq!(Drive::new().hidden(BYTES), Hidden::default());
}

#[test]
fn each_thing_that_is_hidden_is_told() {
    let hpa = Drive { native: (0x27, SECTORS + 2047), ..Drive::new() };
    let hpa = Drive { configuration: configuration(SECTORS + 2048), ..hpa };
    let told = "HPA: 2048 sectors hidden (1048576 bytes at the end)";
    assert_eq!(hpa.hidden(BYTES), known(&[told]));
    // The overlay lies behind the protected area, which lies behind what the case shows.
    let all = Drive { configuration: configuration(SECTORS + 2048 + 5), ..hpa };
    let case = "controller or USB case: 4096 bytes at the end hidden";
    let dco = "DCO: 5 sectors hidden (2560 bytes at the end)";
    assert_eq!(all.hidden(BYTES - 4096), known(&[case, told, dco]));
}

#[test]
fn the_command_suits_the_drive() {
    // Without 48-bit commands, HPA only.
    let old = changed(&[(60, 1000), (61, 0), (83, 0x4000), (86, 0)]);
    let old = Drive { identify: old, native: (0xf8, 0x0abc_deff), ..Drive::new() };
    let more = 0x0abc_df00_u64 - 1000;
    let told = format!("HPA: {more} sectors hidden ({} bytes at the end)", more * 512);
    assert_eq!(old.hidden(512_000), known(&[&told]));

    let words = [(82, 0), (83, 0x4400), (86, 0x8400), (119, 0x4100), (120, 0x4100)];
    let words = [&words[..], &[(106, 0x5000), (117, 2048)]].concat();
    let new = Drive { identify: changed(&words), native: (0x78, SECTORS + 9), ..Drive::new() };
    let told = "accessible max address: 10 sectors hidden (40960 bytes at the end)";
    assert_eq!(new.hidden(BYTES * 8), known(&[told]));

    // Nothing of that at all: only IDENTIFY DEVICE is sent.
    let plain = Drive { identify: changed(&[(82, 0), (83, 0x4400), (86, 0x0400)]), ..Drive::new() };
    assert_eq!(Drive { native: (0, 0), ..plain }.hidden(BYTES), Hidden::default());
}

#[test]
fn a_drive_that_contradicts_itself_is_not_believed() {
    let smaller = Drive { native: (0x27, SECTORS - 2), ..Drive::new() }.hidden(BYTES);
    assert_eq!(smaller.unknown, ["HPA: not known, the drive contradicts itself"]);
    let smaller = Drive { configuration: configuration(SECTORS - 1), ..Drive::new() }.hidden(BYTES);
    assert_eq!(smaller.unknown, ["DCO: not known, the drive contradicts itself"]);
    let damaged = Drive { configuration: [0; 512], ..Drive::new() }.hidden(BYTES);
    assert_eq!(damaged.unknown, ["DCO: not known, its configuration data are damaged"]);
    let other = Drive::new().hidden(BYTES + 512);
    assert_eq!(other.unknown, ["HPA and DCO: not known, the drive that answers is smaller"]);
    let no_disk = Drive { identify: [0; 512], ..Drive::new() }.hidden(BYTES);
    assert!(no_disk.unknown[0].contains("IDENTIFY DEVICE"), "{no_disk:?}");
}

/// The reply to IDENTIFY DEVICE when everything is fine otherwise.
fn instead_of_identify(reply: Result<Reply>) -> String {
    let only = hidden(&|_, _| reply.clone(), BYTES);
    assert!(only.known.is_empty());
    only.unknown.join(" ")
}

#[test]
fn no_way_to_the_drive() {
    let why = |what: &str| format!("HPA and DCO: not known, {what}");
    for (error, what) in [
        (Errno::PERM, "only root may ask the drive"),
        (Errno::NOTTY, NO_WAY),
        (Errno::INVAL, NO_WAY),
        (Errno::IO, "asking the drive failed"),
    ] {
        assert_eq!(instead_of_identify(Err(error)), why(what), "{error:?}");
    }
    let fixed = |key| Reply { status: 2, sense: vec![0x70, 0, key, 0, 0, 0, 0, 10], ..Reply::default() };
    for (reply, what) in [
        (check_condition(5, &[]), NO_WAY),
        (fixed(5), NO_WAY),
        (fixed(0x0b), REFUSED),
        (Reply { host_status: 3, ..Reply::default() }, "the drive did not answer"),
        (Reply { count: 511, ..Reply::default() }, "the answer is too short"),
        (Reply { status: 8, ..Reply::default() }, "the answer has no registers of the drive"),
    ] {
        assert_eq!(instead_of_identify(Ok(reply)), why(what));
    }
}

/// What is answered to READ NATIVE MAX ADDRESS EXT; the drive is asked for the rest all the same.
#[test]
fn answers_without_an_address() {
    let drive = Drive { configuration: configuration(SECTORS + 7), ..Drive::new() };
    let instead = |reply: &Reply| {
        let send = |command: &[u8; 16], memory: &mut [u8]| match command[14] {
            0x27 => Ok(reply.clone()),
            _ => drive.send(command, memory),
        };
        hidden(&send, BYTES)
    };
    let fixed = vec![0xf0, 0, 1, 0, 0x50, 0x40, 0, 10, 0xa0, 0x2f, 0x60, 0x38, 0, 0x1d];
    let half = "the controller or USB case passes on half an answer";
    let none = "the answer has no registers of the drive";
    for (reply, what) in [
        (check_condition(0x0b, &registers(1, 0, 0x51)), REFUSED),
        (check_condition(1, &registers(0, SECTORS, 0x50)), half),
        (check_condition(1, &[]), none),
        (Reply { status: 2, sense: fixed, ..Reply::default() }, none),
        (Reply::default(), none),
        (check_condition(5, &[]), NO_WAY),
    ] {
        let told = instead(&reply);
        assert_eq!(told.unknown, [format!("HPA: not known, {what}")], "{reply:?}");
        assert_eq!(told.known, ["DCO: 7 sectors hidden (3584 bytes at the end)"]);
    }
}
