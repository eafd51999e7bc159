//! Random weights, already in their GGML encoding.
//!
//! Values are uniform, not normal: only their scale matters here, because no kernel's memory accesses depend
//! on them. A counter-based generator (the output function of SplitMix64 over a counter) keyed by seed and
//! tensor name makes each tensor independent of all others. Floating-point values and scales are drawn from
//! small tables of encoded values, so that the work per weight is a shift and a load at most.

use std::io;

use crate::tensor::{DataType, Tensor, Values};

/// Bytes generated and written at a time: large writes, yet small enough to stay in the L2 cache.
const CHUNK_BYTES: u64 = 512 * 1024;

/// Generates the tensor's data, handing it out in chunks.
pub(crate) fn generate(
    tensor: &Tensor,
    seed: u64,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut random = Random::new(seed, &tensor.name);
    let encoder = Encoder::new(tensor.data_type, tensor.values);
    let block_bytes = tensor.data_type.block_bytes();
    let mut chunk = vec![0; (CHUNK_BYTES / block_bytes * block_bytes).min(tensor.n_bytes()) as usize];
    let mut left_bytes = tensor.n_bytes();
    while left_bytes > 0 {
        let chunk_bytes = left_bytes.min(chunk.len() as u64);
        let chunk = &mut chunk[..chunk_bytes as usize];
        encoder.fill(&mut random, chunk);
        sink(chunk)?;
        left_bytes -= chunk_bytes;
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
struct Random {
    counter: u64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    fn new(seed: u64, name: &str) -> Self {
        let mut random = Self { counter: seed };
        for byte in name.bytes() {
            random.counter = random.next() ^ u64::from(byte);
        }
        random
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN_GAMMA);
        let z = self.counter;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

const N_HALVES: usize = 4096;
const N_SCALES: usize = 256;

/// Turns random bits into one type's blocks.
enum Encoder {
    F32 { centre: f32, reach: f32 },
    F16 { halves: Box<[[u8; 2]; N_HALVES]> },
    Q8_0 { scales: [[u8; 2]; N_SCALES] },
    Q4_0 { scales: [[u8; 2]; N_SCALES] },
    Q4K { scales: Box<[[[u8; 2]; 2]; N_SCALES]> },
}

impl Encoder {
    fn new(data_type: DataType, values: Values) -> Self {
        let (centre, deviation) = match values {
            Values::Centred(deviation) => (0.0, deviation),
            Values::NearOne => (1.0, 0.1),
        };
        let reach = deviation * 3_f32.sqrt(); // half the width of a uniform distribution of that deviation
        match data_type {
            DataType::F32 => Self::F32 { centre, reach },
            DataType::F16 => Self::F16 {
                halves: Box::new(std::array::from_fn(|i| {
                    f16_bits(centre + reach * ((2 * i + 1) as f32 / N_HALVES as f32 - 1.0)).to_le_bytes()
                })),
            },
            // Root mean squares of the integers -127..=127 and -8..=7.
            DataType::Q8_0 => Self::Q8_0 {
                scales: scales(deviation / 73.61),
            },
            DataType::Q4_0 => Self::Q4_0 {
                scales: scales(deviation / 4.637),
            },
            // A value is scale × s × q - offset × m with s, m and q in 0..=15 (of six bits, the lower four are drawn), and
            // an offset of 7.5 scales makes the mean zero.
            DataType::Q4K => Self::Q4K {
                scales: Box::new(scales(deviation / 63.53).map(|scale| {
                    let size = f16_value(scale);
                    [scale, f16_bits(7.5 * size).to_le_bytes()]
                })),
            },
        }
    }

    fn fill(&self, random: &mut Random, out: &mut [u8]) {
        match self {
            Self::F32 { centre, reach } => {
                for value in out.chunks_exact_mut(4) {
                    let unit = (random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
                    value.copy_from_slice(&(centre + reach * unit).to_le_bytes());
                }
            }
            Self::F16 { halves } => {
                for four in out.chunks_mut(4 * 2) {
                    let mut bits = random.next();
                    for value in four.chunks_exact_mut(2) {
                        value.copy_from_slice(&halves[bits as usize % N_HALVES]);
                        bits >>= 16;
                    }
                }
            }
            Self::Q8_0 { scales } => {
                for block in out.chunks_exact_mut(2 + 32) {
                    let (scale, quants) = block.split_at_mut(2);
                    scale.copy_from_slice(&scales[random.next() as usize % N_SCALES]);
                    for eight in quants.chunks_exact_mut(8) {
                        eight.copy_from_slice(&random.next().to_le_bytes());
                        // -128 has no mirror image, and the format's own quantiser never writes it.
                        eight
                            .iter_mut()
                            .for_each(|quant| *quant = (*quant as i8).max(-127) as u8);
                    }
                }
            }
            Self::Q4_0 { scales } => {
                for block in out.chunks_exact_mut(2 + 16) {
                    let (scale, quants) = block.split_at_mut(2);
                    scale.copy_from_slice(&scales[random.next() as usize % N_SCALES]);
                    for eight in quants.chunks_exact_mut(8) {
                        eight.copy_from_slice(&random.next().to_le_bytes());
                    }
                }
            }
            Self::Q4K { scales } => {
                for block in out.chunks_exact_mut(2 * 2 + 12 + 128) {
                    let (head, quants) = block.split_at_mut(2 * 2 + 12);
                    head[..4].copy_from_slice(scales[random.next() as usize % N_SCALES].as_flattened());
                    // Four scales, four offsets, both with no upper bits; then the lower four bits of the others.
                    head[4..12].copy_from_slice(&(random.next() & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes());
                    head[12..].copy_from_slice(&(random.next() as u32).to_le_bytes());
                    for eight in quants.chunks_exact_mut(8) {
                        eight.copy_from_slice(&random.next().to_le_bytes());
                    }
                }
            }
        }
    }
}

/// The value of an IEEE 754 binary16 within its normal range.
fn f16_value(bytes: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bytes);
    let magnitude = f32::from_bits((u32::from(bits & 0x7fff) << 13) + ((127 - 15) << 23));
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Scales of either sign within a quarter of `typical`. The signs cancel the mean of -8..=7, which is not
/// zero.
fn scales(typical: f32) -> [[u8; 2]; N_SCALES] {
    std::array::from_fn(|i| {
        let size = typical * (0.75 + 0.5 * (i / 2) as f32 / (N_SCALES / 2 - 1) as f32);
        f16_bits(if i % 2 == 0 { size } else { -size }).to_le_bytes()
    })
}

/// IEEE 754 binary16, rounded to nearest even. For finite values within its normal range, or flushed to zero
/// below.
fn f16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let rounded = magnitude + 0xfff + ((magnitude >> 13) & 1); // the 13 bits that binary16 has no room for
    match (rounded >> 13).checked_sub((127 - 15) << 10) {
        Some(half) if half >= 1 << 10 => sign | half.min(0x7c00) as u16,
        _ => sign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(data_type: DataType, values: Values, dims: &[u64], seed: u64, name: &str) -> Vec<u8> {
        let tensor = Tensor {
            name: name.into(),
            dims: dims.to_vec(),
            data_type,
            values,
            offset_bytes: 0,
        };
        let mut data = Vec::new();
        generate(&tensor, seed, &mut |chunk| {
            data.extend_from_slice(chunk);
            Ok(())
        })
        .unwrap();
        assert_eq!(data.len() as u64, tensor.n_bytes());
        data
    }

    fn decode(data_type: DataType, data: &[u8]) -> Vec<f32> {
        let block_bytes = data_type.block_bytes() as usize;
        let mut values = Vec::new();
        for block in data.chunks_exact(block_bytes) {
            let head = [block[0], block[1]];
            match data_type {
                DataType::F32 => values.push(f32::from_le_bytes(block.try_into().unwrap())),
                DataType::F16 => values.push(f16_value(head)),
                DataType::Q8_0 => {
                    values.extend(block[2..].iter().map(|&q| f16_value(head) * f32::from(q as i8)));
                }
                DataType::Q4_0 => {
                    let nibbles = block[2..]
                        .iter()
                        .map(|q| q & 15)
                        .chain(block[2..].iter().map(|q| q >> 4));
                    values.extend(nibbles.map(|q| f16_value(head) * (f32::from(q) - 8.0)));
                }
                DataType::Q4K => {
                    // ggml's get_scale_min_k4 and dequantize_row_q4_K, in other words.
                    let offset = f16_value([block[2], block[3]]);
                    let (packed, quants) = (&block[4..16], &block[16..]);
                    for part in 0..8 {
                        let (scale, least) = if part < 4 {
                            (packed[part] & 63, packed[part + 4] & 63)
                        } else {
                            let low = packed[part + 4];
                            (
                                low & 15 | packed[part - 4] >> 6 << 4,
                                low >> 4 | packed[part] >> 6 << 4,
                            )
                        };
                        let shift = part % 2 * 4;
                        values.extend(quants[part / 2 * 32..][..32].iter().map(|q| {
                            f16_value(head) * f32::from(scale) * f32::from(q >> shift & 15)
                                - offset * f32::from(least)
                        }));
                    }
                }
            }
        }
        values
    }

    fn mean_and_deviation(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    #[test]
    fn decoded_values_have_the_deviation_asked_for() {
        let deviation = 1.0 / 512_f32.sqrt();
        for data_type in [
            DataType::F32,
            DataType::F16,
            DataType::Q8_0,
            DataType::Q4_0,
            DataType::Q4K,
        ] {
            let data = data(data_type, Values::Centred(deviation), &[512, 512], 1, "w");
            let values = decode(data_type, &data);
            assert_eq!(values.len(), 512 * 512);
            let (mean, seen) = mean_and_deviation(&values);
            assert!(
                mean.abs() < 0.01 * f64::from(deviation),
                "{data_type:?}: mean {mean}"
            );
            assert!(
                (seen / f64::from(deviation) - 1.0).abs() < 0.02,
                "{data_type:?}: deviation {seen}"
            );
            assert!(
                // A product of two uniform numbers has longer tails.
                values.iter().all(|v| v.abs() < 5.0 * deviation),
                "{data_type:?}: an outlier"
            );
        }
    }

    #[test]
    fn norm_factors_are_near_one() {
        let data = data(DataType::F32, Values::NearOne, &[4096], 1, "norm");
        assert!(
            decode(DataType::F32, &data)
                .iter()
                .all(|v| (0.8..1.2).contains(v))
        );
    }

    #[test]
    fn data_depends_on_seed_and_name_alone() {
        let q4_0 = |seed, name| data(DataType::Q4_0, Values::Centred(0.1), &[512, 4096], seed, name);
        let first = q4_0(1, "blk.0.attn_q.weight");
        assert_eq!(first, q4_0(1, "blk.0.attn_q.weight"));
        assert_ne!(first, q4_0(2, "blk.0.attn_q.weight"));
        assert_ne!(first, q4_0(1, "blk.1.attn_q.weight"));
    }

    #[test]
    fn chunks_of_a_tensor_differ() {
        let data = data(DataType::F16, Values::Centred(0.1), &[512, 1024], 1, "w");
        let (first, second) = data.split_at(CHUNK_BYTES as usize);
        assert_ne!(first, second);
    }

    #[test]
    fn f16_rounds_to_nearest_even() {
        for (value, bits) in [
            (0.0, 0x0000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (1.0 + 1.0 / 2048.0, 0x3c00), // half-way: to even
            (1.0 + 3.0 / 2048.0, 0x3c02), // half-way: to even
            (6.103_515_6e-5, 0x0400),     // smallest normal
            (1e-9, 0x0000),
            (0.1, 0x2e66),
        ] {
            assert_eq!(f16_bits(value), bits, "{value}");
        }
    }
}
