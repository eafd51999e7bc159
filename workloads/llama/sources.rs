//! Empty on purpose: cargo wants a target in every package, and this one exists for its lock file alone.
