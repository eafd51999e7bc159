//! What the models may know of an owner.

/// Properties of an owner that policies ask for. Without a description an owner is its own site and its own object, and
/// of class 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerTraits {
    /// The instruction, by a number of the caller's choice: what policies and prefetchers that learn by instruction take
    /// for the program counter.
    pub site: u32,
    /// The data object, by a number of the caller's choice.
    pub object: u32,
    /// The class that way partitioning goes by.
    pub class: u8,
}

impl OwnerTraits {
    pub(crate) fn of_owner(owner: u32) -> Self {
        Self {
            site: owner,
            object: owner,
            class: 0,
        }
    }
}
