//! How much room a backup will need, from samples.

use crate::plan::Plan;
use crate::save_plan::SaveOptions;
use block::{ByteRange, ExtentKind, ReadAt, Result, extents};
use image::{Compressor, Encoding};

/// Bytes that a backup will need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Probably.
    pub need: u64,
    /// Surely: with less it makes no sense to begin.
    pub least: u64,
}

/// Samples that are compressed.
const SAMPLES: u64 = 128;
/// Bytes of a sample: a frame of the smallest grid.
const SAMPLE: u64 = 64 << 10;
/// Manifest, index and the other small files.
const OVERHEAD: u64 = 1 << 20;

/// Raw files need what is not a known hole. Compressed ones are judged by samples, evenly spread over
/// what is not known to be zero; unreadable samples count in full. The extents are walked twice rather
/// than kept: a sparse image may have millions.
pub(crate) fn estimate(source: &dyn ReadAt, plan: &Plan, options: &SaveOptions) -> Result<Estimate> {
    let data = data_runs(source, plan).try_fold(0, |sum, run| Ok(sum + run?.len()))?;
    if options.format == Encoding::Raw {
        // Zeroes that are not known yet become holes too, so only a part of it is sure.
        return Ok(Estimate { need: data + OVERHEAD, least: sampled(source, plan, data, None)? });
    }
    let need = sampled(source, plan, data, Some(Compressor::new(options.level.first())?))?;
    Ok(Estimate { need: need + OVERHEAD, least: need / 10 * 7 })
}

/// What the plan keeps and is not known to be without bytes, in disk order.
fn data_runs<'a>(source: &'a dyn ReadAt, plan: &'a Plan) -> impl Iterator<Item = Result<ByteRange>> + 'a {
    let kept = plan.regions().iter().filter(|placed| placed.file.is_some());
    let extents = kept.flat_map(|placed| extents(source, placed.region.range));
    extents.filter_map(|extent| match extent {
        Ok(extent) => (extent.kind == ExtentKind::Data).then_some(Ok(extent.range)),
        Err(error) => Some(Err(error)),
    })
}

/// Bytes that the `data` bytes of the plan become.
fn sampled(source: &dyn ReadAt, plan: &Plan, data: u64, mut compressor: Option<Compressor>) -> Result<u64> {
    let (mut seen, mut stored, mut base) = (0_u64, 0_u64, 0_u64);
    let mut sample = vec![0; usize::try_from(SAMPLE).unwrap_or(0)];
    let mut out = vec![];
    // Where the samples begin among the bytes of all runs, ascending.
    let places = (0..SAMPLES.min(data.div_ceil(SAMPLE))).map(|i| share(data, i, SAMPLES));
    let mut places = places.peekable();
    for run in data_runs(source, plan) {
        let run = run?;
        while let Some(at) = places.next_if(|at| *at < base + run.len()) {
            let start = run.start() + (at - base);
            let len = SAMPLE.min(run.end() - start);
            let bytes = &mut sample[..usize::try_from(len).unwrap_or(0)];
            seen += len;
            stored += match source.read_at(start, bytes) {
                Err(_) => len,
                Ok(()) if image::is_zero(bytes) => 0,
                Ok(()) => match &mut compressor {
                    None => len,
                    Some(compressor) => {
                        out.clear();
                        if compressor.compress(bytes, &mut out)? { out.len() as u64 } else { len }
                    }
                },
            };
        }
        base += run.len();
        if places.peek().is_none() {
            break;
        }
    }
    Ok(share(data, stored, seen.max(1)))
}

/// `whole` x `part` / `parts`, without overflow on the way.
fn share(whole: u64, part: u64, parts: u64) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(part) / u128::from(parts)).unwrap_or(u64::MAX)
}
