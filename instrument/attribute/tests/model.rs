//! Model files that the frameworks' own writers made (`models/make.py`): every tensor is found where its bytes are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use memloupe_attribute::model::{Model, ModelFile};
use proptest::prelude::*;

/// Name, shape, first bytes in hex, size.
type Expected = (String, Vec<u64>, String, u64);

/// Files that are opened, and where their tensors are.
const FILES: [(&str, &str); 7] = [
    ("state.pt", "state.pt"),
    ("module.pt", "module.pt"),
    ("script.pt", "script.pt"),
    ("checkpoint.pt", "checkpoint.pt"),
    ("layers.safetensors", "layers.safetensors"),
    ("inline.onnx", "inline.onnx"),
    ("beside.onnx", "beside.data"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

fn open(path: &Path) -> Result<Model, String> {
    let model = Model::open(path).unwrap_or_else(|| panic!("{} is a model", path.display()));
    model.map_err(|error| error.to_string())
}

/// The tensors of `model` that lie in `path`.
fn tensors_in<'a>(model: &'a Model, opened: &Path, path: &Path) -> &'a ModelFile {
    if opened == path {
        return &model.own;
    }
    let file = model.external.iter().find(|(file, _)| file == path);
    &file.expect("an external file").1
}

#[test]
fn every_tensor_is_where_its_bytes_are() {
    let expected = fs::read_to_string(folder().join("EXPECTED.json")).expect("readable");
    let expected: BTreeMap<String, Vec<Expected>> = serde_json::from_str(&expected).expect("JSON");
    for (opened, holder) in FILES {
        let (opened, path) = (folder().join(opened), folder().join(holder));
        let model = open(&opened).expect("well-formed");
        let file = tensors_in(&model, &opened, &path);
        let bytes = fs::read(&path).expect("readable");
        let mut found: Vec<Expected> = file
            .tensors()
            .iter()
            .map(|tensor| {
                let start = tensor.file_offset as usize;
                let data = &bytes[start..start + tensor.bytes as usize];
                let first: String = data.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                (
                    tensor.name.clone(),
                    tensor.dimensions.clone(),
                    first,
                    tensor.bytes,
                )
            })
            .collect();
        let mut wanted = expected[holder].clone();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{}", opened.display());
    }
}

#[test]
fn files_cut_short_are_errors_that_say_where() {
    let scratch = tempfile::tempdir().expect("a folder");
    fs::copy(folder().join("beside.data"), scratch.path().join("beside.data")).expect("copied");
    for (name, holder) in FILES {
        let whole = fs::read(folder().join(name)).expect("readable");
        let copy = scratch.path().join(name);
        for length in (16..whole.len()).step_by(41) {
            fs::write(&copy, &whole[..length]).expect("written");
            match open(&copy) {
                // What lies behind the last tensor, and fields that ONNX doesn't need, may be missing.
                Ok(model) => {
                    let complete = tensors_in(&model, &copy, &scratch.path().join(holder));
                    assert!(complete.tensors().len() <= 4, "{name} at {length}");
                    assert!(
                        name.ends_with(".onnx"),
                        "{name} has lost its tail at {length} unnoticed"
                    );
                }
                Err(message) => assert!(message.contains("at byte"), "{message}"),
            }
        }
    }
    fs::write(scratch.path().join("beside.data"), [0; 40]).expect("written");
    fs::copy(folder().join("beside.onnx"), scratch.path().join("beside.onnx")).expect("copied");
    let message = open(&scratch.path().join("beside.onnx")).expect_err("the data are cut short");
    assert!(
        message.contains("\"w1\"") && message.contains("beside.data"),
        "{message}"
    );
    fs::remove_file(scratch.path().join("beside.data")).expect("removed");
    let message = open(&scratch.path().join("beside.onnx")).expect_err("the data are gone");
    assert!(message.contains("beside.data"), "{message}");
}

#[test]
fn other_files_are_no_models() {
    let own = std::env::current_exe().expect("a path");
    assert!(Model::open(&own).is_none());
    assert!(Model::open(Path::new("/nonexistent/model.gguf")).is_none());
    assert!(Model::open(Path::new("/dev/zero")).is_none());
}

proptest! {
    #[test]
    fn damage_is_survived(file in 0usize..7, place in any::<prop::sample::Index>(), value in any::<[u8; 8]>()) {
        let (name, _) = FILES[file];
        let mut bytes = fs::read(folder().join(name)).expect("readable");
        let place = place.index(bytes.len() - 8);
        bytes[place..place + 8].copy_from_slice(&value);
        let scratch = tempfile::tempdir().expect("a folder");
        let copy = scratch.path().join(name);
        fs::write(&copy, &bytes).expect("written");
        if let Some(Ok(model)) = Model::open(&copy) {
            let mut end = 0;
            for tensor in model.own.tensors() {
                prop_assert!(tensor.file_offset >= end);
                end = tensor.file_offset + tensor.bytes;
                prop_assert!(end <= bytes.len() as u64);
            }
        }
    }
}
