//! The head of a GGUF version 3 file: metadata and tensor directory, little-endian.
//! Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md

use crate::tensor::Tensor;

/// Every tensor starts at a multiple of this, counted from the start of the data section, which does too.
pub const ALIGNMENT_BYTES: u64 = 32;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unsigned integer.
    U32(u32),
    /// Floating point.
    F32(f32),
    /// Text.
    String(String),
    /// List of integers.
    I32s(Vec<i32>),
    /// List of floating-point numbers.
    F32s(Vec<f32>),
    /// List of texts.
    Strings(Vec<String>),
}

// `enum gguf_type`
const TYPE_U32: u32 = 4;
const TYPE_I32: u32 = 5;
const TYPE_F32: u32 = 6;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// Everything before the data section, padding included.
pub fn header(metadata: &[(String, Value)], tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    put_u32(&mut out, VERSION);
    put_len(&mut out, tensors.len());
    put_len(&mut out, metadata.len());
    for (key, value) in metadata {
        put_string(&mut out, key);
        put_value(&mut out, value);
    }
    for tensor in tensors {
        put_string(&mut out, &tensor.name);
        put_u32(&mut out, tensor.dims.len() as u32);
        for &dim in &tensor.dims {
            out.extend_from_slice(&dim.to_le_bytes());
        }
        put_u32(&mut out, tensor.data_type.ggml_type());
        out.extend_from_slice(&tensor.offset_bytes.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT_BYTES as usize), 0);
    out
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&(len as u64).to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_array_head(out: &mut Vec<u8>, element_type: u32, len: usize) {
    put_u32(out, TYPE_ARRAY);
    put_u32(out, element_type);
    put_len(out, len);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U32(number) => {
            put_u32(out, TYPE_U32);
            put_u32(out, *number);
        }
        Value::F32(number) => {
            put_u32(out, TYPE_F32);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::String(text) => {
            put_u32(out, TYPE_STRING);
            put_string(out, text);
        }
        Value::I32s(numbers) => {
            put_array_head(out, TYPE_I32, numbers.len());
            numbers
                .iter()
                .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        Value::F32s(numbers) => {
            put_array_head(out, TYPE_F32, numbers.len());
            numbers
                .iter()
                .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        Value::Strings(texts) => {
            put_array_head(out, TYPE_STRING, texts.len());
            texts.iter().for_each(|text| put_string(out, text));
        }
    }
}
