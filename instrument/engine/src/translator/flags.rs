//! Where the target's arithmetic flags are dead: there, the engine may change them at no cost.
//!
//! Assumes of the System V ABI that no flag is passed into or out of a function: at calls and returns all are dead.

use iced_x86::{FlowControl, Instruction, Mnemonic, RflagsBits};

use super::block::Block;
use super::code::Code;

const ALL: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;
/// Instructions looked at behind the end of a block.
const LOOK_AHEAD: usize = 32;

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
        // What the manual leaves undefined, CPUs leave alone.
        Mnemonic::Div
        | Mnemonic::Idiv
        | Mnemonic::Bt
        | Mnemonic::Btc
        | Mnemonic::Btr
        | Mnemonic::Bts
        | Mnemonic::Bsf
        | Mnemonic::Bsr => {
            (instruction.rflags_written() | instruction.rflags_cleared() | instruction.rflags_set()) & ALL
        }
        _ if instruction.is_string_instruction() => 0,
        _ => instruction.rflags_modified() & ALL,
    };
    (read, overwritten)
}

fn is_call(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Call
}

fn jumps_through_variable(instruction: &Instruction) -> bool {
    instruction.flow_control() == FlowControl::IndirectBranch && instruction.is_ip_rel_memory_operand()
}

/// Whether a block is a linker's stub, which leads to the start of a function: a jump through a variable, alone or behind
/// the mark of a branch's target. Where something else comes before, the jump may take flags along.
pub(super) fn enters_function(block: &[Instruction]) -> bool {
    match block {
        [jump] => jumps_through_variable(jump),
        [mark, jump] => mark.mnemonic() == Mnemonic::Endbr64 && jumps_through_variable(jump),
        _ => false,
    }
}

/// The same of the code behind `first`, which a branch leads to.
fn is_stub(code: &Code, first: &Instruction) -> bool {
    if first.mnemonic() == Mnemonic::Endbr64 {
        let jump = code.decode(first.next_ip());
        return jump.is_some_and(|jump| jumps_through_variable(&jump));
    }
    jumps_through_variable(first)
}

/// Whether all flags are dead at `pc`, where a branch leads if `is_target`.
fn dead_at(code: &Code, mut pc: u64, mut is_target: bool) -> bool {
    let mut pending = ALL;
    for _ in 0..LOOK_AHEAD {
        let Some(instruction) = code.decode(pc) else {
            return false;
        };
        if is_target && is_stub(code, &instruction) {
            return true;
        }
        let (read, overwritten) = effects(&instruction);
        if read & pending != 0 {
            return false;
        }
        pending &= !overwritten;
        if pending == 0 {
            return true;
        }
        is_target = instruction.flow_control() == FlowControl::UnconditionalBranch;
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

/// Whether all flags are dead before instruction `from` of a block; the number of instructions asks for its end.
fn dead_from(code: &Code, block: &Block, from: usize) -> bool {
    let mut pending = ALL;
    for instruction in &block.instructions[from..] {
        let (read, overwritten) = effects(instruction);
        if read & pending != 0 {
            return false;
        }
        pending &= !overwritten;
        if pending == 0 {
            return true;
        }
        if instruction.is_jcc_short_or_near()
            && instruction.near_branch_target() != block.start
            && !dead_at(code, instruction.near_branch_target(), true)
        {
            return false;
        }
    }
    let Some(last) = block.instructions.last().filter(|_| block.terminated) else {
        return dead_at(code, block.end, false);
    };
    match last.flow_control() {
        // Flags that come back to the start of a loop untouched are dead there if nothing on the way reads them.
        FlowControl::UnconditionalBranch => {
            last.near_branch_target() == block.start || dead_at(code, last.near_branch_target(), true)
        }
        FlowControl::ConditionalBranch => {
            last.is_jcc_short_or_near()
                && (last.near_branch_target() == block.start
                    || dead_at(code, last.near_branch_target(), true))
                && dead_at(code, last.next_ip(), false)
        }
        FlowControl::Return => true,
        FlowControl::IndirectBranch => enters_function(&block.instructions),
        FlowControl::Call | FlowControl::IndirectCall => is_call(last),
        _ => false,
    }
}

/// The first instruction, none behind the first side exit, before which all flags are dead.
pub(super) fn first_dead(code: &Code, block: &Block) -> Option<usize> {
    let end = block
        .exits
        .first()
        .map_or(block.instructions.len(), |exit| exit.index + 1);
    (0..end).find(|&index| {
        // Where the instruction before changes no flag, the answer is the same.
        (index == 0 || effects(&block.instructions[index - 1]) != (0, 0)) && dead_from(code, block, index)
    })
}
