//! What was counted, as JSON and by name.

pub(crate) mod memory;
pub(crate) mod system;
