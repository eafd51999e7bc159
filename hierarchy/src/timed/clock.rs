//! Between picoseconds and the ticks of a device, of which tick 1 begins at time 0.

use crate::dram::{Device, Tick};

/// The latest time, 106 days: no conversion overflows below it.
pub const MAX_PS: u64 = 1 << 63;

/// A tick is `period_ps / ticks_per_period` long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    period_ps: u64,
    ticks_per_period: u64,
}

impl Clock {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            period_ps: device.t_ck_ps,
            ticks_per_period: device.ticks_per_clock,
        }
    }

    /// When a tick begins, rounded up.
    #[inline]
    pub(super) fn start_ps(self, tick: Tick) -> u64 {
        let ticks = tick.saturating_sub(1);
        if self.ticks_per_period == 1 {
            return ticks.saturating_mul(self.period_ps);
        }
        let ps = (u128::from(ticks) * u128::from(self.period_ps)).div_ceil(self.ticks_per_period.into());
        u64::try_from(ps).unwrap_or(u64::MAX)
    }

    /// The last tick that has begun at a time.
    #[inline]
    pub(super) fn begun_at(self, ps: u64) -> Tick {
        if self.ticks_per_period == 1 {
            return 1 + ps / self.period_ps;
        }
        let ticks = u128::from(ps) * u128::from(self.ticks_per_period) / u128::from(self.period_ps);
        1 + ticks as u64
    }

    /// The first tick that begins at a time or after it.
    #[inline]
    pub(super) fn next_at(self, ps: u64) -> Tick {
        let tick = self.begun_at(ps);
        // Starts are rounded up, so a tick that starts within this picosecond counts as starting at it.
        tick + u64::from(self.start_ps(tick) < ps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_begins_where_it_says() {
        for (period_ps, ticks_per_period) in [(625, 1), (625, 2), (1250, 2), (937, 4), (3, 2)] {
            let clock = Clock {
                period_ps,
                ticks_per_period,
            };
            for tick in (1..2000).chain([1 << 40, (1 << 52) + 1]) {
                let start = clock.start_ps(tick);
                assert_eq!((clock.begun_at(start), clock.next_at(start)), (tick, tick));
                assert_eq!(clock.next_at(start + 1), tick + 1);
                if start > 0 {
                    assert_eq!(clock.begun_at(start - 1), tick - 1);
                }
            }
        }
    }
}
