//! The files that are mapped or read, and the tensors of those that are models.

use std::collections::HashMap;
use std::path::Path;

use super::table::{ObjectId, ObjectTable};
use crate::class::Class;
use crate::gguf::{self, ModelFile};
use crate::range_map::{Entry, intersect};

/// Index of a file.
pub(super) type FileId = u32;

#[derive(Debug)]
struct Model {
    file: ModelFile,
    /// By tensor.
    objects: Vec<ObjectId>,
}

/// Files by path; each is looked into once.
#[derive(Debug, Default)]
pub(super) struct ModelFiles {
    index: HashMap<String, FileId>,
    /// None: not a model, or a damaged one.
    models: Vec<Option<Model>>,
    notes: Vec<String>,
}

impl ModelFiles {
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The id of a file. The tensors of a model become weights.
    pub(super) fn id(&mut self, path: &str, table: &mut ObjectTable) -> FileId {
        if let Some(id) = self.index.get(path) {
            return *id;
        }
        let model = match gguf::is_gguf(Path::new(path)).then(|| ModelFile::open(Path::new(path))) {
            None => None,
            Some(Ok(file)) => {
                let weight = |tensor: &gguf::Tensor| table.intern(Class::Weight, &tensor.name);
                Some(Model {
                    objects: file.tensors().iter().map(weight).collect(),
                    file,
                })
            }
            Some(Err(error)) => {
                self.notes.push(format!("{error}. Its tensors have no names"));
                None
            }
        };
        let id = self.models.len() as FileId;
        self.index.insert(path.to_owned(), id);
        self.models.push(model);
        id
    }

    pub(super) fn is_model(&self, id: FileId) -> bool {
        self.models[id as usize].is_some()
    }

    /// What parts of [start, end) hold which tensor, if memory at an address holds the file's byte at that address plus
    /// `shift`.
    pub(super) fn tensors_in(&self, id: FileId, start: u64, end: u64, shift: u64) -> Vec<Entry<ObjectId>> {
        let Some(model) = &self.models[id as usize] else {
            return Vec::new();
        };
        let range = (start.wrapping_add(shift), end.wrapping_add(shift));
        model
            .file
            .indices_overlapping(range.0, range.1)
            .map(|index| {
                let tensor = &model.file.tensors()[index];
                let (from, to) = intersect(range, (tensor.file_offset, tensor.file_offset + tensor.bytes));
                let value = model.objects[index];
                Entry {
                    start: from.wrapping_sub(shift),
                    end: to.wrapping_sub(shift),
                    value,
                }
            })
            .collect()
    }
}
