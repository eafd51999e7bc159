//! The draw of a sample of like instances, in order as they come. It depends on their number alone: who draws, engine or
//! consumer, draws the same, in every run.

/// The doubling that the instance `ordinal` of a series lies in, and whether it is drawn: the first 2 `count` all are, and
/// of each doubling after that `count` are, one at random from each of as many equal parts.
#[must_use]
pub fn draw(count: u32, ordinal: u64) -> (u32, bool) {
    let count = u64::from(count.max(1));
    let Some(octave) = (ordinal / count).checked_ilog2() else {
        return (0, true);
    };
    // As many instances as the doubling has, over the number drawn from it.
    let cell = 1 << octave;
    let position = ordinal - (count << octave);
    let drawn = mix((u64::from(octave) << 32) | (position / cell)) % cell;
    (octave + 1, position % cell == drawn)
}

/// The finalizer of `SplitMix64`: a fixed pseudo-random number for each input.
#[must_use]
pub fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
