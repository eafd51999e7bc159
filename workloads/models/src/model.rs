//! The tensors and metadata of one model file.

use std::io::{self, Write};

use crate::gguf::{self, ALIGNMENT_BYTES, Value};
use crate::shape::Shape;
use crate::tensor::{DataType, Tensor, Values};
use crate::{vocabulary, weights};

/// A model to be written: a shape, the type of its matrices and a seed.
#[derive(Clone, Debug)]
pub struct Model {
    shape: Shape,
    matrix_type: DataType,
    seed: u64,
    tensors: Vec<Tensor>,
}

/// Standard deviation of the biases: small beside the activations they are added to.
const BIAS_DEVIATION: f32 = 0.1;

impl Model {
    /// Lays out the model's tensors.
    pub fn new(shape: &Shape, matrix_type: DataType, seed: u64) -> Self {
        let mut tensors = tensors_of(shape, matrix_type);
        let mut end_bytes = 0_u64;
        for tensor in &mut tensors {
            tensor.offset_bytes = end_bytes.next_multiple_of(ALIGNMENT_BYTES);
            end_bytes = tensor.offset_bytes + tensor.n_bytes();
        }
        Self {
            shape: *shape,
            matrix_type,
            seed,
            tensors,
        }
    }

    /// Its tensors, in file order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Number of weights.
    pub fn n_parameters(&self) -> u64 {
        self.tensors.iter().map(Tensor::n_elements).sum()
    }

    /// Bytes of the file's data section, padding included.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.last().map_or(0, |last| {
            (last.offset_bytes + last.n_bytes()).next_multiple_of(ALIGNMENT_BYTES)
        })
    }

    /// Writes the GGUF file. `progress` is told the bytes of weights written so far. Returns the size of the
    /// file.
    pub fn write(&self, out: &mut impl Write, progress: &mut dyn FnMut(u64)) -> io::Result<u64> {
        let header = gguf::header(&self.metadata(), &self.tensors);
        out.write_all(&header)?;
        let mut written_bytes = 0;
        for tensor in &self.tensors {
            weights::generate(tensor, self.seed, &mut |chunk| {
                out.write_all(chunk)?;
                written_bytes += chunk.len() as u64;
                progress(written_bytes);
                Ok(())
            })?;
            let padding_bytes = written_bytes.next_multiple_of(ALIGNMENT_BYTES) - written_bytes;
            out.write_all(&[0; ALIGNMENT_BYTES as usize][..padding_bytes as usize])?;
            written_bytes += padding_bytes;
        }
        Ok(header.len() as u64 + written_bytes)
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let shape = &self.shape;
        let count = |n: u64| Value::U32(u32::try_from(n).expect("the shapes' dimensions fit 32 bits"));
        let vocabulary = vocabulary::tokens(shape.n_vocab);
        let general = [
            (
                "general.architecture",
                Value::String(shape.architecture.name().into()),
            ),
            (
                "general.name",
                Value::String(format!("{} with random weights", shape.name)),
            ),
            (
                "general.description",
                Value::String(format!("shape: {}; seed {}", shape.source, self.seed)),
            ),
            ("general.file_type", Value::U32(self.matrix_type.llama_ftype())),
            ("general.quantization_version", Value::U32(2)), // GGML_QNT_VERSION
            ("general.alignment", Value::U32(ALIGNMENT_BYTES as u32)),
        ];
        let family = [
            ("vocab_size", count(shape.n_vocab)),
            ("context_length", count(shape.n_ctx)),
            ("embedding_length", count(shape.n_embd)),
            ("block_count", count(shape.n_layers)),
            ("feed_forward_length", count(shape.n_ff)),
            ("rope.dimension_count", count(shape.head_dim())),
            ("rope.freq_base", Value::F32(shape.rope_theta)),
            ("attention.head_count", count(shape.n_heads)),
            ("attention.head_count_kv", count(shape.n_kv_heads)),
            ("attention.layer_norm_rms_epsilon", Value::F32(shape.rms_norm_eps)),
        ];
        let experts = [
            ("expert_count", shape.n_experts),
            ("expert_used_count", shape.n_experts_used),
        ];
        let experts = experts.into_iter().filter(|(_, n)| *n > 0);
        let tokenizer = [
            ("tokenizer.ggml.model", Value::String("llama".into())),
            (
                "tokenizer.ggml.tokens",
                Value::Strings(vocabulary.iter().map(|t| t.text.clone()).collect()),
            ),
            (
                "tokenizer.ggml.scores",
                Value::F32s(vocabulary.iter().map(|t| t.score).collect()),
            ),
            (
                "tokenizer.ggml.token_type",
                Value::I32s(vocabulary.iter().map(|t| t.kind as i32).collect()),
            ),
            (
                "tokenizer.ggml.unknown_token_id",
                Value::U32(vocabulary::UNKNOWN_ID),
            ),
            ("tokenizer.ggml.bos_token_id", Value::U32(vocabulary::BEGIN_ID)),
            ("tokenizer.ggml.eos_token_id", Value::U32(vocabulary::END_ID)),
        ];
        let prefix = shape.architecture.name();
        let family = family
            .into_iter()
            .chain(experts.map(|(key, n)| (key, count(n))))
            .map(|(key, value)| (format!("{prefix}.{key}"), value));
        let plain = |(key, value): (&str, Value)| (key.to_owned(), value);
        general
            .into_iter()
            .map(plain)
            .chain(family)
            .chain(tokenizer.into_iter().map(plain))
            .collect()
    }
}

/// The tensors in the order of published files: embedding, the layers, output. Offsets are still zero.
fn tensors_of(shape: &Shape, matrix_type: DataType) -> Vec<Tensor> {
    let tensor = |name: String, dims: Vec<u64>, data_type, values| Tensor {
        name,
        dims,
        data_type,
        values,
        offset_bytes: 0,
    };
    // Values of deviation 1/sqrt(inputs) keep the outputs of a matrix as large as its inputs.
    let matrix = |name: String, n_in: u64, n_out: u64| {
        tensor(
            name,
            vec![n_in, n_out],
            matrix_type.of_rows(n_in),
            Values::Centred(1.0 / (n_in as f32).sqrt()),
        )
    };
    let norm = |name: String| tensor(name, vec![shape.n_embd], DataType::F32, Values::NearOne);
    let bias = |name: String, n| tensor(name, vec![n], DataType::F32, Values::Centred(BIAS_DEVIATION));

    let (n_embd, n_kv, n_ff) = (shape.n_embd, shape.n_embd_kv(), shape.n_ff);
    let mut tensors = vec![matrix("token_embd.weight".into(), n_embd, shape.n_vocab)];
    for layer in 0..shape.n_layers {
        let named = |part: &str| format!("blk.{layer}.{part}");
        tensors.push(norm(named("attn_norm.weight")));
        for (projection, n_out) in [("attn_q", n_embd), ("attn_k", n_kv), ("attn_v", n_kv)] {
            tensors.push(matrix(named(&format!("{projection}.weight")), n_embd, n_out));
            if shape.architecture.has_attention_bias() {
                tensors.push(bias(named(&format!("{projection}.bias")), n_out));
            }
        }
        tensors.push(matrix(named("attn_output.weight"), n_embd, n_embd));
        tensors.push(norm(named("ffn_norm.weight")));
        for (part, n_in, n_out) in [
            ("ffn_gate", n_embd, n_ff),
            ("ffn_up", n_embd, n_ff),
            ("ffn_down", n_ff, n_embd),
        ] {
            if shape.n_experts == 0 {
                tensors.push(matrix(named(&format!("{part}.weight")), n_in, n_out));
            } else {
                let mut experts = matrix(named(&format!("{part}_exps.weight")), n_in, n_out);
                experts.dims.push(shape.n_experts);
                tensors.push(experts);
            }
        }
        if shape.n_experts > 0 {
            // What chooses the experts stays F32 in published files.
            let mut router = matrix(named("ffn_gate_inp.weight"), n_embd, shape.n_experts);
            router.data_type = DataType::F32;
            tensors.push(router);
        }
    }
    tensors.push(norm("output_norm.weight".into()));
    if !shape.tied_embeddings {
        tensors.push(matrix("output.weight".into(), n_embd, shape.n_vocab));
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::SHAPES;

    /// The totals that Hugging Face shows beside the published weights.
    #[test]
    fn parameter_counts_are_the_published_ones() {
        for (name, published) in [
            ("smollm2-135m", 134_515_008),
            ("qwen2.5-0.5b", 494_032_768),
            ("tinyllama-1.1b", 1_100_048_384),
        ] {
            let shape = Shape::named(name).unwrap();
            assert_eq!(
                Model::new(shape, DataType::F16, 0).n_parameters(),
                published,
                "{name}"
            );
        }
    }

    #[test]
    fn tensors_are_aligned_and_do_not_overlap() {
        for shape in SHAPES {
            for &matrix_type in DataType::OF_MATRICES {
                let model = Model::new(shape, matrix_type, 0);
                let mut end_bytes = 0;
                for tensor in model.tensors() {
                    assert_eq!(tensor.offset_bytes % ALIGNMENT_BYTES, 0, "{}", tensor.name);
                    let gap_bytes = tensor.offset_bytes - end_bytes;
                    assert!(gap_bytes < ALIGNMENT_BYTES, "{}", tensor.name);
                    assert_eq!(
                        tensor.dims[0] % tensor.data_type.block_len(),
                        0,
                        "{}: rows end in a block",
                        tensor.name
                    );
                    end_bytes = tensor.offset_bytes + tensor.n_bytes();
                }
                assert_eq!(model.data_bytes(), end_bytes.next_multiple_of(ALIGNMENT_BYTES));
            }
        }
    }

    #[test]
    fn q4_0_takes_four_and_a_half_bits_per_weight() {
        let model = Model::new(Shape::named("smoke").unwrap(), DataType::Q4_0, 0);
        let gate = model
            .tensors()
            .iter()
            .find(|t| t.name == "blk.7.ffn_gate.weight")
            .unwrap();
        assert_eq!(gate.n_bytes(), 512 * 1376 * 9 / 16);
    }

    #[test]
    fn a_failing_writer_ends_the_generation() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = self.0.min(bytes.len());
                self.0 -= room;
                if room == 0 {
                    Err(io::ErrorKind::StorageFull.into())
                } else {
                    Ok(room)
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let model = Model::new(Shape::named("smoke").unwrap(), DataType::Q4_0, 0);
        let mut progress_bytes = 0;
        let error = model
            .write(&mut Full(5_000_000), &mut |bytes| progress_bytes = bytes)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(progress_bytes < 5_000_000);
    }
}
