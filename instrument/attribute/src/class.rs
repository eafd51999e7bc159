//! Classes of data objects.

use serde::{Deserialize, Serialize};

/// What a data object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Model parameters.
    Weight,
    /// Keys and values of past tokens.
    KvCache,
    /// Intermediate results.
    Activation,
    /// Gradients.
    Gradient,
    /// Optimizer state.
    OptimizerState,
    /// Input data.
    Input,
    /// Scratch memory of kernels.
    Workspace,
    /// Heap memory of no known purpose.
    Heap,
    /// Thread stacks.
    Stack,
    /// Static data of modules.
    Static,
    /// Instructions.
    Code,
    /// File mappings of no known purpose.
    File,
    /// What no rule names.
    Other,
}

impl Class {
    /// Every class, in the order of tables.
    pub const ALL: [Self; 13] = [
        Self::Weight,
        Self::KvCache,
        Self::Activation,
        Self::Gradient,
        Self::OptimizerState,
        Self::Input,
        Self::Workspace,
        Self::Heap,
        Self::Stack,
        Self::Static,
        Self::Code,
        Self::File,
        Self::Other,
    ];

    /// The word used in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::KvCache => "kv-cache",
            Self::Activation => "activation",
            Self::Gradient => "gradient",
            Self::OptimizerState => "optimizer-state",
            Self::Input => "input",
            Self::Workspace => "workspace",
            Self::Heap => "heap",
            Self::Stack => "stack",
            Self::Static => "static",
            Self::Code => "code",
            Self::File => "file",
            Self::Other => "other",
        }
    }

    /// The class of this word.
    #[must_use]
    pub fn by_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == word)
    }

    /// Whether an object of this class counts as named: it has an identity that its owner would recognise.
    #[must_use]
    pub fn is_named(self) -> bool {
        self != Self::Other
    }
}
