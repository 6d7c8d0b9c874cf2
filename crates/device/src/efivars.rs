//! The boot entries of this machine's firmware, as the kernel shows them (efivarfs).

use crate::Machine;
use crate::machine::names;
use std::fs::File;
use std::io::Read;

/// The vendor of the variables that UEFI 2.10, 3.3 defines.
const GLOBAL: &str = "-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Variables that are read at most, and bytes of one.
const MOST: usize = 256;
const LONGEST: u64 = 64 << 10;

impl Machine {
    /// `BootOrder`, `Boot0000`, .. with their values; none without UEFI, or where they cannot be read.
    pub fn boot_variables(&self) -> Vec<(String, Vec<u8>)> {
        let dir = self.sys.join("firmware/efi/efivars");
        let is_entry = |name: &str| {
            name == "BootOrder"
                || name.strip_prefix("Boot").is_some_and(|digits| {
                    digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
                })
        };
        let all = names(&dir);
        let found = all.iter().filter_map(|file| Some((file, file.strip_suffix(GLOBAL)?)));
        let found = found.filter(|(_, name)| is_entry(name)).take(MOST);
        let value = |file: &String| {
            let mut bytes = vec![];
            File::open(dir.join(file)).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
            // The first 4 bytes are the variable's attributes.
            bytes.get(4..).map(<[u8]>::to_vec)
        };
        found.filter_map(|(file, name)| Some((name.to_owned(), value(file)?))).collect()
    }
}
