//! How a block is recorded, and which word of its record holds what.
//!
//! - **Straight**: a record for each execution; its words in the order in which they are first needed, so that an execution
//!   that leaves by a side exit has a shorter record.
//! - **Loop**: the block branches back to its own start. One record stands for many iterations: its *header* holds the entry
//!   values of registers that grow by constants, which tells every iteration's; what else the addresses need
//!   follows as *iteration words*, once for each iteration. If there are none, all that is counted is the iterations.

use iced_x86::{ConditionCode, FlowControl};

use super::block::Block;
use super::operand::{Form, NO_SLOT, Operand, Source};

/// Registers that grow faster are stored for each iteration: the strides of the site table have 32 bits.
const LARGEST_GROWTH: u64 = 1 << 26;

/// A word or words to be stored right before (after, for [`Source::After`]) an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) index: usize,
    pub(super) source: Source,
    /// From the record's slots on; in a loop, from the iteration's words on.
    pub(super) offset_words: u16,
}

impl Snapshot {
    /// Whether it is to be stored right before instruction `index`.
    pub(super) fn is_before(&self, index: usize) -> bool {
        self.index == index && !matches!(self.source, Source::After { .. })
    }
}

/// Where the record has a need.
struct Place {
    slot: u16,
    /// What the stored value exceeds the root by.
    bias: i64,
    /// By how much it grows with each iteration.
    growth: i64,
}

/// Where the record has what.
pub(super) struct Layout {
    pub(super) is_loop: bool,
    /// Words behind the record's first: of a straight record all, of a loop the header's.
    pub(super) header_words: u16,
    /// Words of one iteration of a loop.
    pub(super) iteration_words: u16,
    /// Registers stored at the entry of a loop, and their words.
    pub(super) header: Vec<(u8, u16)>,
    pub(super) snapshots: Vec<Snapshot>,
    /// By need.
    places: Vec<Place>,
    /// By side exit: how many of the words that snapshots fill come before it.
    pub(super) exit_words: Vec<u16>,
}

/// Whether the block branches back to its own start.
pub(super) fn is_self_loop(block: &Block) -> bool {
    block.terminated
        && block.instructions.last().is_some_and(|last| {
            let branches = match last.flow_control() {
                FlowControl::ConditionalBranch => {
                    last.condition_code() != ConditionCode::None && last.is_jcc_short_or_near()
                }
                FlowControl::UnconditionalBranch => true,
                _ => false,
            };
            branches && last.near_branch_target() == block.start
        })
}

impl Layout {
    /// Lays out the record of a block, as a loop if `is_loop`.
    pub(super) fn of(block: &Block, is_loop: bool) -> Self {
        let recording = &block.recording;
        let needs = &recording.needs;
        let growths: Vec<Option<i64>> = needs
            .iter()
            .map(|need| match need.source {
                Source::General { root: Some(root), .. } if is_loop => recording
                    .roots
                    .growth(root)
                    .filter(|growth| growth.unsigned_abs() < LARGEST_GROWTH),
                _ => None,
            })
            .collect();
        let mut layout = Self {
            is_loop,
            header_words: growths.iter().flatten().count() as u16,
            iteration_words: 0,
            header: Vec::new(),
            snapshots: Vec::new(),
            places: Vec::new(),
            exit_words: Vec::new(),
        };
        let mut exits = block.exits.iter().peekable();
        let mut words = 0;
        for (number, (need, growth)) in needs.iter().zip(growths).enumerate() {
            while exits.next_if(|exit| exit.needs <= number).is_some() {
                layout.exit_words.push(words);
            }
            match (need.source, growth) {
                (Source::General { root: Some(root), .. }, Some(growth)) => {
                    let slot = layout.header.len() as u16;
                    layout.header.push((root, slot));
                    layout.places.push(Place {
                        slot,
                        bias: 0,
                        growth,
                    });
                }
                (source, _) => {
                    let bias = match source {
                        Source::General { bias, .. } => bias,
                        _ => 0,
                    };
                    layout.snapshots.push(Snapshot {
                        index: need.index,
                        source,
                        offset_words: words,
                    });
                    layout.places.push(Place {
                        slot: words + if is_loop { layout.header_words } else { 0 },
                        bias,
                        growth: 0,
                    });
                    words += need.words();
                }
            }
        }
        layout.exit_words.extend(exits.map(|_| words));
        if is_loop {
            layout.iteration_words = words;
        } else {
            layout.header_words = words;
        }
        layout
    }

    /// Whether the iterations of the loop need no words.
    pub(super) fn is_affine(&self) -> bool {
        self.is_loop && self.iteration_words == 0
    }

    /// An operand with slots and displacement as the record has them, and by how much its address grows with each
    /// iteration.
    pub(super) fn operand(&self, operand: &Operand) -> (Operand, i32) {
        let mut placed = *operand;
        let mut stride = 0i64;
        if operand.slot != NO_SLOT {
            let place = &self.places[usize::from(operand.slot)];
            placed.slot = place.slot;
            placed.displacement = placed.displacement.wrapping_sub(place.bias);
            stride = place.growth;
        }
        let has_index = operand.scale != 0 || matches!(operand.form, Form::String | Form::Table);
        if has_index {
            let place = &self.places[usize::from(operand.index_slot)];
            let scale = i64::from(operand.scale);
            placed.index_slot = place.slot;
            placed.displacement = placed.displacement.wrapping_sub(place.bias.wrapping_mul(scale));
            stride = stride.wrapping_add(place.growth.wrapping_mul(scale));
        }
        if !matches!(operand.form, Form::Plain | Form::Table) {
            placed.mask_slot = self.places[usize::from(operand.mask_slot)].slot;
        }
        (placed, stride as i32)
    }
}
