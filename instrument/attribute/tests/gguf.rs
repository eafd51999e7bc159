//! GGUF headers: well-formed, cut short, damaged.

mod gguf_writer;

use std::io::Write;

use gguf_writer::{text, write};
use memloupe_attribute::model::{Model, ModelFile};
use proptest::prelude::*;

const TENSORS: [gguf_writer::TensorSpec<'_>; 4] = [
    ("token_embd.weight", &[64, 10], 1, 1280),
    ("blk.0.attn_q.weight", &[64, 3], 2, 108),
    ("blk.0.attn_norm.weight", &[5], 0, 20),
    ("strange", &[7], 999, 64),
];

fn parse(bytes: &[u8]) -> Result<ModelFile, String> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("written");
    let model = Model::open(file.path()).expect("a GGUF file");
    model.map(|model| model.own).map_err(|error| error.to_string())
}

#[test]
fn tensors_are_where_the_header_says() {
    let (bytes, data) = write(64, &TENSORS);
    let model = parse(&bytes).expect("well-formed");
    let offsets: Vec<u64> = model
        .tensors()
        .iter()
        .map(|tensor| tensor.file_offset - data)
        .collect();
    assert_eq!(offsets, [0, 1280, 1408, 1472]);
    for (tensor, (name, dimensions, _, tensor_bytes)) in model.tensors().iter().zip(TENSORS) {
        assert_eq!(tensor.name, name);
        assert_eq!(tensor.dimensions, dimensions);
        assert_eq!(tensor.bytes, tensor_bytes);
    }
    assert_eq!(model.tensors()[1].element_type, "Q4_0");
    assert_eq!(model.tensors()[3].element_type, "type 999");
    for offset in 0..bytes.len() as u64 + 10 {
        let expected = model
            .tensors()
            .iter()
            .find(|tensor| (tensor.file_offset..tensor.file_offset + tensor.bytes).contains(&offset));
        assert_eq!(model.tensor_at(offset), expected, "at {offset}");
    }
}

#[test]
fn every_prefix_is_an_error_or_lacks_only_padding() {
    let (bytes, _) = write(32, &TENSORS[..3]);
    let whole = parse(&bytes).expect("well-formed");
    let end = whole
        .tensors()
        .last()
        .map(|tensor| tensor.file_offset + tensor.bytes)
        .expect("tensors");
    for length in 4..bytes.len() {
        match parse(&bytes[..length]) {
            Ok(model) => {
                assert!(length as u64 >= end, "{length} bytes are not enough");
                assert_eq!(model, whole);
            }
            Err(message) => {
                assert!((length as u64) < end, "{message}");
                assert!(message.contains("at byte"), "{message}");
            }
        }
    }
}

#[test]
fn lies_about_lengths_cost_nothing() {
    let header = |metadata_count: u64, tensor_count: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensor_count.to_le_bytes());
        bytes.extend(metadata_count.to_le_bytes());
        bytes
    };
    assert!(parse(&header(0, u64::MAX)).is_err());
    assert!(parse(&header(u64::MAX, 0)).is_err());
    assert_eq!(parse(&header(0, 0)).map(|model| model.tensors().len()), Ok(0));
    let mut long_array = header(1, 0);
    text(&mut long_array, "key");
    long_array.extend([9, 0, 0, 0, 10, 0, 0, 0]);
    long_array.extend((u64::MAX / 2).to_le_bytes());
    assert!(parse(&long_array).is_err());
    let mut nested = header(1, 0);
    text(&mut nested, "key");
    nested.extend([9, 0, 0, 0]);
    for _ in 0..100_000 {
        nested.extend([9, 0, 0, 0]);
        nested.extend(1u64.to_le_bytes());
    }
    assert!(parse(&nested).unwrap_err().contains("nested"));
}

#[test]
fn what_is_no_current_gguf_file_is_named() {
    assert!(parse(b"GGUF\0\0\0\x03").unwrap_err().contains("big-endian"));
    assert!(parse(b"GGUF\x09\0\0\0").unwrap_err().contains("version 9"));
}

proptest! {
    #[test]
    fn damage_is_survived(place in 0usize..2000, value in any::<[u8; 8]>()) {
        let (mut bytes, _) = write(32, &TENSORS);
        let place = 4 + place % (bytes.len() - 12);
        bytes[place..place + 8].copy_from_slice(&value);
        if let Ok(model) = parse(&bytes) {
            let mut position = 0;
            for tensor in model.tensors() {
                prop_assert!(tensor.file_offset >= position);
                position = tensor.file_offset + tensor.bytes;
                prop_assert!(position <= bytes.len() as u64);
            }
        }
    }
}
