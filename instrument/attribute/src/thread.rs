//! A thread: which probed functions, operators and regions it is inside of, and the calls that led there.

use crate::calls::CallStack;
use crate::probe::{Entered, Lasts, OperatorId};
use crate::sample::Fate;

/// An execution of an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    pub(crate) operator: OperatorId,
    /// Among the thread's: 0, 1, 2…
    pub(crate) number: u64,
    pub(crate) fate: Fate,
}

/// A probed function that has not returned yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Stack pointer at its entry.
    pub(crate) stack_pointer: u64,
    pub(crate) operator: Option<Instance>,
    /// An operator that goes on in this frame although the function that announced it has returned.
    pub(crate) lasting: Option<Instance>,
    pub(crate) is_phase: bool,
    /// Part of the user's region.
    pub(crate) is_region: bool,
    /// The lasting operator is.
    pub(crate) lasting_region: bool,
}

/// An operator that goes on until it is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) instance: Instance,
    is_region: bool,
    /// It lies inside so many of the thread's frames.
    depth: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    /// The thread that started it.
    pub(crate) parent: Option<u32>,
    /// Whether it has ever entered an operator itself.
    pub(crate) has_operators: bool,
    /// Outermost first.
    pub(crate) frames: Vec<Frame>,
    /// Outermost first.
    pub(crate) begun: Vec<Begun>,
    /// As [`Frame::lasting`], outside every probed function.
    pub(crate) lasting: Option<Instance>,
    pub(crate) lasting_region: bool,
    /// Marked regions that have begun and not ended.
    pub(crate) marked: u32,
    /// Times that the user's region was entered; without one, operators.
    pub(crate) instances: u64,
    pub(crate) calls: CallStack,
    /// Instances of operators so far.
    pub(crate) instances_begun: u64,
    /// What runs by the timetable.
    pub(crate) timed: Option<OperatorId>,
    /// What was entered last, if the engine may ask what it means.
    pub(crate) entered: Option<Entered>,
}

impl Thread {
    pub(crate) fn next_number(&mut self) -> u64 {
        self.instances_begun += 1;
        self.instances_begun - 1
    }

    pub(crate) fn instance(&self) -> Option<Instance> {
        let (depth, begun) = match self.begun.last() {
            Some(begun) => (begun.depth, Some(begun.instance)),
            None => (0, None),
        };
        let innermost = |frames: &[Frame]| {
            frames
                .iter()
                .rev()
                .find_map(|frame| frame.lasting.or(frame.operator))
        };
        innermost(&self.frames[depth..]).or(begun).or(self.lasting)
    }

    /// The operators that the thread is in, innermost first.
    pub(crate) fn operators(&self) -> impl Iterator<Item = OperatorId> {
        let innermost = self.instance().into_iter();
        let called = self.frames.iter().rev().filter_map(|frame| frame.operator);
        innermost.chain(called).map(|instance| instance.operator)
    }

    /// The execution of an operator that the thread is in, at whatever depth.
    pub(crate) fn enclosing(&self, operator: OperatorId) -> Option<Instance> {
        let called = self.frames.iter().filter_map(|frame| frame.operator);
        let begun = self.begun.iter().map(|begun| begun.instance);
        called.chain(begun).find(|instance| instance.operator == operator)
    }

    /// Whether a call or marker of the user's region is open. A lasting operator is over when another operator begins.
    pub(crate) fn is_inside(&self) -> bool {
        let mut operator = false;
        for frame in self.frames.iter().rev() {
            if frame.is_region || frame.lasting_region && !operator {
                return true;
            }
            operator |= frame.operator.is_some();
        }
        self.marked > 0 || self.begun.iter().any(|begun| begun.is_region) || self.lasting_region && !operator
    }

    pub(crate) fn enter(&mut self, frame: Frame, lasts: Lasts) {
        match lasts {
            Lasts::Call => {}
            Lasts::UntilNext => {
                let (lasting, region) = match self.frames.last_mut() {
                    Some(enclosing) => (&mut enclosing.lasting, &mut enclosing.lasting_region),
                    None => (&mut self.lasting, &mut self.lasting_region),
                };
                (*lasting, *region) = (frame.operator, frame.is_region);
            }
            Lasts::UntilEnded => {
                self.begun.extend(frame.operator.map(|instance| Begun {
                    instance,
                    is_region: frame.is_region,
                    depth: self.frames.len(),
                }));
            }
        }
        self.frames.push(frame);
    }

    /// Settles what becomes of the instance that has just begun.
    pub(crate) fn decide(&mut self, fate: Fate) {
        let Some((entered, enclosing)) = self.frames.split_last_mut() else {
            return;
        };
        let lasting = enclosing
            .last_mut()
            .map_or(&mut self.lasting, |frame| &mut frame.lasting);
        let Some(instance) = &mut entered.operator else {
            return;
        };
        let number = instance.number;
        instance.fate = fate;
        let begun = self.begun.last_mut().map(|begun| &mut begun.instance);
        for same in lasting.as_mut().into_iter().chain(begun) {
            if same.number == number {
                same.fate = fate;
            }
        }
    }

    /// Returns how many of the frames left were phases.
    pub(crate) fn leave(&mut self, stack_pointer: u64) -> usize {
        let mut phases = 0;
        while let Some(frame) = self.frames.pop_if(|frame| frame.stack_pointer <= stack_pointer) {
            phases += usize::from(frame.is_phase);
        }
        // What was begun in a function may go on behind its end.
        let depth = self.frames.len();
        for begun in self
            .begun
            .iter_mut()
            .rev()
            .take_while(|begun| begun.depth > depth)
        {
            begun.depth = depth;
        }
        phases
    }
}

/// A thread's state, made when it is first heard of.
pub(crate) fn thread_of(threads: &mut Vec<Thread>, thread: u32) -> &mut Thread {
    let index = thread as usize;
    if threads.len() <= index {
        threads.resize_with(index + 1, Thread::default);
    }
    &mut threads[index]
}
