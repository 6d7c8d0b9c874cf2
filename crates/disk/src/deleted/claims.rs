//! Who claims which bytes, and what follows for a file.

use super::{Chance, DeletedFile};

/// What was seen of the places of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Some are not its own any more.
    gone: bool,
    /// Some may be.
    there: bool,
}

impl Tally {
    /// One more place, that is gone or not.
    pub(super) fn add(&mut self, gone: bool) {
        self.gone |= gone;
        self.there |= !gone;
    }

    /// Will more places change nothing?
    pub(super) fn is_decided(self) -> bool {
        self.gone && self.there
    }

    /// Is some of it gone?
    pub(super) fn any_gone(self) -> bool {
        self.gone
    }

    /// Says so of the file.
    pub(super) fn worsen(self, file: &mut DeletedFile, some: &'static str, all: &'static str) {
        match (self.gone, self.there) {
            (false, _) => {}
            (true, true) => file.worsen(Chance::Partial, some),
            (true, false) => file.worsen(Chance::Overwritten, all),
        }
    }
}

/// Files of which a byte lies where another one claims it too cannot both be right, and which one is does not
/// show: neither is intact.
pub(super) fn settle(files: &mut [DeletedFile]) {
    let mut claims = vec![];
    for (index, file) in files.iter().enumerate() {
        if file.chance != Chance::Overwritten {
            claims.extend(file.content.places(file.size).map(|place| (place.start(), place.end(), index)));
        }
    }
    claims.sort_unstable();
    let mut disputed = vec![];
    // The claim that reaches farthest so far: every overlap is one with it, or was seen before.
    let mut farthest: Option<(u64, usize)> = None;
    for (start, end, index) in claims {
        match farthest {
            Some((reach, other)) if start < reach => {
                disputed.extend([index, other]);
                if end > reach {
                    farthest = Some((end, index));
                }
            }
            _ => farthest = Some((end, index)),
        }
    }
    for index in disputed {
        if let Some(file) = files.get_mut(index) {
            file.worsen(Chance::Partial, "another deleted file had some of the same place");
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::super::content::{Content, Place, Run};
    use super::*;

    fn file(id: u64, places: &[(u64, u64)]) -> DeletedFile {
        let runs: Vec<_> = places.iter().map(|(at, len)| Run { len: *len, place: Place::At(*at) }).collect();
        DeletedFile::new(id, places.iter().map(|(_, len)| len).sum(), Content::Runs(runs.into()))
    }

    #[test]
    fn overlaps_are_found_against_a_model() {
        let mut x = 88_172_645_463_325_252_u64;
        let mut random = |n: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % n
        };
        for _ in 0..200 {
            let mut files: Vec<_> = (0..6)
                .map(|id| file(id, &[(random(60), random(8) + 1), (random(60), random(8) + 1)]))
                .collect();
            let claim = |file: &DeletedFile| file.content.places(file.size).collect::<Vec<_>>();
            let claims: Vec<_> = files.iter().map(claim).collect();
            let want: Vec<bool> = (0..files.len())
                .map(|a| {
                    let own = claims[a][0].overlaps(claims[a][1]);
                    let others = (0..files.len()).filter(|b| *b != a);
                    let mut others = others.flat_map(|b| claims[b].clone());
                    own || others.any(|other| claims[a].iter().any(|mine| mine.overlaps(other)))
                })
                .collect();
            settle(&mut files);
            let got: Vec<bool> = files.iter().map(|file| file.chance != Chance::Intact).collect();
            assert_eq!(got, want, "{claims:?}");
        }
    }

    #[test]
    fn some_or_all() {
        let mut tally = Tally::default();
        let mut one = file(1, &[(0, 1)]);
        tally.worsen(&mut one, "some", "all");
        assert_eq!(one.chance, Chance::Intact);
        tally.add(true);
        let mut other = one.clone();
        tally.worsen(&mut other, "some", "all");
        tally.add(false);
        tally.worsen(&mut one, "some", "all");
        assert_eq!((one.chance, one.why), (Chance::Partial, Some("some")));
        assert_eq!((other.chance, other.why), (Chance::Overwritten, Some("all")));
    }
}
