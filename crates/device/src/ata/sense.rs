//! The registers of an ATA drive in SCSI sense data.

/// Sense data with a response code of the current command, in descriptor format (SPC-4).
const DESCRIPTOR_FORMAT: u8 = 0x72;
/// SAT-4, ATA Status Return sense data descriptor: its type, and the bytes behind its length.
const ATA_STATUS_RETURN: u8 = 0x09;
const ATA_STATUS_RETURN_BYTES: usize = 12;

/// What the drive left in its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    /// It did what it was asked: neither ERR nor DF is set.
    pub(crate) ok: bool,
    /// Of a 28-bit command.
    pub(crate) lba_28: u64,
    /// Of a 48-bit command; `None` if the upper half is not there.
    pub(crate) lba_48: Option<u64>,
}

/// The registers, if the sense data has them. That in fixed format has the lower half of them only, and
/// is not read.
pub(crate) fn registers(sense: &[u8]) -> Option<Registers> {
    let [format, _, _, _, _, _, _, length, descriptors @ ..] = sense else { return None };
    if format & 0x7f != DESCRIPTOR_FORMAT {
        return None;
    }
    let mut rest = descriptors.get(..usize::from(*length)).unwrap_or(descriptors);
    while let [kind, length, behind @ ..] = rest {
        let descriptor = behind.get(..usize::from(*length))?;
        if *kind == ATA_STATUS_RETURN
            && let Some(registers) = descriptor.first_chunk()
        {
            return Some(status_return(registers));
        }
        rest = behind.get(descriptor.len()..)?;
    }
    None
}

fn status_return(registers: &[u8; ATA_STATUS_RETURN_BYTES]) -> Registers {
    let [extend, _error, _, _, lba_24, lba_0, lba_32, lba_8, lba_40, lba_16, device, status] = *registers;
    let lba = |bytes: [u8; 6]| {
        let [a, b, c, d, e, f] = bytes;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    };
    const DF_OR_ERR: u8 = 0x21;
    Registers {
        ok: status & DF_OR_ERR == 0,
        lba_28: lba([0, 0, device & 0x0f, lba_16, lba_8, lba_0]),
        lba_48: (extend & 1 == 1).then(|| lba([lba_40, lba_32, lba_24, lba_16, lba_8, lba_0])),
    }
}

/// The sense key, of either format (SPC-4).
pub(crate) fn key(sense: &[u8]) -> Option<u8> {
    let byte = match sense.first()? & 0x7f {
        0x70 | 0x71 => sense.get(2),
        0x72 | 0x73 => sense.get(1),
        _ => None,
    };
    byte.map(|byte| byte & 0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libata makes of the answer to READ NATIVE MAX ADDRESS EXT of a disk with 976,773,168 sectors: recovered
    /// error, ATA PASS-THROUGH INFORMATION AVAILABLE (00h/1Dh).
    const EXT: [u8; 22] = [
        0x72, 0x01, 0x00, 0x1d, 0, 0, 0, 14, 0x09, 0x0c, 1, 0, 0, 0, 0x3a, 0x2f, 0, 0x60, 0, 0x38, 0x40, 0x50,
    ];

    /// Measured: Linux 6.1 over the ide-hd of QEMU 7.2 with 131,072 sectors, READ NATIVE MAX ADDRESS EXT and
    /// without EXT, and a command that it does not know.
    #[test]
    fn registers_of_an_emulated_drive() {
        let mut sense =
            [0x72, 1, 0, 0x1d, 0, 0, 0, 0x0e, 9, 0x0c, 1, 0, 0, 0, 0, 0xff, 0, 0xff, 0, 1, 0xe0, 0x50];
        assert_eq!(registers(&sense).unwrap().lba_48, Some(131_071));
        sense[10] = 0;
        assert_eq!(registers(&sense), Some(Registers { ok: true, lba_28: 131_071, lba_48: None }));
        let refused = [0x70, 0, 0x0b, 0, 0, 0, 0, 0x0a, 4, 0x41, 0xe0, 0, 0, 0, 0, 0, 0x80, 0];
        assert_eq!((registers(&refused), key(&refused)), (None, Some(0x0b)));
    }

    #[test]
    fn registers_of_a_drive() {
        let registers_ = Registers { ok: true, lba_28: 0x0038_602f, lba_48: Some(976_773_167) };
        assert_eq!(registers(&EXT), Some(registers_));
        let mut drive = EXT;
        drive[20] = 0xea;
        drive[10] = 0;
        assert_eq!(registers(&drive), Some(Registers { ok: true, lba_28: 0x0a38_602f, lba_48: None }));
        drive[10] = 1;
        drive[12..20].copy_from_slice(&[0, 0, 4, 1, 5, 2, 6, 3]);
        assert_eq!(registers(&drive).unwrap().lba_48, Some(0x0605_0403_0201));
        for (status, ok) in [(0x50, true), (0x51, false), (0x70, false), (0x40, true)] {
            drive[21] = status;
            assert_eq!(registers(&drive).unwrap().ok, ok, "{status:x}");
        }
    }

    #[test]
    fn another_descriptor_may_come_first() {
        let mut sense = EXT[..8].to_vec();
        sense[7] += 12;
        sense.extend([0x00, 0x0a, 0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        sense.extend(&EXT[8..]);
        assert_eq!(registers(&sense), registers(&EXT));
    }

    /// Short, in fixed format, without the descriptor, with lengths that lie.
    #[test]
    fn hostile_replies() {
        for len in 0..EXT.len() {
            assert_eq!(registers(&EXT[..len]), None, "{len}");
        }
        let with = |at: usize, byte: u8| {
            let mut sense = EXT;
            sense[at] = byte;
            sense
        };
        for sense in
            [with(0, 0x70), with(0, 0x73), with(7, 0), with(7, 13), with(8, 8), with(9, 11), with(9, 255)]
        {
            assert_eq!(registers(&sense), None, "{sense:x?}");
        }
        assert!(registers(&with(7, 255)).is_some() && registers(&with(0, 0xf2)).is_some());
        assert_eq!(registers(&[0x72; 64]), None);
        let mut empty_descriptors = [0; 64];
        (empty_descriptors[0], empty_descriptors[7]) = (0x72, 56);
        assert_eq!(registers(&empty_descriptors), None);
    }

    #[test]
    fn keys() {
        assert_eq!(key(&EXT), Some(1));
        assert_eq!(key(&[0x70, 0, 0x05]), Some(5));
        assert_eq!([key(&[]), key(&[0x70, 0]), key(&[0x72]), key(&[0, 5, 5])], [None; 4]);
    }
}
