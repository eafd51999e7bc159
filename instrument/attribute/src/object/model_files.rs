//! The files that are mapped or read, and the tensors of those that are models. A tensor whose name a file before has used has
//! its file's beside it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::table::{ObjectId, ObjectTable};
use crate::class::Class;
use crate::model::{Model, ModelFile, Tensor};
use crate::range_map::{Entry, intersect};

/// Index of a file.
pub(super) type FileId = u32;

#[derive(Debug)]
struct Weights {
    file: ModelFile,
    /// By tensor.
    objects: Vec<ObjectId>,
}

/// Files by path; each is looked into once.
#[derive(Debug, Default)]
pub(super) struct ModelFiles {
    index: HashMap<String, FileId>,
    /// None: not a model, or a damaged one.
    weights: Vec<Option<Weights>>,
    /// Tensors of all of them.
    objects: HashSet<ObjectId>,
    notes: Vec<String>,
}

impl ModelFiles {
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The id of a file. The tensors of a model become weights, also those that it keeps in other files.
    pub(super) fn id(&mut self, path: &str, table: &mut ObjectTable) -> FileId {
        if let Some(id) = self.index.get(path) {
            return *id;
        }
        let Model { own, external } = match Model::open(Path::new(path)) {
            None => Model::default(),
            Some(Ok(model)) => model,
            Some(Err(error)) => {
                self.notes.push(format!("{error}. Its tensors have no names"));
                Model::default()
            }
        };
        for (file, tensors) in external {
            // Events name files by what the kernel calls them.
            let file = file.canonicalize().unwrap_or(file);
            self.add(file.to_string_lossy().into_owned(), tensors, table);
        }
        self.add(path.to_owned(), own, table)
    }

    fn add(&mut self, path: String, tensors: ModelFile, table: &mut ObjectTable) -> FileId {
        let weights = (!tensors.tensors().is_empty()).then(|| self.name(&path, tensors, table));
        // A file may have been opened before the model that refers to it.
        match self.index.get(&path) {
            Some(id) => {
                let known = &mut self.weights[*id as usize];
                *known = weights.or(known.take());
                *id
            }
            None => {
                let id = self.weights.len() as FileId;
                self.index.insert(path, id);
                self.weights.push(weights);
                id
            }
        }
    }

    fn name(&mut self, path: &str, file: ModelFile, table: &mut ObjectTable) -> Weights {
        let base = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        let mut taken = 0;
        let weight = |tensor: &Tensor| {
            let object = table.intern(Class::Weight, &tensor.name);
            if !self.objects.contains(&object) {
                return object;
            }
            taken += 1;
            table.intern(Class::Weight, &format!("{} ({base})", tensor.name))
        };
        let objects: Vec<_> = file.tensors().iter().map(weight).collect();
        self.objects.extend(&objects);
        if taken > 0 {
            self.notes.push(format!(
                "{path}: {taken} tensors have names that those of another file have: `name ({base})` where the file is \
                 mapped or read; what the program copies or rearranges goes by the name alone"
            ));
        }
        Weights { file, objects }
    }

    pub(super) fn is_model(&self, id: FileId) -> bool {
        self.weights[id as usize].is_some()
    }

    /// What parts of [start, end) hold which tensor, if memory at an address holds the file's byte at that address plus
    /// `shift`.
    pub(super) fn tensors_in(&self, id: FileId, start: u64, end: u64, shift: u64) -> Vec<Entry<ObjectId>> {
        let Some(weights) = &self.weights[id as usize] else {
            return Vec::new();
        };
        let range = (start.wrapping_add(shift), end.wrapping_add(shift));
        weights
            .file
            .indices_overlapping(range.0, range.1)
            .map(|index| {
                let tensor = &weights.file.tensors()[index];
                let (from, to) = intersect(range, (tensor.file_offset, tensor.file_offset + tensor.bytes));
                let value = weights.objects[index];
                Entry {
                    start: from.wrapping_sub(shift),
                    end: to.wrapping_sub(shift),
                    value,
                }
            })
            .collect()
    }
}
