//! What was recognised, and how it is said.

use super::uuid;
use std::fmt::Write as _;

/// What something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Files.
    Filesystem,
    /// Swap space or a hibernation image in it.
    Swap,
    /// A member of an array or pool.
    Raid,
    /// Encrypted.
    Crypto,
    /// A part of a volume manager.
    Volume,
    /// A journal, a cache.
    Other,
}

/// Whether a state is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// A person should know.
    Attention,
}

/// What a state means to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Closed properly.
    Clean,
    /// In use, or not closed properly.
    Dirty,
    /// The bytes are complete only after a replay of the journal.
    JournalReplay,
    /// The memory of a sleeping system is or belongs here.
    Hibernated,
    /// Nothing can be read without a key.
    Encrypted,
    /// Other devices belong to it.
    Member,
    /// Its own checksum says that it is not as it was written.
    Damaged,
    /// Anything else.
    Other,
}

/// One thing to know about the condition of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// In words: "journal needs recovery".
    pub text: String,
    /// Whether to warn.
    pub severity: Severity,
    /// For programs.
    pub kind: StateKind,
}

/// What was recognised on a disk, partition or volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The TYPE of blkid: `vfat`, `LVM2_member`.
    pub type_name: &'static str,
    /// In words: `FAT32`, `LVM2 physical volume of vg0`.
    pub title: String,
    /// What it is for.
    pub usage: Usage,
    /// The label, with replacement characters where it is not UTF-8.
    pub label: Option<String>,
    /// The exact label where it is not UTF-8.
    pub label_bytes: Option<Vec<u8>>,
    /// The UUID as blkid writes it.
    pub uuid: Option<String>,
    /// The VERSION of blkid.
    pub version: Option<String>,
    /// Bytes that it says it has.
    pub size: Option<u64>,
    /// Bytes that it says are free.
    pub free: Option<u64>,
    /// Its condition.
    pub states: Vec<State>,
    /// Other signatures that were found, as titles.
    pub also: Vec<String>,
}

impl Content {
    pub(super) fn new(type_name: &'static str, title: impl Into<String>, usage: Usage) -> Self {
        Self {
            type_name,
            title: title.into(),
            usage,
            label: None,
            label_bytes: None,
            uuid: None,
            version: None,
            size: None,
            free: None,
            states: vec![],
            also: vec![],
        }
    }

    pub(super) fn filesystem(type_name: &'static str, title: impl Into<String>) -> Self {
        Self::new(type_name, title, Usage::Filesystem)
    }

    /// A label of fixed length: up to the first NUL, without white space around. Empty is none.
    pub(super) fn label(mut self, field: &[u8]) -> Self {
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
        self.label = (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned());
        self.label_bytes = std::str::from_utf8(text).is_err().then(|| text.to_vec());
        self
    }

    /// A label in UTF-16 code units, which may be ill-formed.
    pub(super) fn label_utf16(self, units: impl IntoIterator<Item = u16>) -> Self {
        let units = units.into_iter().take_while(|unit| *unit != 0);
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect();
        self.label(text.as_bytes())
    }

    pub(super) fn uuid(self, bytes: [u8; 16]) -> Self {
        Self { uuid: uuid::plain(bytes), ..self }
    }

    pub(super) fn id(self, text: impl Into<String>) -> Self {
        Self { uuid: Some(text.into()), ..self }
    }

    /// An identifier kept as text, up to the first NUL. Empty is none.
    pub(super) fn id_text(self, field: &[u8]) -> Self {
        let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
        let uuid = (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned());
        Self { uuid, ..self }
    }

    pub(super) fn version(self, text: impl ToString) -> Self {
        Self { version: Some(text.to_string()), ..self }
    }

    /// Units of a size each; left out where the product makes no sense.
    pub(super) fn space(self, unit: u64, count: u64, free: Option<u64>) -> Self {
        let size = unit.checked_mul(count);
        Self { size, ..self }.free(free.and_then(|free| unit.checked_mul(free)))
    }

    /// Bytes that it says are free; left out where they are more than it has.
    pub(super) fn free(self, free: Option<u64>) -> Self {
        let free = free.filter(|free| Some(*free) <= self.size);
        Self { free, ..self }
    }

    pub(super) fn normal(mut self, kind: StateKind, text: impl Into<String>) -> Self {
        self.states.push(State { text: text.into(), severity: Severity::Normal, kind });
        self
    }

    pub(super) fn attention(mut self, kind: StateKind, text: impl Into<String>) -> Self {
        self.states.push(State { text: text.into(), severity: Severity::Attention, kind });
        self
    }

    /// "clean" or "not cleanly unmounted".
    pub(super) fn clean_if(self, clean: bool) -> Self {
        if clean {
            self.normal(StateKind::Clean, "clean")
        } else {
            self.attention(StateKind::Dirty, "not cleanly unmounted")
        }
    }

    /// Says so where its own checksum is wrong. What it claims is still what it was.
    pub(super) fn checksum(self, good: bool) -> Self {
        if good { self } else { self.attention(StateKind::Damaged, "its superblock's checksum is wrong") }
    }

    /// The word for it in names of stored files: `[a-z0-9]` only.
    pub fn file_word(&self) -> &'static str {
        match self.type_name {
            "LVM2_member" | "LVM1_member" => "lvm",
            "linux_raid_member" => "md",
            "isw_raid_member" => "isw",
            "ddf_raid_member" => "ddf",
            "crypto_LUKS" => "luks",
            "BitLocker" => "bitlocker",
            "cs_fvault2" => "filevault",
            "zfs_member" => "zfs",
            "ReFS" => "refs",
            "xfs_external_log" => "xfslog",
            "swsuspend" => "swap",
            word if word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) => word,
            _ => "data",
        }
    }

    /// One line for people: `ext3 "home", journal needs recovery`. Safe on a terminal: control, bidi and
    /// quote characters are escaped.
    pub fn sentence(&self) -> String {
        let mut text = escape(&self.title);
        if let Some(label) = &self.label {
            // Writing into a String cannot fail.
            let _ = write!(text, " \"{}\"", escape(label));
        }
        if let (Some(uuid), true) = (&self.uuid, self.states.is_empty()) {
            let _ = write!(text, ", id {}", escape(uuid));
        }
        for state in &self.states {
            let _ = write!(text, ", {}", escape(&state.text));
        }
        if !self.also.is_empty() {
            let also: Vec<String> = self.also.iter().map(|title| escape(title)).collect();
            let _ = write!(text, " (also found: {})", also.join(", "));
        }
        text
    }
}

/// Text from a disk, so that it can neither paint a terminal nor leave its quotes.
fn escape(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '"' | '\\' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
            || matches!(c, '\u{2066}'..='\u{206F}' | '\u{FEFF}')
    };
    let escaped = |c: char| if hostile(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let fat = Content::filesystem("vfat", "FAT32").label(b"DELLUTIL   ").id("2008-0624");
        assert_eq!(fat.sentence(), "FAT32 \"DELLUTIL\", id 2008-0624");
        let ntfs = Content::filesystem("ntfs", "NTFS").label(b"WINXP").id("1").clean_if(true);
        assert_eq!(ntfs.sentence(), "NTFS \"WINXP\", clean");
        let hostile = Content::filesystem("ext3", "ext3").label("a\"\u{1b}[2J\u{202e}".as_bytes());
        assert_eq!(hostile.sentence(), r#"ext3 "a\u{22}\u{1b}[2J\u{202e}""#);
    }

    #[test]
    fn a_label_that_is_not_utf8_is_kept() {
        let content = Content::filesystem("vfat", "FAT16").label(b"M\xDCLL");
        assert_eq!(content.label.as_deref(), Some("M\u{FFFD}LL"));
        assert_eq!(content.label_bytes.as_deref(), Some(&b"M\xDCLL"[..]));
    }
}
