//! Call paths: through which calls a thread got to where it is.
//!
//! They are read from the stream itself: a block that ends with a call pushes a return address, one that ends with a return
//! pops it, and the stack pointers of both tell which calls are still open. So every access has its path, without frame
//! pointers or unwind tables, in code of any origin, and functions left by `longjmp` or an exception are dropped with the
//! next call or return below them. What it does not see:
//! - calls before the stream begins; a thread's paths begin where its recording does;
//! - between `longjmp` and the next call or return, the path is the one that was left;
//! - coroutines that switch stacks within [`STACK_BYTES`] of each other are taken for one stack;
//! - paths deeper than [`DEPTH_LIMIT`] calls go by their first ones, and from [`PATH_LIMIT`] paths on a new call stays with its
//!   caller; both are counted.

use memloupe_stream::{Block, Ending, Run, SiteId};
use rustc_hash::FxHashMap;

/// Index of a path.
pub type PathId = u32;

/// The path of a thread that has called nothing yet.
pub const ROOT: PathId = 0;
/// Calls of a path that are told apart. Call stacks of inference stay below 100; recursion may go on without end.
pub const DEPTH_LIMIT: u16 = 128;
/// Paths that are told apart: a bound on memory, some 40 bytes each here, and a row for each site below.
pub const PATH_LIMIT: usize = 1 << 20;
/// Stacks that lie further apart are different ones: twice the 8 MiB that Linux gives a thread, with room for larger limits.
pub const STACK_BYTES: u64 = 64 << 20;

/// A call that a path ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The path of its caller.
    pub caller: PathId,
    /// The push of its return address.
    pub site: SiteId,
    depth: u16,
}

/// All paths: a tree of calls.
#[derive(Debug, Default)]
pub struct CallPaths {
    /// Path `n` ends with call `n - 1`.
    calls: Vec<Call>,
    index: FxHashMap<(PathId, SiteId), PathId>,
    /// Calls that have no path of their own.
    unresolved: u64,
}

impl CallPaths {
    /// The call that a path ends with; none for [`ROOT`].
    #[must_use]
    pub fn last(&self, path: PathId) -> Option<Call> {
        Some(self.calls[path.checked_sub(1)? as usize])
    }

    /// The calls that paths 1, 2, 3… end with: a caller's path comes before it.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Calls that went by their caller's path, because they were too deep or there were too many paths.
    #[must_use]
    pub fn unresolved(&self) -> u64 {
        self.unresolved
    }

    fn extend(&mut self, caller: PathId, site: SiteId) -> PathId {
        let depth = self.last(caller).map_or(0, |call| call.depth);
        if let Some(path) = self.index.get(&(caller, site)) {
            return *path;
        }
        if depth == DEPTH_LIMIT || self.calls.len() == PATH_LIMIT {
            self.unresolved += 1;
            return caller;
        }
        self.calls.push(Call {
            caller,
            site,
            depth: depth + 1,
        });
        let path = self.calls.len() as PathId;
        self.index.insert((caller, site), path);
        path
    }
}

/// A call that has not returned.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where its return address lies.
    address: u64,
    path: PathId,
}

/// The calls of a thread that have not returned, the innermost last.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallStack {
    open: Vec<Open>,
}

impl CallStack {
    /// The path to where the thread is.
    pub(crate) fn path(&self) -> PathId {
        self.open.last().map_or(ROOT, |call| call.path)
    }

    /// Takes in a run of `block`, which ends with a call or a return; returns whether the path may be another one behind it.
    pub(crate) fn after(&mut self, run: &Run<'_>, block: &Block, paths: &mut CallPaths) -> bool {
        let last_site = (block.first_operand + block.operands).wrapping_sub(1);
        let Some(last) = run.operands.last().filter(|operand| operand.site == last_site) else {
            return false; // The execution goes on in the next run.
        };
        let address = last.address_in(run.iterations - 1);
        // What lies below the stack pointer is over.
        while let Some(call) = self.open.last() {
            if address
                .checked_sub(call.address)
                .is_none_or(|above| above >= STACK_BYTES)
            {
                break;
            }
            self.open.pop();
        }
        if block.ending == Ending::Call {
            let path = paths.extend(self.path(), last.site);
            self.open.push(Open { address, path });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memloupe_stream::{AccessKind, RunOperand, SiteTable};

    const CALL: u16 = 4;
    const RETURN: u16 = 8;
    const SITES: u32 = 2;

    /// Block n has site 2 n + 1 as its last operand; blocks 0 to 2 call, block 3 returns.
    fn blocks() -> SiteTable {
        let mut table = SiteTable::default();
        for id in 0u32..4 {
            let mut entry = Vec::new();
            entry.extend(9u32.to_le_bytes());
            entry.extend(id.to_le_bytes());
            entry.extend((0x1000 + 16 * u64::from(id)).to_le_bytes());
            entry.extend([5, 0, 0, 0, 0, 0, 0, 0]);
            for number in [1u16, 1, 1, if id == 3 { RETURN } else { CALL }] {
                entry.extend(number.to_le_bytes());
            }
            entry.extend([0; 8]);
            entry.extend([0, 0, 0, 0, 8, 0, u8::from(id != 3), 0]);
            entry.extend([0; 24]);
            table.extend(&entry).expect("a sound entry");
        }
        table
    }

    /// Executes a block whose last access is at an address; returns the call sites of the path behind it.
    fn step(stack: &mut CallStack, paths: &mut CallPaths, block: u32, address: u64) -> Vec<SiteId> {
        let operands = [RunOperand {
            address,
            stride: 0,
            site: SITES * block + 1,
            bytes: 8,
            kind: AccessKind::Load,
        }];
        let run = Run {
            block,
            iterations: 1,
            operands: &operands,
            scattered: &[],
        };
        assert!(stack.after(&run, blocks().block(block).expect("a block"), paths));
        let mut sites = Vec::new();
        let mut path = stack.path();
        while let Some(call) = paths.last(path) {
            sites.push(call.site);
            path = call.caller;
        }
        sites.reverse();
        sites
    }

    #[test]
    fn returns_end_calls_and_calls_end_those_that_never_returned() {
        let (mut stack, mut paths) = (CallStack::default(), CallPaths::default());
        let top = 0x7fff_0000;
        assert_eq!(step(&mut stack, &mut paths, 0, top), [1]);
        assert_eq!(step(&mut stack, &mut paths, 1, top - 32), [1, 3]);
        assert_eq!(step(&mut stack, &mut paths, 2, top - 64), [1, 3, 5]);
        assert_eq!(step(&mut stack, &mut paths, 3, top - 64), [1, 3]);
        assert_eq!(step(&mut stack, &mut paths, 2, top - 64), [1, 3, 5]);
        // A longjmp to the first function, which calls again.
        assert_eq!(step(&mut stack, &mut paths, 2, top - 32), [1, 5]);
        assert!(step(&mut stack, &mut paths, 3, top).is_empty());
        assert_eq!(paths.calls().len(), 4);
    }

    #[test]
    fn a_handler_on_its_own_stack_leaves_the_calls_below_it_alone() {
        let (mut stack, mut paths) = (CallStack::default(), CallPaths::default());
        let (top, own) = (0x7fff_0000, 0x7fff_0000 + 2 * STACK_BYTES);
        step(&mut stack, &mut paths, 0, top);
        assert_eq!(step(&mut stack, &mut paths, 1, own), [1, 3]);
        assert_eq!(step(&mut stack, &mut paths, 3, own), [1]);
    }

    #[test]
    fn recursion_without_end_stays_within_the_limit() {
        let (mut stack, mut paths) = (CallStack::default(), CallPaths::default());
        let calls = u64::from(DEPTH_LIMIT) + 100;
        for depth in 0..calls {
            step(&mut stack, &mut paths, 0, 0x7fff_0000 - 16 * depth);
        }
        assert_eq!(paths.calls().len(), usize::from(DEPTH_LIMIT));
        assert_eq!(paths.unresolved(), 100);
        for depth in (1..calls).rev() {
            step(&mut stack, &mut paths, 3, 0x7fff_0000 - 16 * depth);
        }
        assert_eq!(paths.last(stack.path()).map(|call| call.depth), Some(1));
    }
}
