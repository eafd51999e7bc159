//! Where the target's arithmetic flags are dead: there, the engine may change them at no cost.
//!
//! Assumes of the System V ABI that no flag is passed into or out of a function: at calls and returns all are dead.

use iced_x86::{FlowControl, Instruction, Mnemonic, RflagsBits};

use super::code::Code;

const ALL: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;
/// Instructions looked at behind the end of a block.
const LOOK_AHEAD: usize = 12;

/// Flags read, and flags certainly overwritten.
fn effects(instruction: &Instruction) -> (u32, u32) {
    let read = instruction.rflags_read() & ALL;
    let overwritten = match instruction.mnemonic() {
        // A count of zero leaves the flags alone.
        Mnemonic::Shl
        | Mnemonic::Shr
        | Mnemonic::Sar
        | Mnemonic::Sal
        | Mnemonic::Rol
        | Mnemonic::Ror
        | Mnemonic::Rcl
        | Mnemonic::Rcr
        | Mnemonic::Shld
        | Mnemonic::Shrd => 0,
        _ if instruction.is_string_instruction() => 0,
        _ => instruction.rflags_modified() & ALL,
    };
    (read, overwritten)
}

fn is_call(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Call
}

/// Whether all flags are dead at `pc`.
fn dead_at(code: &Code, mut pc: u64) -> bool {
    let mut pending = ALL;
    for _ in 0..LOOK_AHEAD {
        let Some(instruction) = code.decode(pc) else {
            return false;
        };
        let (read, overwritten) = effects(&instruction);
        if read & pending != 0 {
            return false;
        }
        pending &= !overwritten;
        if pending == 0 {
            return true;
        }
        pc = match instruction.flow_control() {
            FlowControl::Next => instruction.next_ip(),
            FlowControl::UnconditionalBranch => instruction.near_branch_target(),
            FlowControl::Call | FlowControl::IndirectCall => return is_call(&instruction),
            FlowControl::Return => return instruction.mnemonic() == Mnemonic::Ret,
            _ => return false,
        };
    }
    false
}

/// For each instruction of a block, whether all flags are dead before it.
pub(super) fn dead_before(code: &Code, instructions: &[Instruction], end: u64) -> Vec<bool> {
    let mut live = match instructions.last() {
        Some(last) => match last.flow_control() {
            FlowControl::UnconditionalBranch => !dead_at(code, last.near_branch_target()),
            FlowControl::ConditionalBranch => {
                !(dead_at(code, last.near_branch_target()) && dead_at(code, last.next_ip()))
            }
            FlowControl::Return => false,
            FlowControl::Call | FlowControl::IndirectCall => !is_call(last),
            FlowControl::Next => !dead_at(code, end),
            _ => true,
        },
        None => true,
    };
    let mut live_flags = if live { ALL } else { 0 };
    let mut dead = vec![false; instructions.len()];
    for (place, instruction) in instructions.iter().enumerate().rev() {
        let (read, overwritten) = effects(instruction);
        live_flags = live_flags & !overwritten | read;
        live = live_flags != 0;
        dead[place] = !live;
    }
    dead
}
