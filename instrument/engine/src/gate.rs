//! The gate: which threads are recorded and which only run. If a part of the run is all that memloupe wants (a region, a
//! window, a sample of each operator's instances), a thread outside of it goes through bare translations (`cache::Mode`); it
//! changes over where it enters and leaves functions that are probed, and at returns and indirect branches.
//! A thread that never enters an operator itself may work for another one: of a sample, it is recorded whole, unless it is the first.
//!
//! What entering a function means is memloupe's knowledge (names, types, presets). The engine asks once for each distinct
//! reading of the arguments, as far as they matter (`Probe::key`), and remembers the answer; the calls that are phases of the process it
//! asks about each time. From the answers it follows what every thread is inside of, as memloupe does from the events.
//!
//! What is recorded is all that is wanted and at times more: memloupe cuts again.

use std::hash::BuildHasherDefault;
use std::sync::atomic::Ordering::Relaxed;

use memloupe_layout::{
    ALL_KEYS, ANSWER_ENDS_OPERATOR, ANSWER_ENDS_PHASE, ANSWER_MARK_BEGIN, ANSWER_MARK_END, ANSWER_OPERATOR,
    ANSWER_PHASE, ANSWER_PHASE_REGION, ANSWER_REGION, ANSWER_UNTIL_ENDED, ANSWER_UNTIL_NEXT, GATE_REGION,
    GATE_SAMPLE, GATE_WINDOW, KEY_KIND_SHIFT, KEY_PRESENCE, KEY_TEXT, Phases, draw,
};

use crate::cache::{AddressMap, Mode};
use crate::ring::Event;
use crate::stream::{self, Probe};
use crate::thread::Thread;
use crate::{ENGINE, dispatch::Engine};

/// What entering a function means.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer {
    flags: u64,
    operator: u32,
    series: u32,
    phase: u32,
}

impl Answer {
    fn of(words: [u64; 2]) -> Self {
        Self {
            flags: words[0] & u64::from(u32::MAX),
            operator: (words[0] >> 32) as u32,
            series: words[1] as u32,
            phase: (words[1] >> 32) as u32,
        }
    }

    fn is(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

/// An execution of an operator.
#[derive(Clone, Copy)]
struct Instance {
    operator: u32,
    is_drawn: bool,
}

/// A probed function that has not returned yet.
struct Frame {
    stack_pointer: u64,
    operator: Option<Instance>,
    /// An operator that goes on in this frame although the function that announced it has returned.
    lasting: Option<Instance>,
    is_phase: bool,
    is_region: bool,
    lasting_region: bool,
}

/// An operator that goes on until it is ended.
struct Begun {
    instance: Instance,
    is_region: bool,
    /// It lies inside so many of the thread's frames.
    depth: usize,
}

/// What a thread is inside of.
#[derive(Default)]
struct Inside {
    /// Outermost first.
    frames: Vec<Frame>,
    begun: Vec<Begun>,
    lasting: Option<Instance>,
    lasting_region: bool,
    marked: u32,
    /// Times that the region was entered; without one, operators.
    instances: u64,
    has_operators: bool,
}

impl Inside {
    fn instance(&self) -> Option<Instance> {
        let (depth, begun) = match self.begun.last() {
            Some(begun) => (begun.depth, Some(begun.instance)),
            None => (0, None),
        };
        let mut inner = self.frames[depth..].iter().rev();
        inner
            .find_map(|frame| frame.lasting.or(frame.operator))
            .or(begun)
            .or(self.lasting)
    }

    /// A lasting operator is over when another operator begins.
    fn is_in_region(&self) -> bool {
        let mut operator = false;
        for frame in self.frames.iter().rev() {
            if frame.is_region || frame.lasting_region && !operator {
                return true;
            }
            operator |= frame.operator.is_some();
        }
        self.marked > 0 || self.begun.iter().any(|begun| begun.is_region) || self.lasting_region && !operator
    }

    /// Whether a new instance of what is counted begins.
    fn is_new_instance(&self, gate: u32, answer: &Answer) -> bool {
        if gate & GATE_REGION != 0 {
            answer.is(ANSWER_REGION) && !self.frames.iter().any(|frame| frame.is_region)
        } else {
            answer.is(ANSWER_OPERATOR) && self.enclosing(answer.operator).is_none()
        }
    }

    /// The instance of an operator that the thread is in already: what begins is its kernel.
    fn enclosing(&self, operator: u32) -> Option<Instance> {
        let called = self.frames.iter().filter_map(|frame| frame.operator);
        let begun = self.begun.iter().map(|begun| begun.instance);
        called.chain(begun).find(|instance| instance.operator == operator)
    }

    fn enter(&mut self, frame: Frame, answer: &Answer) {
        if answer.is(ANSWER_UNTIL_ENDED) {
            self.begun.extend(frame.operator.map(|instance| Begun {
                instance,
                is_region: frame.is_region,
                depth: self.frames.len(),
            }));
        }
        if answer.is(ANSWER_UNTIL_NEXT) {
            let (lasting, region) = match self.frames.last_mut() {
                Some(enclosing) => (&mut enclosing.lasting, &mut enclosing.lasting_region),
                None => (&mut self.lasting, &mut self.lasting_region),
            };
            (*lasting, *region) = (frame.operator, frame.is_region);
        }
        self.frames.push(frame);
    }

    /// Returns how many of the frames left were phases.
    fn leave(&mut self, stack_pointer: u64) -> usize {
        let mut phases = 0;
        while let Some(frame) = self.frames.pop_if(|frame| frame.stack_pointer <= stack_pointer) {
            phases += usize::from(frame.is_phase);
        }
        // What was begun in a function may go on behind its end.
        for begun in &mut self.begun {
            begun.depth = begun.depth.min(self.frames.len());
        }
        phases
    }
}

/// What all threads share.
pub(crate) struct Gate {
    /// By key.
    answers: AddressMap<Answer>,
    /// By series: instances so far.
    counts: AddressMap<u64>,
    /// By thread.
    inside: AddressMap<Inside>,
    phases: Phases<Phase>,
    /// What is in no phase.
    outside: Phase,
    /// The window of instances has been reached by some thread.
    is_open: bool,
}

/// A phase of the process, by its name's number.
#[derive(Clone, Copy)]
struct Phase {
    number: u32,
    is_region: bool,
}

/// The numbers of what comes before the first phase, and of what is in none after that.
const BEFORE_PHASES: u32 = 0;
const NO_PHASE: u32 = u32::MAX;

impl Gate {
    pub(crate) const fn new() -> Self {
        const fn map<T>() -> AddressMap<T> {
            AddressMap::with_hasher(BuildHasherDefault::new())
        }
        Self {
            answers: map(),
            counts: map(),
            inside: map(),
            phases: Phases::new(),
            outside: Phase {
                number: BEFORE_PHASES,
                is_region: false,
            },
            is_open: false,
        }
    }

    /// A thread enters a function. The number of the instance in its series, if one has begun that may be drawn.
    fn enter(&mut self, thread: u32, stack_pointer: u64, answer: &Answer) -> Option<u64> {
        let header = stream::header();
        let is_call = !answer.is(ANSWER_UNTIL_ENDED | ANSWER_UNTIL_NEXT);
        if answer.is(ANSWER_ENDS_PHASE) {
            self.phases.end();
        }
        if answer.is(ANSWER_PHASE) {
            self.outside.number = NO_PHASE;
            let phase = Phase {
                number: answer.phase,
                is_region: answer.is(ANSWER_PHASE_REGION),
            };
            if is_call {
                self.phases.enter(thread, phase);
            } else {
                self.phases.begin(phase);
            }
        }
        let inside = self.inside.entry(u64::from(thread)).or_default();
        if answer.is(ANSWER_ENDS_OPERATOR) {
            inside.begun.pop();
        }
        inside.instances += u64::from(inside.is_new_instance(header.gate, answer));
        inside.has_operators |= answer.is(ANSWER_OPERATOR);
        let mut ordinal = None;
        let operator = answer.is(ANSWER_OPERATOR).then(|| {
            inside.enclosing(answer.operator).unwrap_or_else(|| {
                let is_drawn = header.gate & GATE_SAMPLE == 0 || {
                    let count = self.counts.entry(u64::from(answer.series)).or_default();
                    let number = *ordinal.insert(*count);
                    *count += 1;
                    draw(header.sample_count, number).1
                };
                Instance {
                    operator: answer.operator,
                    is_drawn,
                }
            })
        });
        if answer.is(ANSWER_MARK_BEGIN) {
            inside.instances += u64::from(inside.marked == 0);
            inside.marked += 1;
        }
        if answer.is(ANSWER_MARK_END) {
            inside.marked = inside.marked.saturating_sub(1);
        }
        let frame = Frame {
            stack_pointer,
            operator,
            lasting: None,
            is_phase: answer.is(ANSWER_PHASE) && is_call,
            is_region: answer.is(ANSWER_REGION),
            lasting_region: false,
        };
        inside.enter(frame, answer);
        self.is_open |= inside.instances >= header.first_instance;
        ordinal
    }

    fn phase(&self) -> Phase {
        self.phases.current().unwrap_or(self.outside)
    }

    /// What a thread is to do.
    fn mode(&mut self, thread: u32) -> Mode {
        let header = stream::header();
        let phase_is_region = self.phase().is_region;
        let inside = self.inside.entry(u64::from(thread)).or_default();
        let is_wanted = (header.gate & GATE_REGION == 0 || phase_is_region || inside.is_in_region())
            && (header.gate & GATE_SAMPLE == 0
                || match inside.instance() {
                    Some(instance) => instance.is_drawn,
                    None => thread > 0 && !inside.has_operators,
                })
            && (header.gate & GATE_WINDOW == 0 || self.is_open && inside.instances <= header.last_instance)
            && header.closed.load(Relaxed) == 0;
        if is_wanted { Mode::Recorded } else { Mode::Bare }
    }
}

fn is_there() -> bool {
    stream::header().gate != 0
}

/// A thread has entered a probed function, which was told: `payload` of `ProbeEnter`.
pub(crate) fn enter(thread: &Thread, probe: &Probe, payload: &[u64]) {
    if !is_there() {
        return;
    }
    let [_, stack_pointer, present, values @ ..] = payload else {
        return;
    };
    let engine = ENGINE.lock();
    let seed = [
        u64::from(thread.index) << 32 | u64::from(engine.gate.phase().number),
        u64::from(probe.id),
        *present,
    ];
    let key = key(seed, probe, values);
    let known = engine.gate.answers.get(&key).copied();
    drop(engine);
    let answer = known.unwrap_or_else(|| Answer::of(thread.ask()));
    let mut engine = ENGINE.lock();
    if !answer.is(ANSWER_PHASE | ANSWER_ENDS_PHASE) {
        engine.gate.answers.insert(key, answer);
    }
    let ordinal = engine.gate.enter(thread.index, *stack_pointer, &answer);
    drop(engine);
    if let Some(ordinal) = ordinal {
        thread.event(Event::Draw, &[u64::from(answer.series), ordinal]);
    }
    if answer.is(ANSWER_PHASE | ANSWER_ENDS_PHASE) {
        thread.call_others();
    }
}

/// A thread has left the functions that were entered at `stack_pointer` or below, which was told.
pub(crate) fn leave(thread: &Thread, stack_pointer: u64) {
    if !is_there() {
        return;
    }
    let mut engine = ENGINE.lock();
    let gate = &mut engine.gate;
    let inside = gate.inside.entry(u64::from(thread.index)).or_default();
    let phases = inside.leave(stack_pointer);
    if phases > 0 {
        gate.phases.leave(thread.index, phases);
        drop(engine);
        thread.call_others();
    }
}

/// A thread is over.
pub(crate) fn forget(engine: &mut Engine, thread: &Thread) {
    engine.gate.inside.remove(&u64::from(thread.index));
    engine.gate.phases.forget(thread.index);
}

/// Lets a thread that is in the dispatcher go on as the gate wants it to.
pub(crate) fn pass(thread: &mut Thread) {
    if is_there() {
        let mode = ENGINE.lock().gate.mode(thread.index);
        if mode != thread.mode && mode == Mode::Recorded {
            // What it did since its last record, nobody has seen.
            thread.mark();
        }
        thread.mode = mode;
    }
}

/// A number for what was read, as far as an answer depends on it. Two readings share one by chance only (2^-64).
fn key(seed: [u64; 3], probe: &Probe, values: &[u64]) -> u64 {
    let mut state = seed.into_iter().fold(0, mix);
    if probe.keys == ALL_KEYS {
        return values.iter().copied().fold(state, mix);
    }
    // SAFETY: words are bytes.
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    for key in &probe.key[..usize::from(probe.keys).min(probe.key.len())] {
        let start = usize::from(key.start);
        let end = start + usize::from(key.bytes & ((1 << KEY_KIND_SHIFT) - 1));
        let Some(part) = bytes.get(start..end) else {
            continue;
        };
        state = match key.bytes >> KEY_KIND_SHIFT {
            KEY_PRESENCE => mix(state, u64::from(part.iter().any(|&byte| byte != 0))),
            KEY_TEXT => {
                let end = part.iter().position(|&byte| byte == 0).unwrap_or(part.len());
                mix_bytes(state, &part[..end])
            }
            _ => mix_bytes(state, part),
        };
    }
    state
}

fn mix_bytes(state: u64, bytes: &[u8]) -> u64 {
    let state = mix(state, bytes.len() as u64);
    bytes.chunks(8).fold(state, |state, part| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        mix(state, u64::from_le_bytes(word))
    })
}

/// The product's two halves folded, as wyhash does.
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xe703_7ed1_a0b4_28db);
    (product as u64) ^ (product >> 64) as u64 ^ state.rotate_left(23)
}
