//! Finding a block: contiguous instructions from an address on. A conditional jump forward does not end it: execution
//! that goes on behind it goes on in the block, execution that jumps leaves by a side exit.

use iced_x86::{
    Code as Opcode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register,
};

use super::code::Code;
use super::operand::{self, Recording, is_repeated};
use crate::ring::RECORD_BYTES;

/// Enough for the unrolled body of a kernel's inner loop: split, it could not be recorded as one affine loop.
const INSTRUCTIONS: usize = 512;
/// Room for what one more instruction may store: two vectors, a mask, a few words.
const WORDS: u16 = (RECORD_BYTES / 8) as u16 - 32;
/// Operands in one block: an entry of the site table counts them in 16 bits, and a decoder wants short runs.
const OPERANDS: usize = 512;

/// Side exits of a block: each costs an entry in the site table and some code.
const EXITS: usize = 12;

/// A conditional jump out of a block.
pub(super) struct SideExit {
    /// Of the jump among the block's instructions.
    pub(super) index: usize,
    /// Operands of the block before it.
    pub(super) operands: usize,
    /// Needs of the block's recording before it.
    pub(super) needs: usize,
}

/// A block of the target's code, analysed.
pub(super) struct Block {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) instructions: Vec<Instruction>,
    /// The last instruction goes elsewhere; otherwise the block goes on at `end`.
    pub(super) terminated: bool,
    /// General registers that it uses, one bit each.
    pub(super) used: u16,
    pub(super) recording: Recording,
    pub(super) exits: Vec<SideExit>,
    /// It may learn of what other threads have done: it has an atomic instruction, or waits in a loop.
    pub(super) acquires: bool,
}

/// Whether a block can't contain it: privileged or obsolete control transfers, changes of a segment's base, and what needs
/// a shadow stack.
pub(super) fn is_refused(instruction: &Instruction) -> bool {
    let loads_segment = instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && matches!(instruction.op0_register(), Register::GS | Register::FS)
        && instruction.mnemonic() != Mnemonic::Push;
    loads_segment || is_refused_opcode(instruction.code())
}

fn is_refused_opcode(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::Iretq
            | Opcode::Iretd
            | Opcode::Iretw
            | Opcode::Sysenter
            | Opcode::Sysexitd
            | Opcode::Sysexitq
            | Opcode::Jmp_m1616
            | Opcode::Jmp_m1632
            | Opcode::Jmp_m1664
            | Opcode::Call_m1616
            | Opcode::Call_m1632
            | Opcode::Call_m1664
            | Opcode::Retfw
            | Opcode::Retfd
            | Opcode::Retfq
            | Opcode::Wrgsbase_r32
            | Opcode::Wrgsbase_r64
            | Opcode::Wrfsbase_r32
            | Opcode::Wrfsbase_r64
            | Opcode::Lgs_r16_m1616
            | Opcode::Lgs_r32_m1632
            | Opcode::Lgs_r64_m1664
            | Opcode::Lfs_r16_m1616
            | Opcode::Lfs_r32_m1632
            | Opcode::Lfs_r64_m1664
    )
}

/// The block at `pc` with at most `limit` instructions. `is_entry` tells places where a block has to begin.
///
/// # Errors
/// Why there is none.
pub(super) fn discover(
    code: &Code,
    factory: &mut InstructionInfoFactory,
    pc: u64,
    limit: usize,
    is_entry: impl Fn(u64) -> bool,
) -> Result<Block, String> {
    let mut block = Block {
        start: pc,
        end: pc,
        instructions: Vec::new(),
        terminated: false,
        used: 1 << crate::thread::register::RSP,
        recording: Recording::new(),
        exits: Vec::new(),
        acquires: false,
    };
    let mut is_atomic = false;
    while block.instructions.len() < limit.min(INSTRUCTIONS) {
        let first = block.instructions.is_empty();
        let at = block.end;
        let Some(instruction) = code.decode(at).filter(|instruction| !is_refused(instruction)) else {
            if first {
                return Err("the instruction there can't be translated".to_owned());
            }
            break;
        };
        // What follows an atomic instruction belongs to another segment of the stream; the jump that asks whether it has
        // succeeded accesses nothing.
        let is_behind_atomic = is_atomic && !instruction.is_jcc_short_or_near();
        if !first && (is_entry(at) || is_repeated(&instruction) || is_behind_atomic) {
            break;
        }
        let info = factory.info(&instruction);
        let used = info
            .used_registers()
            .iter()
            .map(|used| used.register().full_register())
            .filter(|register| register.is_gpr64())
            .fold(block.used, |used, register| used | 1 << register.number());
        // One register must be left for the record pointer.
        if used == u16::MAX {
            if first {
                return Err("the instruction there uses all general registers".to_owned());
            }
            break;
        }
        block
            .recording
            .add(block.instructions.len(), &instruction, info)?;
        block.used = used;
        block.instructions.push(instruction);
        block.end = instruction.next_ip();
        is_atomic |= operand::is_atomic(&instruction);
        block.acquires |= is_atomic || instruction.mnemonic() == Mnemonic::Pause;
        let may_go_on = !code.is_rewritable
            && !is_atomic
            && instruction.is_jcc_short_or_near()
            && instruction.near_branch_target() > at
            && block.exits.len() < EXITS;
        if may_go_on {
            block.exits.push(SideExit {
                index: block.instructions.len() - 1,
                operands: block.recording.operands.len(),
                needs: block.recording.needs.len(),
            });
            continue;
        }
        if !matches!(
            instruction.flow_control(),
            FlowControl::Next | FlowControl::Exception
        ) {
            block.terminated = true;
            break;
        }
        if is_repeated(&instruction)
            || block.recording.words > WORDS
            || block.recording.operands.len() >= OPERANDS
        {
            break;
        }
    }
    Ok(block)
}
