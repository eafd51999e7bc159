//! Reads a written file with a parser of its own and compares it with what the model says of itself.

use std::collections::HashMap;

use memloupe_models::{DataType, Model, SHAPES, Shape};

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        taken
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }
    fn string(&mut self) -> String {
        let len = self.u64() as usize;
        String::from_utf8(self.take(len).to_vec()).unwrap()
    }
    /// A metadata value as text; of an array its length.
    fn value(&mut self) -> String {
        match self.u32() {
            4 => self.u32().to_string(),
            6 => f32::from_bits(self.u32()).to_string(),
            8 => self.string(),
            9 => {
                let element_type = self.u32();
                let n = self.u64();
                for _ in 0..n {
                    match element_type {
                        5 | 6 => drop(self.u32()),
                        8 => drop(self.string()),
                        other => panic!("array of type {other}"),
                    }
                }
                format!("[{n}]")
            }
            other => panic!("value of type {other}"),
        }
    }
}

fn written(shape: &str, data_type: DataType, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let model = Model::new(Shape::named(shape).unwrap(), data_type, seed);
    let size_bytes = model.write(&mut bytes, &mut |_| ()).unwrap();
    assert_eq!(size_bytes, bytes.len() as u64);
    bytes
}

#[test]
fn a_written_file_reads_back() {
    let shape = Shape::named("smoke").unwrap();
    for (data_type, ggml_type) in [(DataType::F16, 1), (DataType::Q8_0, 8), (DataType::Q4_0, 2)] {
        let model = Model::new(shape, data_type, 7);
        let bytes = written("smoke", data_type, 7);
        let mut reader = Reader { bytes: &bytes, at: 0 };
        assert_eq!(reader.take(4), b"GGUF");
        assert_eq!(reader.u32(), 3);
        let (n_tensors, n_values) = (reader.u64(), reader.u64());
        let metadata: HashMap<String, String> =
            (0..n_values).map(|_| (reader.string(), reader.value())).collect();
        for (key, value) in [
            ("general.architecture", "llama"),
            ("llama.block_count", "8"),
            ("llama.embedding_length", "512"),
            ("llama.feed_forward_length", "1376"),
            ("llama.attention.head_count", "8"),
            ("llama.rope.dimension_count", "64"),
            ("llama.rope.freq_base", "10000"),
            ("tokenizer.ggml.tokens", "[4096]"),
            ("tokenizer.ggml.token_type", "[4096]"),
        ] {
            assert_eq!(metadata[key], value, "{key}");
        }
        assert_eq!(n_tensors as usize, model.tensors().len());
        let mut last_end_bytes = 0;
        for tensor in model.tensors() {
            assert_eq!(reader.string(), tensor.name);
            let n_dims = reader.u32();
            let dims: Vec<u64> = (0..n_dims).map(|_| reader.u64()).collect();
            assert_eq!(dims, tensor.dims, "{}", tensor.name);
            let expected_type = if dims.len() == 1 { 0 } else { ggml_type };
            assert_eq!(reader.u32(), expected_type, "{}", tensor.name);
            assert_eq!(reader.u64(), tensor.offset_bytes, "{}", tensor.name);
            last_end_bytes = tensor.offset_bytes + tensor.n_bytes();
        }
        let data_start_bytes = reader.at.next_multiple_of(32) as u64;
        assert_eq!(
            bytes.len() as u64,
            data_start_bytes + last_end_bytes.next_multiple_of(32)
        );
        assert_eq!(bytes.len() as u64, data_start_bytes + model.data_bytes());
        let norm = model
            .tensors()
            .iter()
            .find(|tensor| tensor.name == "output_norm.weight")
            .unwrap();
        let at = (data_start_bytes + norm.offset_bytes) as usize;
        for factor in bytes[at..at + norm.n_bytes() as usize].chunks_exact(4) {
            let factor = f32::from_le_bytes(factor.try_into().unwrap());
            assert!(
                (0.5..1.5).contains(&factor),
                "the data of a tensor is where the directory says"
            );
        }
    }
}

#[test]
fn a_file_depends_on_shape_type_and_seed_alone() {
    let first = written("smoke", DataType::Q4_0, 1);
    assert!(first == written("smoke", DataType::Q4_0, 1));
    assert!(first != written("smoke", DataType::Q4_0, 2));
}

#[test]
fn only_qwen2_has_attention_biases_and_only_tinyllama_an_output_matrix() {
    for shape in SHAPES {
        let model = Model::new(shape, DataType::Q4_0, 1);
        let n_biases = model
            .tensors()
            .iter()
            .filter(|tensor| tensor.name.ends_with(".bias"))
            .count();
        assert_eq!(n_biases, if shape.name == "qwen2.5-0.5b" { 3 * 24 } else { 0 });
        let has_output = model
            .tensors()
            .iter()
            .any(|tensor| tensor.name == "output.weight");
        assert_eq!(has_output, shape.name == "tinyllama-1.1b");
    }
}
