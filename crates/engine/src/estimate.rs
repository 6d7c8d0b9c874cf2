//! How much room a backup will need, from samples.

use crate::plan::Plan;
use crate::save_plan::SaveOptions;
use block::{ExtentKind, ReadAt, Result};
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
const SAMPLES: u64 = 64;
/// Bytes of a sample: a frame of the smallest grid.
const SAMPLE: u64 = 128 << 10;
/// Manifest, index and the other small files.
const OVERHEAD: u64 = 1 << 20;

/// Raw files need what is not a known hole. Compressed ones are judged by samples, evenly spread over
/// what is not known to be zero; unreadable samples count in full.
pub(crate) fn estimate(source: &dyn ReadAt, plan: &Plan, options: &SaveOptions) -> Result<Estimate> {
    let mut runs = vec![];
    let mut data = 0_u64;
    for placed in plan.regions().iter().filter(|placed| placed.file.is_some()) {
        let mut at = placed.region.range.start();
        while at < placed.region.range.end() {
            let extent = source.extent_at(at)?;
            let here = extent.range.intersect(placed.region.range);
            if extent.kind == ExtentKind::Data {
                runs.push((data, here));
                data += here.len();
            }
            at = here.end();
        }
    }
    if options.format == Encoding::Raw {
        // Zeroes that are not known yet become holes too, so only a part of it is sure.
        return Ok(Estimate { need: data + OVERHEAD, least: sampled(source, &runs, data, None)? });
    }
    let need = sampled(source, &runs, data, Some(Compressor::new(options.level)?))?;
    Ok(Estimate { need: need + OVERHEAD, least: need / 10 * 7 })
}

/// Bytes that `data` bytes in these runs (each with its offset among them) become.
fn sampled(
    source: &dyn ReadAt,
    runs: &[(u64, block::ByteRange)],
    data: u64,
    mut compressor: Option<Compressor>,
) -> Result<u64> {
    let (mut seen, mut stored) = (0_u64, 0_u64);
    let mut sample = vec![0; usize::try_from(SAMPLE).unwrap_or(0)];
    let mut out = vec![0; sample.len()];
    for i in 0..SAMPLES.min(data.div_ceil(SAMPLE)) {
        let at = u64::try_from(u128::from(data) * u128::from(i) / u128::from(SAMPLES)).unwrap_or(0);
        let Some((base, run)) = runs.get(runs.partition_point(|(base, _)| *base <= at).saturating_sub(1))
        else {
            break;
        };
        let start = run.start() + (at - base);
        let len = SAMPLE.min(run.end() - start);
        let bytes = &mut sample[..usize::try_from(len).unwrap_or(0)];
        seen += len;
        stored += match source.read_at(start, bytes) {
            Err(_) => len,
            Ok(()) if bytes.iter().all(|byte| *byte == 0) => 0,
            Ok(()) => match &mut compressor {
                None => len,
                Some(compressor) => compressor.compress(bytes, &mut out).map_or(len, |stored| stored as u64),
            },
        };
    }
    let all = u128::from(data) * u128::from(stored) / u128::from(seen.max(1));
    Ok(u64::try_from(all).unwrap_or(u64::MAX))
}
