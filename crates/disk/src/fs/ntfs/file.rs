//! A file: its record and, where that has no room, those that its list of attributes names.

use super::attribute::{Attribute, Form, Sizes};
use super::compressed::{Compressed, unit_bytes};
use super::content::{Plain, Resident};
use super::corrupt;
use super::record::{Record, Reference};
use super::runs::Runs;
use super::volume::Volume;
use block::field::{u16_at, u32_at, u64_at};
use block::{Error, ErrorKind, Result, Source};
use std::sync::Arc;

/// Bytes of a list of attributes; Windows has a quarter of it.
const LIST_MAX: u64 = 1 << 20;

/// A file that is open.
pub(super) struct File<'a> {
    volume: &'a Volume,
    number: u64,
    pub(super) record: Record,
    /// Where each piece of an attribute is, if not all are in the record.
    list: Option<Vec<Listed>>,
}

/// A line of the list.
struct Listed {
    kind: u32,
    name: Vec<u8>,
    lowest: u64,
    holder: Reference,
    instance: u16,
}

/// What is called for each piece of an attribute; `false` ends it.
type EachPiece<'a> = &'a mut dyn FnMut(&Attribute) -> Result<bool>;

impl<'a> File<'a> {
    pub(super) fn new(volume: &'a Volume, number: u64, record: Record) -> Result<Self> {
        let mut file = Self { volume, number, record, list: None };
        if let Some(list) = file.value(Attribute::LIST, &[], LIST_MAX)? {
            let list = Listed::all(&list);
            file.list = Some(list.ok_or_else(|| corrupt("the list of a file's attributes is damaged"))?);
        }
        Ok(file)
    }

    /// Calls `each` for the pieces of all attributes of a kind: one after the other, each in its order.
    fn each(&self, kind: u32, each: EachPiece) -> Result<()> {
        let Some(list) = &self.list else {
            return each_of(&self.record, kind, each).map(drop);
        };
        let mut held: Option<(u64, Record)> = None;
        for listed in list.iter().filter(|listed| listed.kind == kind) {
            let holder = listed.holder.number;
            if holder != self.number && held.as_ref().is_none_or(|(number, _)| *number != holder) {
                held = Some((holder, self.extension(listed.holder)?));
            }
            let record = match &held {
                Some((number, record)) if *number == holder => record,
                _ => &self.record,
            };
            let mut more = None;
            each_of(record, kind, &mut |piece| {
                let same = piece.instance == listed.instance && piece.lowest() == listed.lowest;
                if !same || piece.name != listed.name {
                    return Ok(true);
                }
                more = Some(each(piece)?);
                Ok(false)
            })?;
            match more {
                Some(true) => {}
                Some(false) => break,
                None => return Err(corrupt("the list of a file's attributes names one that is not there")),
            }
        }
        Ok(())
    }

    fn extension(&self, holder: Reference) -> Result<Record> {
        let record = self.volume.record(holder.number)?;
        if !record.in_use() || record.base().number != self.number || record.sequence() != holder.sequence {
            return Err(corrupt("a record that continues a file belongs to another one"));
        }
        Ok(record)
    }

    /// The names and sizes of all attributes of a kind, and their flags; sizes of those in clusters too.
    pub(super) fn all(&self, kind: u32) -> Result<Vec<Head>> {
        let mut all = vec![];
        self.each(kind, &mut |piece| {
            if piece.lowest() == 0 {
                all.push(Head { name: piece.name.to_vec(), flags: piece.flags, sizes: piece.sizes() });
            }
            Ok(true)
        })?;
        Ok(all)
    }

    /// The values of all attributes of a kind that stand in records.
    pub(super) fn values(&self, kind: u32, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.each(kind, &mut |piece| {
            if let Form::Resident(value) = piece.form {
                each(value);
            }
            Ok(true)
        })
    }

    /// The sizes of one, without looking where it is.
    pub(super) fn head(&self, kind: u32, name: &[u8]) -> Result<Option<Head>> {
        let mut found = None;
        self.each(kind, &mut |piece| {
            if piece.name == name && piece.lowest() == 0 {
                found = Some(Head { name: vec![], flags: piece.flags, sizes: piece.sizes() });
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// All of a value of at most `most` bytes; more is corrupt.
    pub(super) fn value(&self, kind: u32, name: &[u8], most: u64) -> Result<Option<Vec<u8>>> {
        let Some(source) = self.stream(kind, name)? else { return Ok(None) };
        if source.size() > most {
            return Err(corrupt("an attribute of a file is too long"));
        }
        let mut value = vec![0; usize::try_from(source.size()).unwrap_or(0)];
        source.read_at(0, &mut value)?;
        Ok(Some(value))
    }

    /// A value as a source. Fails with [`ErrorKind::Unsupported`] if it is encrypted.
    pub(super) fn stream(&self, kind: u32, name: &[u8]) -> Result<Option<Source>> {
        Ok(match self.body(kind, name)? {
            None => None,
            Some(Body { flags, .. }) if flags & Attribute::ENCRYPTED != 0 => {
                return Err(Error::new(ErrorKind::Unsupported, "it is encrypted by Windows (EFS)"));
            }
            Some(Body { value: Some(value), .. }) => Some(Arc::new(Resident(value))),
            Some(Body { flags, unit, runs, sizes, .. }) => {
                let (method, plain) = (flags & Attribute::COMPRESSION, self.volume.plain(runs, sizes));
                match unit_bytes(flags, unit, self.volume.geometry.cluster) {
                    _ if method == 0 || unit == 0 => Some(Arc::new(plain)),
                    Some(unit) => Some(Arc::new(Compressed::new(plain, unit))),
                    None => {
                        let words = format!("it is compressed by NTFS, method {method}, unit {unit}");
                        return Err(Error::new(ErrorKind::Unsupported, words));
                    }
                }
            }
        })
    }

    /// A value in clusters that is never compressed, as an index is.
    pub(super) fn plain(&self, kind: u32, name: &[u8]) -> Result<Option<Plain>> {
        let (plain, whole) = self.plain_so_far(kind, name);
        whole.map(|()| plain)
    }

    /// The same, as far as its pieces are found.
    pub(super) fn plain_so_far(&self, kind: u32, name: &[u8]) -> (Option<Plain>, Result<()>) {
        let mut body = None;
        let whole = self.gather(kind, name, &mut body);
        let body = body.filter(|body| body.value.is_none());
        (body.map(|body| self.volume.plain(body.runs, body.sizes)), whole)
    }

    fn body(&self, kind: u32, name: &[u8]) -> Result<Option<Body>> {
        let mut body = None;
        self.gather(kind, name, &mut body)?;
        Ok(body)
    }

    fn gather(&self, kind: u32, name: &[u8], body: &mut Option<Body>) -> Result<()> {
        self.each(kind, &mut |piece| {
            if piece.name != name {
                return Ok(true);
            }
            match piece.form {
                Form::Resident(value) => {
                    body.get_or_insert_with(|| Body::new(piece)).value = Some(value.to_vec());
                    return Ok(false);
                }
                Form::Mapped(mapped) => {
                    let body = body.get_or_insert_with(|| Body::new(piece));
                    body.unit = body.unit.max(mapped.unit);
                    let clusters = self.volume.geometry.clusters;
                    body.runs.append(mapped.pairs, mapped.lowest, mapped.end, clusters)?;
                }
            }
            Ok(true)
        })
    }
}

/// What is known of an attribute from its first piece.
pub(super) struct Head {
    /// UTF-16.
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) sizes: Sizes,
}

/// A value, put together.
struct Body {
    flags: u16,
    unit: u8,
    sizes: Sizes,
    value: Option<Vec<u8>>,
    runs: Runs,
}

impl Body {
    fn new(first: &Attribute) -> Self {
        Self { flags: first.flags, unit: 0, sizes: first.sizes(), value: None, runs: Runs::default() }
    }
}

/// Calls `each` for the attributes of a kind in one record; did all of them want more?
fn each_of(record: &Record, kind: u32, each: EachPiece) -> Result<bool> {
    for attribute in record.attributes() {
        let attribute = attribute.ok_or_else(|| corrupt("an attribute of a file is damaged"))?;
        if attribute.kind == kind && !each(&attribute)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Listed {
    fn all(list: &[u8]) -> Option<Vec<Self>> {
        let (mut all, mut rest) = (vec![], list);
        while !rest.is_empty() {
            let length = usize::from(u16_at(rest, 4)?);
            let (line, after) = rest.split_at_checked(length)?;
            let name_length = usize::from(*line.get(6)?).checked_mul(2)?;
            let name = line.get(usize::from(*line.get(7)?)..)?.get(..name_length)?;
            all.push(Self {
                kind: u32_at(line, 0)?,
                name: name.to_vec(),
                lowest: u64_at(line, 8)?,
                holder: Reference::of(u64_at(line, 16)?),
                instance: u16_at(line, 24)?,
            });
            rest = after;
        }
        Some(all)
    }
}
