//! Loops of one block onto itself whose addresses are affine in the iteration number: their operands' slots hold entry
//! values of registers that grow by a constant in each iteration. Such a loop is recorded once.

use iced_x86::{ConditionCode, FlowControl};

use super::block::Block;
use super::operand::{FLAG_ADDRESS_32, Form, NO_SLOT, Operand, Recording, Snapshot};

/// Whether the block branches back to its own start on a condition code.
pub(super) fn is_self_loop(block: &Block) -> bool {
    block.terminated
        && block.instructions.last().is_some_and(|last| {
            last.flow_control() == FlowControl::ConditionalBranch
                && last.near_branch_target() == block.start
                && last.condition_code() != ConditionCode::None
                && last.is_jcc_short_or_near()
        })
}

/// Whether one record can stand for all iterations.
pub(super) fn is_affine(block: &Block) -> bool {
    let recording = &block.recording;
    is_self_loop(block)
        && recording.before.is_empty()
        && recording.after.is_empty()
        && recording.operands.iter().all(|operand| {
            operand.form == Form::Plain
                && operand.flags & FLAG_ADDRESS_32 == 0
                && stride(recording, operand).is_some()
        })
}

/// By how much an operand's address grows in each iteration.
pub(super) fn stride(recording: &Recording, operand: &Operand) -> Option<i32> {
    let base = growth(recording, operand.slot)?;
    let index = if operand.scale == 0 {
        0
    } else {
        growth(recording, operand.index_slot)?
    };
    i32::try_from(base.wrapping_add(index.wrapping_mul(i64::from(operand.scale)))).ok()
}

fn growth(recording: &Recording, slot: u16) -> Option<i64> {
    if slot == NO_SLOT {
        return Some(0);
    }
    recording.at_entry.iter().find_map(|snapshot| match *snapshot {
        Snapshot::General {
            register,
            slot: stored,
        } if stored == slot => recording.roots.growth(register),
        _ => None,
    })
}
