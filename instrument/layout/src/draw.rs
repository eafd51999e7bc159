//! The draw of a sample of like instances, in order as they come. It depends on their number alone: who draws, engine or
//! consumer, draws the same, in every run.

/// Each stretch of a series is so many times as long as all before it.
const GROWTH: u64 = 7;

/// The stretch that the instance `ordinal` of a series lies in, and whether it is drawn: the first `count` all are, and
/// of each stretch after that (up to 8 `count`, 64 `count`…) `count` are, one at random from each of as many equal parts.
#[must_use]
pub fn draw(count: u32, ordinal: u64) -> (u32, bool) {
    let count = u64::from(count.max(1));
    let Some(stretch) = (ordinal / count).checked_ilog(GROWTH + 1) else {
        return (0, true);
    };
    let before = (GROWTH + 1).pow(stretch);
    // As many instances as the stretch has, over the number drawn from it.
    let cell = GROWTH * before;
    let position = ordinal - count * before;
    let drawn = mix((u64::from(stretch) << 32) | (position / cell)) % cell;
    (stretch + 1, position % cell == drawn)
}

/// The finalizer of `SplitMix64`: a fixed pseudo-random number for each input.
#[must_use]
pub fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
