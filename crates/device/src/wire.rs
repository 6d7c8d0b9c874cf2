//! How what has no form of its own in serde goes to another process and back.

/// A range of bytes: its start and its length.
pub(crate) mod range {
    use block::ByteRange;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(range: &ByteRange, to: S) -> Result<S::Ok, S::Error> {
        (range.start(), range.len()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ByteRange, D::Error> {
        let (start, len) = Deserialize::deserialize(from)?;
        ByteRange::new(start, len).ok_or_else(|| Error::custom("a range past the end of all bytes"))
    }
}

/// A path of any bytes: serde's own form refuses those that are not UTF-8.
pub(crate) mod path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Deserialize::deserialize(from)?).into())
    }
}
