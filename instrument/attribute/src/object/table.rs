//! The table of objects: one entry for each (class, name), however often its memory comes and goes, up to a number that bounds
//! what a program with millions of names costs: later ones are one object in each class.

use std::collections::HashMap;

use crate::class::Class;

/// Names that are kept apart. An object with its rows takes about a kilobyte.
const OBJECTS_MAX: usize = 100_000;
/// What the others go by.
const FURTHER: &str = "(further objects)";

/// Index of an object.
pub type ObjectId = u32;

/// A named range of memory, or several of the same name and class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name: a tensor's, a variable's, who allocated it…
    pub name: String,
    /// What it is for.
    pub class: Class,
    /// The most bytes that it had at one time.
    pub bytes: u64,
    /// How many times it was allocated or mapped; for a tensor, how many times it came to have memory.
    pub allocations: u64,
    /// The call stack of its first allocation, innermost first, if it is on the heap.
    pub stack: Option<Vec<u64>>,
}

/// Objects by (class, name), with what memory they have now.
#[derive(Debug, Default)]
pub(super) struct ObjectTable {
    objects: Vec<Object>,
    live_bytes: Vec<u64>,
    /// By class, so that a name can be looked up without making a key.
    index: [HashMap<Box<str>, ObjectId>; Class::ALL.len()],
    is_full: bool,
}

impl ObjectTable {
    pub(super) fn all(&self) -> &[Object] {
        &self.objects
    }

    /// The id of an object, made if it is new.
    pub(super) fn intern(&mut self, class: Class, name: &str) -> ObjectId {
        if let Some(id) = self.index[class as usize].get(name) {
            return *id;
        }
        if self.objects.len() >= OBJECTS_MAX && name != FURTHER {
            self.is_full = true;
            return self.intern(class, FURTHER);
        }
        let index = &mut self.index[class as usize];
        let id = self.objects.len() as ObjectId;
        index.insert(name.into(), id);
        self.objects.push(Object {
            name: name.to_owned(),
            class,
            bytes: 0,
            allocations: 0,
            stack: None,
        });
        self.live_bytes.push(0);
        id
    }

    /// What a person should know about it.
    pub(super) fn note(&self) -> Option<String> {
        self.is_full.then(|| {
            format!("more than {OBJECTS_MAX} names of objects: the others are one `{FURTHER}` in each class")
        })
    }

    /// The id of an object whose memory is not tracked, as it is there as long as its module.
    pub(super) fn intern_static(&mut self, class: Class, name: &str, bytes: u64) -> ObjectId {
        let id = self.intern(class, name);
        let object = &mut self.objects[id as usize];
        object.bytes = object.bytes.max(bytes);
        object.allocations = object.allocations.max(1);
        id
    }

    pub(super) fn count_allocation(&mut self, id: ObjectId) {
        self.objects[id as usize].allocations += 1;
    }

    pub(super) fn note_stack(&mut self, id: ObjectId, frames: &[u64]) {
        self.objects[id as usize]
            .stack
            .get_or_insert_with(|| frames.to_vec());
    }

    pub(super) fn live_bytes(&self, id: ObjectId) -> u64 {
        self.live_bytes[id as usize]
    }

    pub(super) fn grow(&mut self, id: ObjectId, bytes: u64) {
        let live = &mut self.live_bytes[id as usize];
        *live = live.saturating_add(bytes);
        let object = &mut self.objects[id as usize];
        object.bytes = object.bytes.max(*live);
    }

    pub(super) fn shrink(&mut self, id: ObjectId, bytes: u64) {
        let live = &mut self.live_bytes[id as usize];
        *live = live.saturating_sub(bytes);
    }
}
