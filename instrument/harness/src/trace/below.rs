//! What leaves a cache level: the caches up to it are simulated, and what they ask of the next one is the trace.

use memloupe_cachesim::{AccessKind, Caches, Memory, Operand, Run};
use memloupe_hierarchy::Machine;
use memloupe_trace::{Kind as ReferenceKind, Reference};

use super::input::Named;
use crate::failure::{Failure, Kind};

/// The value of `--below` that stands for the last level.
const LAST_LEVEL: &str = "llc";

pub(super) struct Below {
    caches: Caches,
    outgoing: Outgoing,
}

/// Requests of the access at hand and those before it.
struct Outgoing {
    line_bytes: u32,
    /// The access that causes them.
    cause: Reference,
    requests: Vec<Named>,
}

impl Outgoing {
    fn push(&mut self, line_address: u64, lines: u64, owner: u32, kind: ReferenceKind, pc: u64) {
        for line in 0..lines {
            self.requests.push(Named {
                reference: Reference {
                    address: line_address + line * u64::from(self.line_bytes),
                    bytes: self.line_bytes,
                    kind,
                    pc,
                    ..self.cause
                },
                access: match kind {
                    ReferenceKind::Write => AccessKind::Store,
                    _ => AccessKind::Load,
                },
                name: owner,
            });
        }
    }
}

impl Memory for Outgoing {
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.push(line_address, lines, owner, ReferenceKind::Read, self.cause.pc);
    }

    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.push(line_address, lines, owner, ReferenceKind::Write, 0);
    }
}

impl Below {
    /// The caches of a machine up to and with `level`; with it come the others of its distance from the core.
    pub(super) fn new(machine: &str, level: &str) -> Result<Self, Failure> {
        let refused = |what: String| Failure::new(Kind::Machine, what);
        let mut machine = Machine::load(machine).map_err(Failure::of(Kind::Machine))?;
        let last = machine.caches.iter().map(|cache| cache.level).max();
        let found = machine.caches.iter().find(|cache| cache.name == level);
        let depth = if level == LAST_LEVEL {
            last
        } else {
            found.map(|cache| cache.level)
        };
        let depth = depth.ok_or_else(|| {
            let names: Vec<&str> = machine.caches.iter().map(|cache| &*cache.name).collect();
            refused(format!(
                "{} has no cache level '{level}': it has {} and {LAST_LEVEL}",
                machine.name,
                names.join(", ")
            ))
        })?;
        machine.caches.retain(|cache| cache.level <= depth);
        let caches = Caches::new(&machine.cache_config(), machine.core.count as usize);
        let caches = caches.map_err(|error| refused(format!("{}: {error}", machine.name)))?;
        Ok(Self {
            caches,
            outgoing: Outgoing {
                line_bytes: machine.line_bytes(),
                cause: Reference {
                    time: 0,
                    address: 0,
                    bytes: 0,
                    kind: ReferenceKind::Read,
                    pc: 0,
                    thread: 0,
                },
                requests: Vec::new(),
            },
        })
    }

    /// Replaces accesses by the requests that they cause. `names` is how many names there are.
    pub(super) fn pass(&mut self, references: &mut Vec<Named>, names: usize) {
        self.caches.reserve_owners(names);
        for named in references.iter() {
            let reference = named.reference;
            self.outgoing.cause = reference;
            let operand = Operand {
                address: reference.address,
                stride: 0,
                bytes: reference.bytes,
                kind: named.access,
                owner: named.name,
            };
            let run = Run {
                operands: &[operand],
                iterations: 1,
                scattered: &[],
            };
            let core = reference.thread as usize % self.caches.cores();
            self.caches.run(core, run, &mut self.outgoing);
        }
        references.clear();
        references.append(&mut self.outgoing.requests);
    }
}
