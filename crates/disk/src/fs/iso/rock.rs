//! Rock Ridge: names, modes, owners, times, links and devices of Unix behind the directory records (SUSP 1.12,
//! RRIP 1.12).

use super::super::Time;
use super::super::bytes::{Fields, corrupt};
use super::record::{long_time, short_time};
use block::Result;

/// Areas of one record, each of which says where the next is.
const MOST_AREAS: usize = 64;
/// Bytes of a name or target: more is damage.
const LONGEST: usize = 64 << 10;

/// What it says of a file. `None`: nothing.
#[derive(Default)]
pub(super) struct Rock {
    pub(super) name: Option<Vec<u8>>,
    pub(super) owned: Option<Owned>,
    pub(super) device: (u32, u32),
    pub(super) target: Option<Vec<u8>>,
    pub(super) created: Option<Time>,
    pub(super) modified: Option<Time>,
    pub(super) accessed: Option<Time>,
    pub(super) changed: Option<Time>,
    /// The block of a directory that lies elsewhere, because it would lie too deep here.
    pub(super) child: Option<u32>,
    /// This is that other place: not to be shown.
    pub(super) moved: bool,
    /// It is compressed, and has so many bytes when it is not.
    pub(super) zisofs: Option<u32>,
    /// Bytes that are not for Rock Ridge in each other record; only the root says so, and that says that there
    /// is Rock Ridge.
    pub(super) skip: Option<u8>,
    /// The end of the target so far goes on in the next entry.
    unfinished: bool,
}

/// Mode and owners.
#[derive(Clone, Copy)]
pub(super) struct Owned {
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Rock {
    /// From the area behind a record; `more` reads a further one: block, offset in it, bytes.
    pub(super) fn read(area: &[u8], more: &dyn Fn(u32, u32, u32) -> Result<Vec<u8>>) -> Result<Self> {
        let (mut rock, mut area) = (Self::default(), area.to_vec());
        for _ in 0..MOST_AREAS {
            match rock.area(&area)? {
                Some((block, offset, len)) => area = more(block, offset, len)?,
                None => return Ok(rock),
            }
        }
        Err(corrupt("a directory record that goes on and on"))
    }

    /// One area; where the next is.
    fn area(&mut self, area: &[u8]) -> Result<Option<(u32, u32, u32)>> {
        let (mut rest, mut next) = (area, None);
        while let [one, two, len, _, ..] = rest {
            let entry = rest.split_at_checked((*len).into()).filter(|_| *len >= 4);
            let Some((entry, later)) = entry else { break };
            let f = Fields::new(entry, "an entry of Rock Ridge");
            match &[*one, *two] {
                b"CE" => next = Some((f.u32(4)?, f.u32(12)?, f.u32(20)?)),
                b"ST" => break,
                b"SP" if f.slice(4, 2)? == [0xBE, 0xEF] => self.skip = Some(f.u8(6)?),
                b"NM" => self.add_name(f.u8(4)?, entry.get(5..).unwrap_or(&[]))?,
                b"PX" => {
                    let owned =
                        Owned { mode: f.u32(4)?, links: f.u32(12)?, uid: f.u32(20)?, gid: f.u32(28)? };
                    self.owned = Some(owned);
                }
                b"PN" => self.device = device(f.u32(4)?, f.u32(12)?),
                b"SL" => self.add_target(entry.get(5..).unwrap_or(&[]))?,
                b"TF" => self.times(f.u8(4)?, entry.get(5..).unwrap_or(&[])),
                b"CL" => self.child = Some(f.u32(4)?),
                b"RE" => self.moved = true,
                b"ZF" => self.zisofs = Some(f.u32(8)?),
                _ => {}
            }
            rest = later;
        }
        Ok(next)
    }

    fn add_name(&mut self, flags: u8, part: &[u8]) -> Result<()> {
        let name = self.name.get_or_insert_default();
        // Bits 1 and 2 are the names of the directory itself and of the one above.
        if flags & 6 == 0 {
            name.extend_from_slice(part);
        }
        if name.len() > LONGEST { Err(corrupt("a name without end")) } else { Ok(()) }
    }

    /// Components of a target, each with flags: 1 it goes on in the next component, 2 `.`, 4 `..`, 8 the root.
    fn add_target(&mut self, components: &[u8]) -> Result<()> {
        let target = self.target.get_or_insert_default();
        let mut rest = components;
        while let [flags, len, later @ ..] = rest {
            let Some((text, later)) = later.split_at_checked((*len).into()) else { break };
            if !self.unfinished && !target.is_empty() && !target.ends_with(b"/") {
                target.push(b'/');
            }
            match flags & 14 {
                2 => target.push(b'.'),
                4 => target.extend_from_slice(b".."),
                8 => target.push(b'/'),
                _ => target.extend_from_slice(text),
            }
            self.unfinished = flags & 1 != 0;
            rest = later;
        }
        if target.len() > LONGEST { Err(corrupt("a link without end")) } else { Ok(()) }
    }

    fn times(&mut self, flags: u8, times: &[u8]) {
        let len = if flags & 0x80 == 0 { 7 } else { 17 };
        let places = [&mut self.created, &mut self.modified, &mut self.accessed, &mut self.changed];
        let mut fields = times.chunks_exact(len);
        for (bit, place) in (0..4).zip(places) {
            if flags & (1 << bit) == 0 {
                continue;
            }
            let Some(field) = fields.next() else { break };
            *place = if len == 7 { short_time(field) } else { long_time(field) };
        }
    }
}

/// Major and minor. Some write both into the lower half, as the kernel does in memory.
fn device(high: u32, low: u32) -> (u32, u32) {
    match high {
        0 if low > 0xFF => ((low >> 8) & 0xFFF, (low & 0xFF) | ((low >> 12) & 0xF_FF00)),
        _ => (high, low),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_several_components() {
        let mut rock = Rock::default();
        rock.add_target(&[8, 0, 0, 3, b'e', b't', b'c', 1, 2, b'p', b'a']).unwrap();
        rock.add_target(&[0, 4, b's', b's', b'w', b'd', 4, 0, 2, 0]).unwrap();
        assert_eq!(rock.target.unwrap(), b"/etc/passwd/../.");
    }

    #[test]
    fn areas_that_lead_round_end() {
        let mut entry = b"CE\x1C\x01".to_vec();
        entry.resize(28, 0);
        assert!(Rock::read(&entry.clone(), &|_, _, _| Ok(entry.clone())).is_err());
        assert!(Rock::read(b"NM\x09", &|_, _, _| Ok(vec![])).unwrap().name.is_none());
        assert!(Rock::read(b"NM\x00\x01\x00aaaa", &|_, _, _| Ok(vec![])).unwrap().name.is_none());
    }
}
