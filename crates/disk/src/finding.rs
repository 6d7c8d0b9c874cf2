//! What is unusual about a partition table, in words.

use std::fmt;

/// One sentence about a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The sentence, without a full stop. Holds no text from the disk.
    pub text: String,
    /// Something is wrong with the disk, not only unusual.
    pub damage: bool,
}

impl Finding {
    /// Something is wrong.
    pub(crate) fn damage(text: impl Into<String>) -> Self {
        Self { text: text.into(), damage: true }
    }

    /// Unusual, and harmless.
    pub(crate) fn note(text: impl Into<String>) -> Self {
        Self { text: text.into(), damage: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
