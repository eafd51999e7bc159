//! Data objects: what memory is for. Every address has an object; what nothing names is honestly "other".
//!
//! Three layers, the upper one wins:
//! - **tensors**: parts of model files that are mapped or read, and what operator probes have seen;
//! - **heap**: live allocations, named by who allocated them;
//! - **mappings**: stacks, modules' code and variables, files, anonymous memory, named by who mapped it.
//!
//! # When answers change
//! Callers keep the answers of [`Objects::lookup`] until [`Objects::generation`] changes. The extents answered since then
//! are remembered, and the generation changes only if one of them passes to *another* object. Memory that is freed
//! or unmapped passes to nobody yet, as no correct program uses it; its next owner settles the matter. So a loop that
//! frees and allocates the same thing changes nothing. What an allocator keeps to itself is answered with an empty
//! extent, which holds for that one access only: malloc's own accesses are looked up each time instead of
//! spoiling everybody's answers at each allocation.

mod allocation;
mod answers;
mod mapping;
mod model_files;
mod static_data;
mod table;

use memloupe_stream::{Event, MapKind};

use allocation::CallStacks;
use answers::Answers;
use mapping::{Backing, Mapping};
use model_files::{FileId, ModelFiles};
use table::ObjectTable;
pub use table::{Object, ObjectId};

use crate::class::Class;
use crate::module::Modules;
use crate::probe::{SeenObject, StackRule};
use crate::range_map::{Entry, Place, RangeMap, intersect};

/// An object and the addresses [start, end) around the one asked for that belong to it. Empty if the answer holds for
/// this one access only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The object.
    pub object: ObjectId,
    /// The first address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
}

/// Answers of late that are kept.
const RECENT: usize = 512;

/// A piece of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    object: ObjectId,
    /// It is part of a mapped model file, whose word is final. Memory that a file was read into may be used for
    /// something else later.
    is_mapped: bool,
}

/// All objects, and where they are now.
#[derive(Debug)]
pub struct Objects {
    table: ObjectTable,
    tensors: RangeMap<Piece>,
    heap: RangeMap<ObjectId>,
    mappings: RangeMap<Mapping>,
    stacks: CallStacks,
    files: ModelFiles,
    answers: Answers,
    /// Answers of late, by address, with the version they are of: each costs a search of every layer.
    recent: Box<[(u64, Extent)]>,
    modules_generation: u64,
    unmapped: ObjectId,
    anonymous: ObjectId,
    arena: ObjectId,
    main_stack: ObjectId,
    compiled: ObjectId,
}

impl Objects {
    /// Starts empty, with rules for the names of heap memory.
    #[must_use]
    pub fn new(rules: Vec<StackRule>) -> Self {
        let mut table = ObjectTable::default();
        Self {
            unmapped: table.intern(Class::Other, "memory of unknown origin"),
            anonymous: table.intern(Class::Other, "anonymous memory"),
            arena: table.intern(Class::Heap, "heap arena (not handed out)"),
            main_stack: table.intern(Class::Stack, "main stack"),
            compiled: table.intern(Class::Code, "code: compiled just in time"),
            table,
            tensors: RangeMap::default(),
            heap: RangeMap::default(),
            mappings: RangeMap::default(),
            stacks: CallStacks::new(rules),
            files: ModelFiles::default(),
            answers: Answers::default(),
            recent: vec![(0, Extent::default()); RECENT].into_boxed_slice(),
            modules_generation: 0,
        }
    }

    /// Takes in an event. `modules` has taken it in before.
    pub fn event(&mut self, event: &Event, modules: &Modules) {
        if self.modules_generation != modules.generation() {
            self.modules_generation = modules.generation();
            self.answers.forget();
            // Another module may come to where one was unloaded.
            if matches!(event, Event::Unmap { .. }) {
                self.stacks.forget_names();
            }
        }
        match event {
            Event::Map {
                address,
                bytes,
                kind,
                file_offset,
                stack,
                path,
                ..
            } => {
                let end = address.saturating_add(*bytes);
                let (object, backing) = match kind {
                    MapKind::Anonymous if *stack != 0 => (
                        self.stacks.mapped(*stack, &mut self.table, modules),
                        Backing::Anonymous,
                    ),
                    kind => self.backing(*kind, *address, *file_offset, path),
                };
                self.map(*address, end, Mapping { object, backing });
            }
            Event::Unmap { address, bytes } => self.unmap(*address, address.saturating_add(*bytes)),
            Event::Remap {
                from,
                from_bytes,
                to,
                to_bytes,
            } => self.remap(*from, *from_bytes, *to, *to_bytes),
            Event::Stack { stack, frames } => self.stacks.define(*stack, frames),
            Event::Alloc {
                address,
                bytes,
                stack,
            } => self.allocate(*address, *bytes, *stack, modules),
            Event::Free { address } => self.free(*address),
            Event::FileRead {
                address,
                bytes,
                file_offset,
                path,
            } => {
                self.read_file(*address, address.saturating_add(*bytes), *file_offset, path);
            }
            // The main thread is its own parent; its stack was named when it was mapped.
            Event::ThreadStart {
                thread,
                parent,
                stack_pointer,
                ..
            } if thread != parent => self.start_thread(*thread, *stack_pointer),
            Event::Exec { .. } => {
                self.unmap(0, u64::MAX);
                self.stacks.clear();
                self.answers.forget();
            }
            _ => {}
        }
    }

    /// Takes in a tensor that a probe has seen. Costs little if it is known to be there.
    pub fn register(&mut self, seen: &SeenObject) {
        if let Place::In(Entry {
            value: Piece { is_mapped: true, .. },
            ..
        }) = self.tensors.at(seen.address)
        {
            return;
        }
        let object = self.table.intern(seen.class, &seen.name);
        let piece = Piece {
            object,
            is_mapped: false,
        };
        self.put_tensor(seen.address, seen.address.saturating_add(seen.bytes), piece);
    }

    /// What a program or probe has named at `address` has no name any more.
    pub fn forget(&mut self, address: u64) {
        if let Place::In(entry) = self.tensors.at(address)
            && !entry.value.is_mapped
            && entry.start == address
        {
            self.remove_tensors(entry.start, entry.end);
            self.answers.changes(entry.start, entry.end);
        }
    }

    /// Code that the program has made at run time is executed at `address`.
    pub fn executed(&mut self, address: u64) {
        if let Place::In(entry) = self.mappings.at(address)
            && entry.value.backing == Backing::Anonymous
            && entry.value.object != self.compiled
        {
            let compiled = Mapping {
                object: self.compiled,
                ..entry.value
            };
            self.change_mapping(entry, compiled);
        }
    }

    /// The object at an address and the addresses around it that have the same answer.
    pub fn lookup(&mut self, address: u64, modules: &Modules) -> Extent {
        let version = 1 + self.version(modules);
        let slot = (address >> 6) as usize % RECENT;
        let (of_version, known) = self.recent[slot];
        if of_version == version && (known.start..known.end).contains(&address) {
            return known;
        }
        let (extent, is_lasting) = self.find(address, modules);
        if !is_lasting {
            return Extent {
                start: address,
                end: address,
                ..extent
            };
        }
        self.answers.give(extent.start, extent.end, extent.object);
        self.recent[slot] = (version, extent);
        extent
    }

    /// Grows whenever a layer may have changed, also where that contradicts no answer.
    fn version(&self, modules: &Modules) -> u64 {
        let layers = self.tensors.version() + self.heap.version() + self.mappings.version();
        layers + modules.generation() + self.answers.generation()
    }

    /// Changes whenever an earlier answer of [`Self::lookup`] may not hold any more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.answers.generation()
    }

    /// Every object so far, in order of their ids.
    #[must_use]
    pub fn table(&self) -> &[Object] {
        self.table.all()
    }

    /// What a person should know about how memory could be named.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.files
            .notes()
            .iter()
            .cloned()
            .chain(self.table.note())
            .collect()
    }

    /// The answer, and whether it lasts until the generation changes.
    fn find(&mut self, address: u64, modules: &Modules) -> (Extent, bool) {
        let lasting = |object, (start, end)| (Extent { object, start, end }, true);
        let mut bounds = match self.tensors.at(address) {
            Place::In(piece) => return lasting(piece.value.object, (piece.start, piece.end)),
            Place::Gap { start, end } => (start, end),
        };
        match self.heap.at(address) {
            Place::In(block) => return lasting(block.value, intersect(bounds, (block.start, block.end))),
            Place::Gap { start, end } => bounds = intersect(bounds, (start, end)),
        }
        let mapping = match self.mappings.at(address) {
            Place::In(entry) => entry,
            Place::Gap { start, end } => return lasting(self.unmapped, intersect(bounds, (start, end))),
        };
        bounds = intersect(bounds, (mapping.start, mapping.end));
        if let Some((module, start, end)) = modules.span_at(address) {
            bounds = intersect(bounds, (start, end));
            let (object, around) =
                static_data::find(&mut self.table, address, modules.get(module), (start, end));
            return lasting(object, intersect(bounds, around));
        }
        // Next to a module, the mapping may reach into its span.
        let (below, above) = modules.gap_at(address);
        let (start, end) = intersect(bounds, (below, above));
        let extent = Extent {
            object: mapping.value.object,
            start,
            end,
        };
        (extent, mapping.value.backing != Backing::Arena)
    }

    fn allocate(&mut self, address: u64, bytes: u64, stack: u64, modules: &Modules) {
        let object = self.stacks.object(stack, &mut self.table, modules);
        self.table.count_allocation(object);
        let end = address.saturating_add(bytes);
        if address >= end {
            return;
        }
        if let Place::In(entry) = self.mappings.at(address)
            && entry.value.backing == Backing::Anonymous
        {
            self.change_mapping(
                entry,
                Mapping {
                    object: self.arena,
                    backing: Backing::Arena,
                },
            );
        }
        let table = &mut self.table;
        self.heap
            .remove(address, end, |lost| table.shrink(lost.value, lost.bytes()));
        self.remove_tensors(address, end);
        self.table.grow(object, bytes);
        self.heap.put(address, end, object);
        self.answers.passes_to(address, end, object);
    }

    fn free(&mut self, address: u64) {
        let Some(entry) = self.heap.starting_at(address) else {
            return;
        };
        let table = &mut self.table;
        self.heap.remove(entry.start, entry.end, |lost| {
            table.shrink(lost.value, lost.bytes());
        });
        self.remove_tensors(entry.start, entry.end);
    }

    fn read_file(&mut self, start: u64, end: u64, file_offset: u64, path: &str) {
        let file = self.files.id(path, &mut self.table);
        if self.files.is_model(file) {
            self.put_file_tensors(start, end, file, file_offset.wrapping_sub(start), false);
        }
    }

    /// Names [start, end) by a model file's tensors; `shift` is the file offset less the address. Between tensors it
    /// becomes nameless.
    fn put_file_tensors(&mut self, start: u64, end: u64, file: FileId, shift: u64, is_mapped: bool) {
        let had_names = self.tensors.overlapping(start, end).next().is_some();
        self.remove_tensors(start, end);
        let mut position = start;
        for tensor in self.files.tensors_in(file, start, end, shift) {
            if had_names {
                self.answers.changes(position, tensor.start);
            }
            self.put_tensor(
                tensor.start,
                tensor.end,
                Piece {
                    object: tensor.value,
                    is_mapped,
                },
            );
            position = tensor.end;
        }
        if had_names {
            self.answers.changes(position, end);
        }
    }

    fn put_tensor(&mut self, start: u64, end: u64, piece: Piece) {
        if start >= end {
            return;
        }
        if let Place::In(known) = self.tensors.at(start)
            && known.value == piece
            && known.end >= end
        {
            return;
        }
        self.remove_tensors(start, end);
        if self.table.live_bytes(piece.object) == 0 {
            self.table.count_allocation(piece.object);
        }
        self.table.grow(piece.object, end - start);
        self.tensors.join(start, end, piece);
        self.answers.passes_to(start, end, piece.object);
    }

    fn remove_tensors(&mut self, start: u64, end: u64) {
        let table = &mut self.table;
        self.tensors
            .remove(start, end, |lost| table.shrink(lost.value.object, lost.bytes()));
    }
}
