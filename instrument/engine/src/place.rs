//! Places: which instruction of the target an address of the code cache stands for, and what state a thread is in there.
//! Only at a place can a thread be interrupted so that it looks as it would natively.

use std::collections::BTreeMap;

/// The state of a thread at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Before a block: all registers are the target's, nothing is recorded yet.
    Entry,
    /// Before a block that another has handed the record pointer on to: in a register whose value is spilled.
    Warm,
    /// Before an instruction of a block. The record holds what came before it; the record pointer lies in a register
    /// whose value is spilled.
    Body,
    /// The same, but the thread can't go on there a second time: the engine has told something that it must tell once.
    Told,
    /// The same, and this register too is spilled: the instruction's operand is out of reach.
    Borrowed(u8),
    /// Before the last instruction, which is recorded already. The pointer's register is spilled.
    Last,
    /// All that came before is recorded, all registers are the target's.
    Settled,
}

impl State {
    /// Whether the record pointer lies in a register whose value is spilled.
    pub(crate) fn has_pointer(self) -> bool {
        !matches!(self, Self::Entry | Self::Settled)
    }

    /// Whether a signal that has nothing to do with the instruction there may be delivered.
    pub(crate) fn is_interruptible(self) -> bool {
        matches!(self, Self::Entry | Self::Warm | Self::Body | Self::Settled)
    }
}

/// A place, relative to its trace.
#[derive(Clone, Copy)]
struct Step {
    at: u32,
    address: u16,
    state: State,
}

/// What the pointer's register of a block holds, and what its records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The place of the record of this execution.
    Straight,
    /// The place of this iteration's words in the record of a loop.
    Loop,
    /// The number of whole iterations in the record of a loop that has no words for them.
    Affine,
}

/// How a block is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) block: u32,
    /// Where its entry lies in the site table.
    pub(crate) site: u64,
    pub(crate) pointer: u8,
    pub(crate) shape: Shape,
    /// Words behind the record's first; of a loop's, of its header.
    pub(crate) header_words: u16,
    pub(crate) iteration_words: u16,
    /// Behind its record comes a mark (`Thread::mark`).
    pub(crate) is_marked: bool,
}

/// Code that was written in one piece: a block's translation, or a stub.
struct Trace {
    end: usize,
    /// The target's code that it stands for begins there.
    code: u64,
    body: Option<Body>,
    steps: Vec<Step>,
}

/// What an address of the cache stands for.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) state: State,
    /// Where the block begins.
    pub(crate) block_start: u64,
    pub(crate) body: Option<Body>,
}

impl Place {
    /// Outside all blocks: the target goes on at `address`.
    pub(crate) fn settled(address: u64) -> Self {
        Self {
            address,
            state: State::Settled,
            block_start: address,
            body: None,
        }
    }
}

/// All places. They stay when a block is forgotten: a thread may still be on its way through it.
pub(crate) struct Places {
    traces: BTreeMap<usize, Trace>,
    open: Vec<(usize, u64, State)>,
    open_body: Option<Body>,
}

impl Places {
    pub(crate) const fn new() -> Self {
        Self {
            traces: BTreeMap::new(),
            open: Vec::new(),
            open_body: None,
        }
    }

    /// Notes what `at` stands for, in the code that is being written. Later notes lie behind earlier ones.
    pub(crate) fn note(&mut self, at: usize, address: u64, state: State) {
        self.open.push((at, address, state));
    }

    /// Notes how the block that is being written is recorded.
    pub(crate) fn note_body(&mut self, body: Body) {
        self.open_body = Some(body);
    }

    /// The code that was being written lies in `start..end`.
    pub(crate) fn close(&mut self, start: usize, end: usize) {
        let body = self.open_body.take();
        let Some(code) = self.open.iter().map(|&(_, address, _)| address).min() else {
            return;
        };
        let step = |(at, address, state): (usize, u64, State)| Step {
            at: (at - start) as u32,
            address: (address - code) as u16,
            state,
        };
        let steps = self.open.drain(..).map(step).collect();
        self.traces.insert(
            start,
            Trace {
                end,
                code,
                body,
                steps,
            },
        );
    }

    fn trace(&self, at: usize) -> Option<(usize, &Trace)> {
        let (&start, trace) = self.traces.range(..=at).next_back()?;
        (at < trace.end).then_some((start, trace))
    }

    /// The block or stub that `at` lies in: where the target's code begins that it stands for.
    pub(crate) fn block_around(&self, at: usize) -> Option<u64> {
        self.trace(at).map(|(_, trace)| trace.code)
    }

    /// What `at` stands for, if an instruction of the target begins to run there.
    pub(crate) fn find(&self, at: usize) -> Option<Place> {
        let (start, trace) = self.trace(at)?;
        let offset = (at - start) as u32;
        // Of two notes of one address, the later one: nothing was written in between.
        let index = trace.steps.partition_point(|step| step.at <= offset);
        let step = trace.steps[..index].last().filter(|step| step.at == offset)?;
        Some(Place {
            address: trace.code + u64::from(step.address),
            state: step.state,
            block_start: trace.code,
            body: trace.body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_trace_answers_for_exact_places_only() {
        let mut places = Places::new();
        places.note(1000, 0x40_0000, State::Entry);
        places.note(1010, 0x40_0000, State::Body);
        places.note(1014, 0x40_0003, State::Body);
        places.note(1020, 0x40_0007, State::Last);
        places.close(1000, 1030);
        places.note(1044, 0x50_0000, State::Settled);
        places.close(1040, 1050);
        places.close(1060, 1070);
        let found = |at| places.find(at).map(|place| (place.address, place.state));
        assert_eq!(found(1000), Some((0x40_0000, State::Entry)));
        assert_eq!(found(1014), Some((0x40_0003, State::Body)));
        assert_eq!(found(1015), None);
        assert_eq!(found(1020), Some((0x40_0007, State::Last)));
        assert_eq!(found(1030), None);
        assert_eq!(found(1044), Some((0x50_0000, State::Settled)));
        assert_eq!(found(1061), None);
        assert_eq!(places.block_around(1029), Some(0x40_0000));
        assert_eq!(places.block_around(1030), None);
    }
}
