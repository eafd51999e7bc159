//! The meters that follow lines: whatever is kept for a line, and what it adds up to.

use super::lifetime::LifetimeMeter;
use super::line_use::LineUseMeter;
use super::reuse::ReuseMeter;
use super::sharing::SharingMeter;
use super::stretch::Stretch;
use super::{Analysis, GroupLocality, Options};

/// Those that are wanted.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    pub(super) reuse: Option<ReuseMeter>,
    pub(super) line_use: Option<LineUseMeter>,
    pub(super) lifetime: Option<LifetimeMeter>,
    pub(super) sharing: Option<SharingMeter>,
    // What the meters have room for.
    slots: usize,
    groups: usize,
}

impl Meters {
    pub(super) fn new(options: &Options) -> Self {
        let wants = |analysis| options.analyses.contains(&analysis);
        let line_shift = options.line_bytes.trailing_zeros();
        Self {
            reuse: (wants(Analysis::Reuse) || wants(Analysis::LineUse)).then(ReuseMeter::default),
            line_use: wants(Analysis::LineUse)
                .then(|| LineUseMeter::new(&options.capacities_lines, line_shift)),
            lifetime: wants(Analysis::Lifetime).then(|| LifetimeMeter::new(line_shift)),
            sharing: wants(Analysis::Sharing).then(SharingMeter::default),
            slots: 0,
            groups: 0,
        }
    }

    /// Whether any line needs to be followed.
    pub(super) fn any(&self) -> bool {
        self.reuse.is_some() || self.lifetime.is_some() || self.sharing.is_some()
    }

    /// Makes room for so many slots of lines and groups.
    #[inline]
    pub(super) fn reserve(&mut self, slots: usize, groups: usize) {
        if slots <= self.slots && groups <= self.groups {
            return;
        }
        // Doubled, so that room is made seldom.
        if slots > self.slots {
            self.slots = slots.max(self.slots * 2);
        }
        self.groups = groups;
        if let Some(reuse) = &mut self.reuse {
            reuse.reserve(self.slots, groups);
        }
        if let Some(line_use) = &mut self.line_use {
            line_use.reserve(self.slots, groups);
        }
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.reserve(self.slots, groups);
        }
        if let Some(sharing) = &mut self.sharing {
            sharing.reserve(self.slots);
        }
    }

    #[inline]
    pub(super) fn stretch(&mut self, stretch: Stretch<'_>) {
        let lines = stretch.touches.len() as u64 * stretch.one_in;
        let thrashes = self
            .line_use
            .as_ref()
            .is_some_and(|line_use| line_use.may_thrash(lines));
        if thrashes && stretch.iterations > 1 {
            for iteration in 0..stretch.iterations {
                self.take(&Stretch {
                    first: stretch.first + iteration,
                    iterations: 1,
                    clock: stretch.clock + iteration * stretch.period,
                    ..stretch
                });
            }
        } else {
            self.take(&stretch);
        }
    }

    #[inline]
    fn take(&mut self, stretch: &Stretch<'_>) {
        if let Some(reuse) = &mut self.reuse {
            reuse.stretch(stretch);
            if let Some(line_use) = &mut self.line_use {
                line_use.stretch(stretch, reuse);
            }
        }
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.stretch(stretch);
        }
        if let Some(sharing) = &mut self.sharing {
            sharing.stretch(stretch);
        }
    }

    /// Keeps the lines of these slots only, numbered anew.
    pub(super) fn retain(&mut self, slots: &[u32]) {
        self.slots = slots.len();
        if let Some(reuse) = &mut self.reuse {
            reuse.retain(slots);
        }
        if let Some(line_use) = &mut self.line_use {
            line_use.retain(slots);
        }
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.retain(slots);
        }
        if let Some(sharing) = &mut self.sharing {
            sharing.retain(slots);
        }
    }

    /// Adds the results after so many accesses to those of the groups.
    pub(super) fn finish(mut self, accesses: u64, one_in: u64, groups: &mut [GroupLocality]) {
        self.reserve(self.slots, groups.len());
        if let Some(reuse) = self.reuse {
            for (group, reuse) in groups.iter_mut().zip(reuse.finish(accesses, one_in)) {
                group.reuse = reuse;
            }
        }
        if let Some(line_use) = self.line_use {
            for (group, used_bytes) in groups.iter_mut().zip(line_use.finish(one_in)) {
                group.used_bytes = used_bytes;
            }
        }
        if let Some(lifetime) = self.lifetime {
            for (group, lifetimes) in groups.iter_mut().zip(lifetime.finish(one_in)) {
                group.lifetimes = lifetimes;
            }
        }
        if let Some(sharing) = self.sharing {
            let sharing = sharing.finish(one_in, groups.len());
            for (group, sharing) in groups.iter_mut().zip(sharing) {
                group.sharing = sharing;
            }
        }
    }
}
