//! The phases that a process is in. They belong to the process and nest: that of a call lasts until the call is left on its
//! thread, one that the program begins until it is ended, by whichever thread. Engine and consumer follow them alike.

/// Phases that go on, each with its owner's word for it.
#[derive(Debug)]
pub struct Phases<P> {
    /// Outermost first.
    open: Vec<Open<P>>,
}

#[derive(Debug)]
struct Open<P> {
    phase: P,
    /// Whose call it is; none if it goes on until it is ended.
    thread: Option<u32>,
}

impl<P: Copy> Phases<P> {
    #[must_use]
    pub const fn new() -> Self {
        Self { open: Vec::new() }
    }

    /// A phase begins that goes on until it is ended.
    pub fn begin(&mut self, phase: P) {
        self.open.push(Open { phase, thread: None });
    }

    /// A thread enters a call that is a phase.
    pub fn enter(&mut self, thread: u32, phase: P) {
        self.open.push(Open {
            phase,
            thread: Some(thread),
        });
    }

    /// The innermost phase of those that go on until they are ended is ended.
    pub fn end(&mut self) {
        self.close(None);
    }

    /// A thread leaves so many calls that are phases.
    pub fn leave(&mut self, thread: u32, calls: usize) {
        (0..calls).for_each(|_| self.close(Some(thread)));
    }

    /// A thread is over, and its calls with it.
    pub fn forget(&mut self, thread: u32) {
        self.open.retain(|open| open.thread != Some(thread));
    }

    /// The innermost phase.
    #[must_use]
    pub fn current(&self) -> Option<P> {
        self.open.last().map(|open| open.phase)
    }

    fn close(&mut self, thread: Option<u32>) {
        if let Some(place) = self.open.iter().rposition(|open| open.thread == thread) {
            self.open.remove(place);
        }
    }
}

impl<P: Copy> Default for Phases<P> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Phases;

    #[test]
    fn a_call_inside_a_begun_phase_leads_back_to_it() {
        let mut phases = Phases::default();
        phases.begin("forward");
        phases.enter(0, "decode");
        assert_eq!(phases.current(), Some("decode"));
        phases.leave(0, 1);
        assert_eq!(phases.current(), Some("forward"));
        phases.end();
        assert_eq!(phases.current(), None);
    }

    #[test]
    fn a_phase_begun_in_a_call_leads_back_to_the_call() {
        let mut phases = Phases::default();
        phases.enter(3, "decode");
        phases.begin("compile");
        phases.end();
        assert_eq!(phases.current(), Some("decode"));
        phases.end();
        assert_eq!(phases.current(), Some("decode"), "nothing is left to end");
    }

    #[test]
    fn threads_leave_their_own_calls_in_any_order() {
        let mut phases = Phases::default();
        phases.enter(0, "prefill");
        phases.enter(1, "decode");
        phases.leave(0, 1);
        assert_eq!(phases.current(), Some("decode"));
        phases.forget(1);
        assert_eq!(phases.current(), None);
    }
}
