//! What lies below the last cache level.

/// Receives the line requests that leave the last level, in the order in which they leave.
///
/// A read is a fill; a write is a dirty victim or a combined non-temporal store. `line_address` is the address
/// of the line's first byte. `owner` is charged: of a read the one that missed, of a write the one that last
/// wrote the line.
pub trait Memory {
    /// A line is fetched.
    fn read(&mut self, line_address: u64, owner: u32);
    /// A line is written.
    fn write(&mut self, line_address: u64, owner: u32);
}
