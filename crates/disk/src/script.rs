//! The table as the script that `sfdisk -d` prints and `sfdisk` replays.

use crate::layout::{Layout, Table};
use crate::partition::{Partition, TypeId};
use std::fmt::{self, Write};

/// Entries of a GPT for which sfdisk needs no `table-length`.
const USUAL_ENTRIES: u32 = 128;

impl Layout {
    /// What `sfdisk -d DEVICE` prints; `None` without a table. What a script cannot say is left out: a
    /// GPT's attribute bits 3 to 47, the size of its entries, a hybrid MBR. Text from the disk is escaped.
    pub fn sfdisk_script(&self, device: &str) -> Option<String> {
        let mut script = String::new();
        // Writing to a String does not fail.
        self.write_script(&mut script, device).ok()?;
        (!script.is_empty()).then_some(script)
    }

    fn write_script(&self, out: &mut String, device: &str) -> fmt::Result {
        let Some(label_id) = self.disk_label_id() else { return Ok(()) };
        let label = if matches!(self.table, Table::Gpt(_)) { "gpt" } else { "dos" };
        writeln!(out, "label: {label}\nlabel-id: {label_id}\ndevice: {device}\nunit: sectors")?;
        if let Table::Gpt(gpt) = &self.table {
            writeln!(out, "first-lba: {}\nlast-lba: {}", gpt.first_usable, gpt.last_usable)?;
            if gpt.entries != USUAL_ENTRIES {
                writeln!(out, "table-length: {}", gpt.entries)?;
            }
        }
        writeln!(out, "sector-size: {}", self.sector)?;
        let infix = if device.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        let used = self.partitions.iter().filter(|partition| !partition.range.is_empty());
        for (index, partition) in used.enumerate() {
            let blank = if index == 0 { "\n" } else { "" };
            write!(out, "{blank}{device}{infix}{} : ", partition.number)?;
            self.write_partition(out, partition)?;
        }
        Ok(())
    }

    fn write_partition(&self, out: &mut String, partition: &Partition) -> fmt::Result {
        let (start, size) =
            (self.sector.lba(partition.range.start()).0, self.sector.count(partition.range.len()));
        write!(out, "start={start:12}, size={size:12}, type={}", partition.type_id)?;
        if let Some(guid) = partition.guid {
            write!(out, ", uuid={guid}")?;
        }
        if let Some(name) = &partition.name {
            write!(out, ", name=\"{}\"", Quoted(name))?;
        }
        if partition.attributes != 0 {
            write!(out, ", attrs=\"{}\"", attributes(partition.attributes))?;
        }
        if partition.bootable && matches!(partition.type_id, TypeId::Mbr(_)) {
            write!(out, ", bootable")?;
        }
        writeln!(out)
    }
}

/// Text between quotation marks as util-linux escapes it: byte by byte.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'"' | b'\\' | b'`' | b'$' => write!(f, "\\x{byte:02x}"),
            b' '..=b'~' => f.write_char(byte.into()),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

/// The attributes that have words or belong to the partition's type (bits 48 to 63).
fn attributes(bits: u64) -> String {
    let is_set = |bit: u32| bits.checked_shr(bit).is_some_and(|rest| rest & 1 == 1);
    let words = ["RequiredPartition", "NoBlockIOProtocol", "LegacyBIOSBootable"];
    let mut parts: Vec<String> =
        (0..).zip(words).filter(|(bit, _)| is_set(*bit)).map(|(_, word)| word.to_owned()).collect();
    let own: Vec<String> = (48..64).filter(|bit| is_set(*bit)).map(|bit| bit.to_string()).collect();
    if !own.is_empty() {
        parts.push(format!("GUID:{}", own.join(",")));
    }
    parts.join(" ")
}
