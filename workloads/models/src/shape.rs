//! The published shapes, as a table.

/// What sets one family's tensors and metadata apart from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// No biases.
    Llama,
    /// Biases on the query, key and value projections.
    Qwen2,
}

impl Architecture {
    /// The value of `general.architecture`, also the prefix of the family's metadata keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    /// Whether the query, key and value projections carry a bias.
    pub fn has_attention_bias(self) -> bool {
        self == Self::Qwen2
    }
}

/// The dimensions of one model, in the words of its `config.json`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The name on the command line.
    pub name: &'static str,
    /// Where the numbers come from.
    pub source: &'static str,
    /// The family.
    pub architecture: Architecture,
    /// `num_hidden_layers`
    pub n_layers: u64,
    /// `hidden_size`
    pub n_embd: u64,
    /// `num_attention_heads`
    pub n_heads: u64,
    /// `num_key_value_heads`
    pub n_kv_heads: u64,
    /// `intermediate_size`
    pub n_ff: u64,
    /// `num_local_experts`: feed-forward networks of each layer, 0 if there is one and no choice
    pub n_experts: u64,
    /// `num_experts_per_tok`
    pub n_experts_used: u64,
    /// `vocab_size`
    pub n_vocab: u64,
    /// `max_position_embeddings`
    pub n_ctx: u64,
    /// `rope_theta`
    pub rope_theta: f32,
    /// `rms_norm_eps`
    pub rms_norm_eps: f32,
    /// `tie_word_embeddings`: the embedding matrix is the output matrix too.
    pub tied_embeddings: bool,
}

impl Shape {
    /// Elements of one attention head.
    pub fn head_dim(&self) -> u64 {
        self.n_embd / self.n_heads
    }

    /// Elements of the keys (or values) of one token in one layer.
    pub fn n_embd_kv(&self) -> u64 {
        self.head_dim() * self.n_kv_heads
    }

    /// The shape of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SHAPES.iter().find(|shape| shape.name == name)
    }
}

/// Every shape, smallest first.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "smoke",
        source: "stories42M (huggingface.co/Xenova/llama2.c-stories42M), vocabulary cut \
                 from 32000 to 4096 tokens so that most of the weights are in the layers",
        architecture: Architecture::Llama,
        n_layers: 8,
        n_embd: 512,
        n_heads: 8,
        n_kv_heads: 8,
        n_ff: 1376,
        n_experts: 0,
        n_experts_used: 0,
        n_vocab: 4096,
        n_ctx: 1024,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied_embeddings: true,
    },
    Shape {
        name: "smoke-moe",
        source: "Mixtral's layers (huggingface.co/mistralai/Mixtral-8x7B-v0.1: 8 experts, 2 for a token), small, for tests",
        architecture: Architecture::Llama,
        n_layers: 4,
        n_embd: 256,
        n_heads: 4,
        n_kv_heads: 2,
        n_ff: 512,
        n_experts: 8,
        n_experts_used: 2,
        n_vocab: 2048,
        n_ctx: 1024,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied_embeddings: true,
    },
    Shape {
        name: "smollm2-135m",
        source: "huggingface.co/HuggingFaceTB/SmolLM2-135M",
        architecture: Architecture::Llama,
        n_layers: 30,
        n_embd: 576,
        n_heads: 9,
        n_kv_heads: 3,
        n_ff: 1536,
        n_experts: 0,
        n_experts_used: 0,
        n_vocab: 49152,
        n_ctx: 8192,
        rope_theta: 100_000.0,
        rms_norm_eps: 1e-5,
        tied_embeddings: true,
    },
    Shape {
        name: "qwen2.5-0.5b",
        source: "huggingface.co/Qwen/Qwen2.5-0.5B",
        architecture: Architecture::Qwen2,
        n_layers: 24,
        n_embd: 896,
        n_heads: 14,
        n_kv_heads: 2,
        n_ff: 4864,
        n_experts: 0,
        n_experts_used: 0,
        n_vocab: 151_936,
        n_ctx: 32768,
        rope_theta: 1_000_000.0,
        rms_norm_eps: 1e-6,
        tied_embeddings: true,
    },
    Shape {
        name: "tinyllama-1.1b",
        source: "huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        architecture: Architecture::Llama,
        n_layers: 22,
        n_embd: 2048,
        n_heads: 32,
        n_kv_heads: 4,
        n_ff: 5632,
        n_experts: 0,
        n_experts_used: 0,
        n_vocab: 32000,
        n_ctx: 2048,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied_embeddings: false,
    },
];
