//! The gate: what of the target is wanted, and what functions mean to it. See `PROTOCOL.md`, "The gate".

use crate::layout;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Only what lies in a region is.
    pub region: bool,
    /// Only so many of each doubling of like instances of operators are, and what comes right before each.
    pub sample: Option<u32>,
    /// Only these of each thread's instances are (1, 2, 3…): of the region; without one, of operators.
    pub window: Option<(u64, u64)>,
}

impl Gate {
    /// `ml_header.gate`.
    pub(crate) fn bits(self) -> u32 {
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        bit(self.region, layout::GATE_REGION)
            | bit(self.sample.is_some(), layout::GATE_SAMPLE)
            | bit(self.window.is_some(), layout::GATE_WINDOW)
    }
}

/// How long an operator goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lasts {
    /// Until the function returns.
    #[default]
    Call,
    /// In the enclosing call, until the next one begins.
    UntilNext,
    /// Until it is ended.
    UntilEnded,
}

/// What entering a probed function means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The operator that begins, or that it is a part of.
    pub operator: Option<u32>,
    /// How long the operator or the phase goes on.
    pub lasts: Lasts,
    /// The thread's innermost operator of those that last until they are ended is over.
    pub ends_operator: bool,
    /// It is part of the region.
    pub region: bool,
    /// The process is in another phase from now on: its name's number.
    pub phase: Option<u32>,
    /// That phase is the region.
    pub phase_is_region: bool,
    /// The innermost of the phases that last until they are ended is over.
    pub ends_phase: bool,
    /// It begins the marked region.
    pub mark_begin: bool,
    /// It ends the marked region.
    pub mark_end: bool,
    /// The operator's instances that are alike.
    pub series: u32,
}

impl Answer {
    pub(crate) fn words(self) -> [u64; 2] {
        let flags = [
            (self.operator.is_some(), layout::ANSWER_OPERATOR),
            (self.lasts == Lasts::UntilNext, layout::ANSWER_UNTIL_NEXT),
            (self.lasts == Lasts::UntilEnded, layout::ANSWER_UNTIL_ENDED),
            (self.ends_operator, layout::ANSWER_ENDS_OPERATOR),
            (self.region, layout::ANSWER_REGION),
            (self.phase.is_some(), layout::ANSWER_PHASE),
            (self.phase_is_region, layout::ANSWER_PHASE_REGION),
            (self.ends_phase, layout::ANSWER_ENDS_PHASE),
            (self.mark_begin, layout::ANSWER_MARK_BEGIN),
            (self.mark_end, layout::ANSWER_MARK_END),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit);
        [
            flags.sum::<u64>() | u64::from(self.operator.unwrap_or(0)) << 32,
            u64::from(self.series) | u64::from(self.phase.unwrap_or(0)) << 32,
        ]
    }
}
