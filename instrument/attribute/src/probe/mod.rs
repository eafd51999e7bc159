//! Operator probes: functions of the target whose arguments tell which operator, phase and data are at work.
//!
//! ```text
//! Preset (TOML) ──► Probes::resolve ──► address + reads, which the engine executes at the function's entry
//!                     │ search   rules to functions            │
//!                     │ function symbols of entries            │
//!                     │ dwarf    parameters, types             ▼
//!                     │ abi      where arguments are      Probes::enter ──► operator, phase, objects
//!                     └ plan     expressions to reads
//! ```
//!
//! All that needs symbols or DWARF happens once for each module. An entry costs one look-up of the bytes that were
//! read; only bytes not seen before are interpreted.
//!
//! Not modelled: arguments in vector registers, bit fields, virtual base classes, arrays of several dimensions, and
//! functions that were inlined away (a preset names alternatives).

mod abi;
mod absent;
mod allocator;
mod dwarf;
mod expression;
mod function;
mod meaning;
mod nearest;
mod pattern;
mod plan;
mod preset;
mod search;
mod types;
mod virtual_function;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use memloupe_stream::Probe;

pub use meaning::Mark;
pub use pattern::Pattern;
pub use preset::{Ends, Lasts, Preset, PresetError, StackRule};

use crate::class::Class;
use crate::region::RegionName;
use absent::Absences;
use meaning::{Meaning, Number, Opened};

/// Index of an operator identity.
pub type OperatorId = u32;

/// Remembered events are forgotten when they take more than this.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// A computation node's identity: all of its executions share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operator {
    /// What it computes: `MUL_MAT`.
    pub kind: String,
    /// Its own name: `ffn_up-7`. Empty if it has none.
    pub name: String,
    /// The layer it belongs to: `blk.7`.
    pub layer: Option<String>,
    /// Elements of the result, innermost dimension first: `576x16`.
    pub shape: String,
    /// Type of the result's elements.
    pub element_type: String,
    /// Names of what it reads, separated by `, `.
    pub sources: String,
}

/// A stretch of the program's life: load, prefill, decode 0, decode 1…
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase {
    /// What it is.
    pub name: String,
    /// Its number among those of the same name, if they are numbered.
    pub index: Option<u32>,
}

/// A data object that a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenObject {
    /// Its name in the framework.
    pub name: String,
    /// What it is for.
    pub class: Class,
    /// Run-time address.
    pub address: u64,
    /// Length.
    pub bytes: u64,
}

/// Memory that an argument of a call describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Run-time address; 0 if there is none.
    pub address: u64,
    /// Length.
    pub bytes: u64,
}

/// What entering a probed function means.
#[derive(Clone, Debug)]
pub struct Entered {
    /// The operator that begins. If it is the one of an enclosing probed frame, it is that operator's kernel and no
    /// new execution.
    pub operator: Option<OperatorId>,
    /// How long the operator or the phase goes on.
    pub lasts: Lasts,
    /// What is over with this call.
    pub ends: Option<Ends>,
    /// The phase that the function's call is.
    pub phase: Option<Phase>,
    /// Data objects that the arguments show.
    pub objects: Arc<[SeenObject]>,
    /// All memory that the arguments describe, an object of its own or not. One for each place that the preset names.
    pub arguments: Arc<[Argument]>,
    /// Where an object begins that is one no more.
    pub forgets: Option<u64>,
    /// Whether the call is part of the user's region: by its function, its operator or its phase.
    pub is_region: bool,
    /// Whether the user's marked region begins or ends with it.
    pub mark: Option<Mark>,
}

/// All probes of a run.
#[derive(Default)]
pub struct Probes {
    presets: Vec<Preset>,
    region: Option<RegionName>,
    /// By probe id.
    resolved: Vec<Option<Resolved>>,
    operators: Vec<Operator>,
    operator_index: HashMap<Operator, OperatorId>,
    /// By operator, if a preset says what it allocates.
    allocated: HashMap<OperatorId, (Class, String)>,
    /// By operator without a layer and the operator around it.
    placed: HashMap<(OperatorId, OperatorId), OperatorId>,
    phase_calls: HashMap<String, u32>,
    notes: Vec<String>,
    absences: Absences,
    essence: Vec<u8>,
    remembered_bytes: usize,
    /// By run-time address.
    addresses: BTreeMap<u64, Vec<u32>>,
}

/// What an event meant.
#[derive(Clone)]
struct Remembered {
    operator: Option<OperatorId>,
    objects: Arc<[SeenObject]>,
    arguments: Arc<[Argument]>,
    is_region: bool,
}

struct Resolved {
    meaning: Meaning,
    /// By the bytes of the event.
    remembered: HashMap<Box<[u8]>, Remembered>,
    is_region: bool,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probes")
            .field(
                "presets",
                &self.presets.iter().map(|preset| &preset.name).collect::<Vec<_>>(),
            )
            .field("probes", &self.resolved.len())
            .field("operators", &self.operators.len())
            .finish_non_exhaustive()
    }
}

fn intern(
    operators: &mut Vec<Operator>,
    index: &mut HashMap<Operator, OperatorId>,
    operator: Operator,
) -> OperatorId {
    *index.entry(operator).or_insert_with_key(|operator| {
        operators.push(operator.clone());
        operators.len() as OperatorId - 1
    })
}

/// Class and name of what operators of a kind allocate.
fn allocated_by_kind(presets: &[Preset], operator: &Operator) -> Option<(Class, String)> {
    let mut rules = presets.iter().flat_map(|preset| &preset.allocates);
    let rule = rules.find(|rule| rule.operator.matches(&operator.kind))?;
    Some((rule.class, rule.name.replace('*', &operator.name)))
}

impl Probes {
    /// Watches for the functions of these presets. Of several rules for one function, the first counts.
    #[must_use]
    pub fn new(presets: Vec<Preset>) -> Self {
        Self {
            absences: Absences::new(&presets),
            presets,
            ..Self::default()
        }
    }

    /// Watches for the calls that a region is entered with too.
    #[must_use]
    pub fn within(self, region: RegionName) -> Self {
        Self {
            region: Some(region),
            ..self
        }
    }

    /// The probes of a module that has been mapped: its file, and its load bias (run-time address less ELF address).
    /// The first one returned has the id `first`.
    pub fn resolve(&mut self, path: &Path, bias: u64, first: u32) -> Vec<Probe> {
        let (presets, region, absences) = (&self.presets, self.region.as_ref(), &mut self.absences);
        let found = search::search(presets, region, path, bias, absences, &mut self.notes);
        let found = found.unwrap_or_else(|error| {
            self.notes.push(format!(
                "{}: operators are not looked for: {error}",
                path.display()
            ));
            Vec::new()
        });
        let first = first as usize;
        let allocators = allocator::allocators(path);
        let end = first + found.len() + allocators.len();
        if self.resolved.len() < end {
            self.resolved.resize_with(end, || None);
        }
        let places = self.resolved[first..].iter_mut().zip(first as u32..);
        let addresses = &mut self.addresses;
        found
            .into_iter()
            .zip(places)
            .map(|(found, (place, id))| {
                let keys = found.meaning.keys();
                let address = found.address.wrapping_add(bias);
                addresses.entry(address).or_default().push(id);
                *place = Some(Resolved {
                    meaning: found.meaning,
                    remembered: HashMap::new(),
                    is_region: found.is_region,
                });
                Probe {
                    address,
                    fetches: found.fetches,
                    keys,
                    allocator: None,
                }
            })
            .chain(allocators.into_iter().map(|(address, allocator)| Probe {
                address: address.wrapping_add(bias),
                fetches: Vec::new(),
                keys: Vec::new(),
                allocator: Some(allocator),
            }))
            .collect()
    }

    /// What an event of a probe means.
    pub fn enter(&mut self, probe: u32, present: u64, values: &[u8]) -> Entered {
        let nothing = Entered {
            operator: None,
            lasts: Lasts::Call,
            ends: None,
            phase: None,
            objects: Arc::default(),
            arguments: Arc::default(),
            forgets: None,
            is_region: false,
            mark: None,
        };
        let Some(Some(resolved)) = self.resolved.get_mut(probe as usize) else {
            return nothing;
        };
        let meaning = &resolved.meaning;
        let phase = meaning
            .phase(present, values)
            .map(|Opened { name, number }| Phase {
                index: match number {
                    Number::None => None,
                    Number::Told(number) => Some(number),
                    Number::Counted => {
                        let calls = self.phase_calls.entry(name.clone()).or_default();
                        *calls += 1;
                        Some(*calls - 1)
                    }
                },
                name,
            });
        let nothing = Entered {
            lasts: meaning.lasts,
            ends: meaning.ends,
            forgets: meaning.forgets(present, values),
            ..nothing
        };
        let region = self.region.as_ref();
        let is_phase = |region: &RegionName| phase.as_ref().is_some_and(|phase| region.is_phase(phase));
        let is_region = resolved.is_region || region.is_some_and(is_phase);
        if !meaning.is_named() {
            let mark = meaning.mark(present, values);
            let mark = mark.filter(|(_, name)| region.is_some_and(|region| region.is_marker(name)));
            return Entered {
                phase,
                is_region,
                mark: mark.map(|(mark, _)| mark),
                ..nothing
            };
        }
        self.essence.clear();
        meaning.essence(present, values, &mut self.essence);
        let entered = |remembered: Remembered| Entered {
            operator: remembered.operator,
            phase,
            objects: remembered.objects,
            arguments: remembered.arguments,
            is_region: is_region || remembered.is_region,
            ..nothing
        };
        if let Some(remembered) = resolved.remembered.get(&self.essence[..]) {
            return entered(remembered.clone());
        }
        let operator = meaning
            .operator(present, values)
            .map(|operator| intern(&mut self.operators, &mut self.operator_index, operator));
        if let Some(operator) = operator
            && let operator_of = &self.operators[operator as usize]
            && let Some(allocated) = meaning
                .allocates(operator_of)
                .or_else(|| allocated_by_kind(&self.presets, operator_of))
        {
            self.allocated.insert(operator, allocated);
        }
        let is_operator = |operator: OperatorId| {
            region.is_some_and(|region| region.is_operator(&self.operators[operator as usize]))
        };
        let value = Remembered {
            operator,
            objects: meaning.objects(present, values).into(),
            arguments: meaning.arguments(present, values).into(),
            is_region: operator.is_some_and(is_operator),
        };
        self.remembered_bytes += self.essence.len();
        let key = self.essence.as_slice().into();
        if self.remembered_bytes > MEMORY_BYTES_MAX {
            self.remembered_bytes = 0;
            self.resolved
                .iter_mut()
                .flatten()
                .for_each(|resolved| resolved.remembered.clear());
        } else {
            resolved.remembered.insert(key, value.clone());
        }
        entered(value)
    }

    /// What lay in [start, end) is unmapped: other code may come there, which is entered in vain by engines that don't know.
    pub fn unmapped(&mut self, start: u64, end: u64) {
        while let Some((&address, _)) = self.addresses.range(start..end).next() {
            for id in self.addresses.remove(&address).unwrap_or_default() {
                self.resolved[id as usize] = None;
            }
        }
    }

    /// The operator as one of the layer of another, around it, if it tells none itself.
    pub fn within_layer_of(&mut self, operator: OperatorId, enclosing: OperatorId) -> OperatorId {
        if self.operators[operator as usize].layer.is_some() {
            return operator;
        }
        if let Some(placed) = self.placed.get(&(operator, enclosing)) {
            return *placed;
        }
        let placed = Operator {
            layer: self.operators[enclosing as usize].layer.clone(),
            ..self.operators[operator as usize].clone()
        };
        let placed = intern(&mut self.operators, &mut self.operator_index, placed);
        self.placed.insert((operator, enclosing), placed);
        if let Some(allocated) = self.allocated.get(&operator).cloned() {
            self.allocated.insert(placed, allocated);
        }
        placed
    }

    /// Class and name of what is allocated while an operator goes on, if a preset says so.
    #[must_use]
    pub fn allocated(&self, operator: OperatorId) -> Option<&(Class, String)> {
        self.allocated.get(&operator)
    }

    /// The id of an operator that no probe has told.
    pub fn intern(&mut self, operator: Operator) -> OperatorId {
        intern(&mut self.operators, &mut self.operator_index, operator)
    }

    /// Operator identities so far, by id.
    #[must_use]
    pub fn operators(&self) -> &[Operator] {
        &self.operators
    }

    /// What could not be done, each a line for a person.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Rules of presets from files that no module of the program has a function for, each a line for a person. Reads the symbols
    /// of all modules if there is one.
    #[must_use]
    pub fn absences(&self) -> Vec<String> {
        self.absences.notes(&self.presets)
    }

    /// How the presets name heap memory, in order.
    #[must_use]
    pub fn stack_rules(&self) -> Vec<StackRule> {
        self.presets
            .iter()
            .flat_map(|preset| preset.object.iter().cloned())
            .collect()
    }
}
