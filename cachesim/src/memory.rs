//! What lies below the last cache level.

/// Receives the line requests that leave the last level, in the order in which they leave.
///
/// A read is a fill; a write is a dirty victim or a combined non-temporal store. A request is for one or more
/// neighbouring lines, lowest first; `line_address` is the address of the first one's first byte. `owner` is charged:
/// of a read the one that missed, of a write the one that last wrote the lines.
pub trait Memory {
    /// `lines` lines are fetched.
    fn read(&mut self, line_address: u64, lines: u64, owner: u32);
    /// `lines` lines are written.
    fn write(&mut self, line_address: u64, lines: u64, owner: u32);
}
