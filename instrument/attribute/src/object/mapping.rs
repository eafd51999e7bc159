//! The lowest layer of objects: what mapped memory is before anything in it has a name of its own.

use memloupe_stream::MapKind;

use super::Objects;
use super::model_files::FileId;
use super::table::ObjectId;
use crate::class::Class;
use crate::range_map::{Entry, Place};

/// What the memory of a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    Anonymous,
    /// Memory that an allocator hands out from: the program break's area, or anonymous memory seen to be so used.
    Arena,
    Stack,
    /// A file; `shift` is the file offset less the address.
    File {
        file: FileId,
        shift: u64,
    },
}

/// What is known about mapped memory before anything in it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) object: ObjectId,
    pub(super) backing: Backing,
}

impl Objects {
    /// What a mapping from `start` on is of which only the kind is known, and the file.
    pub(super) fn backing(
        &mut self,
        kind: MapKind,
        start: u64,
        file_offset: u64,
        path: &str,
    ) -> (ObjectId, Backing) {
        match kind {
            MapKind::File => {
                let file = self.files.id(path, &mut self.table);
                let shift = file_offset.wrapping_sub(start);
                (
                    self.table.intern(Class::File, &format!("file: {path}")),
                    Backing::File { file, shift },
                )
            }
            MapKind::Brk => (self.arena, Backing::Arena),
            MapKind::Stack => (self.main_stack, Backing::Stack),
            MapKind::Anonymous => (self.anonymous, Backing::Anonymous),
        }
    }

    /// Memory is mapped; a model file brings its tensors along.
    pub(super) fn map(&mut self, start: u64, end: u64, mapping: Mapping) {
        self.unmap(start, end);
        if start >= end {
            return;
        }
        self.table.count_allocation(mapping.object);
        self.put_mapping(start, end, mapping);
        self.answers.changes(start, end);
        if let Backing::File { file, shift } = mapping.backing {
            self.put_file_tensors(start, end, file, shift, true);
        }
    }

    fn put_mapping(&mut self, start: u64, end: u64, mapping: Mapping) {
        self.table.grow(mapping.object, end - start);
        if mapping.backing == Backing::Arena {
            self.mappings.join(start, end, mapping);
        } else {
            // Apart from its neighbours: threads' stacks are found by their mapping.
            self.mappings.put(start, end, mapping);
        }
    }

    /// Memory goes, and all that lies in it.
    pub(super) fn unmap(&mut self, start: u64, end: u64) {
        let table = &mut self.table;
        self.mappings
            .remove(start, end, |lost| table.shrink(lost.value.object, lost.bytes()));
        self.heap
            .remove(start, end, |lost| table.shrink(lost.value, lost.bytes()));
        self.remove_tensors(start, end);
    }

    /// `mremap`: memory moves with what lies in it, or grows or shrinks.
    pub(super) fn remap(&mut self, from: u64, from_bytes: u64, to: u64, to_bytes: u64) {
        let from_end = from.saturating_add(from_bytes);
        let to_end = to.saturating_add(to_bytes);
        let move_by = to.wrapping_sub(from);
        let mut mapping = match self.mappings.at(from) {
            Place::In(entry) => entry.value,
            Place::Gap { .. } => Mapping {
                object: self.anonymous,
                backing: Backing::Anonymous,
            },
        };
        if let Backing::File { shift, .. } = &mut mapping.backing {
            *shift = shift.wrapping_sub(move_by);
        }
        let kept_end = from.saturating_add(from_bytes.min(to_bytes));
        let pieces: Vec<_> = self.tensors.cut(from, kept_end).collect();
        let allocations: Vec<_> = self.heap.cut(from, kept_end).collect();
        self.unmap(from, from_end);
        self.unmap(to, to_end);
        if to < to_end {
            self.put_mapping(to, to_end, mapping);
        }
        self.answers.changes(to, to_end);
        for Entry { start, end, value } in allocations {
            self.table.grow(value, end - start);
            self.heap
                .put(start.wrapping_add(move_by), end.wrapping_add(move_by), value);
        }
        for Entry { start, end, value } in pieces {
            self.table.grow(value.object, end - start);
            self.tensors
                .join(start.wrapping_add(move_by), end.wrapping_add(move_by), value);
        }
        if let Backing::File { file, shift } = mapping.backing {
            let grown = to.saturating_add(from_bytes).min(to_end);
            self.put_file_tensors(grown, to_end, file, shift, true);
        }
    }

    /// The mapping that a thread's stack pointer starts in is its stack.
    pub(super) fn start_thread(&mut self, thread: u32, stack_pointer: u64) {
        let Place::In(entry) = self.mappings.at(stack_pointer) else {
            return;
        };
        if !matches!(entry.value.backing, Backing::Anonymous | Backing::Stack) {
            return;
        }
        let object = self
            .table
            .intern(Class::Stack, &format!("stack of thread {thread}"));
        self.table.count_allocation(object);
        self.change_mapping(
            entry,
            Mapping {
                object,
                backing: Backing::Stack,
            },
        );
    }

    /// Replaces a mapping by another of the same extent; what lies in it stays.
    pub(super) fn change_mapping(&mut self, entry: Entry<Mapping>, mapping: Mapping) {
        self.mappings.remove(entry.start, entry.end, |_| ());
        self.table.shrink(entry.value.object, entry.bytes());
        self.put_mapping(entry.start, entry.end, mapping);
        self.answers.withdraw(entry.start, entry.end, entry.value.object);
    }
}
