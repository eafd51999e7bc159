//! The end of a translation: how control leaves the block. The recording is done.
//!
//! A block hands the record pointer on: between blocks it stays in its register, whose value for the target stays spilled,
//! and the next block goes on with it if it has it in the same register (`cache`, "warm"). System calls and what traps
//! come after all registers are the target's again.
//!
//! Direct branches are linked to the next block's translation as soon as there is one. Calls push the *original* return
//! address, so the stack is what it would be natively: unwinding, exceptions and backtraces need nothing. Returns and
//! indirect branches look their target up in the thread's table for their record pointer, which jumps inside a function do without
//! touching flags; at calls and returns these are dead (`flags`).

use iced_x86::{Code as Opcode, FlowControl, Instruction, MemoryOperand, Mnemonic, OpKind, Register};

use super::assembler::{Assembler, Gpr, RAX, RCX, RDX, Rel32};
use super::block::Block;
use super::code::Code;
use super::emit::GPRS;
use super::flags;
use crate::cache::{Cause, Exit, Mode, NO_POINTER};
use crate::dispatch::{EXIT_INDIRECT, Engine};
use crate::place::State;
use crate::system;
use crate::thread::{LOOKUP_BYTES, LOOKUP_ENTRY_SHIFT, offset};

const JMP: [u8; 1] = [0xe9];
const JRCXZ: [u8; 1] = [0xe3];
const JNE: [u8; 2] = [0x0f, 0x85];
const R9: Gpr = 9;
const R10: Gpr = 10;
const R11: Gpr = 11;
/// `push qword ptr [rip + rel32]`
const PUSH_RIP: [u8; 2] = [0xff, 0x35];

/// The end of a block.
pub(super) struct End<'a> {
    /// All that it has.
    pub(super) instructions: &'a [Instruction],
    /// The last one goes elsewhere; otherwise the block goes on at `at`.
    pub(super) terminated: bool,
    pub(super) at: u64,
}

/// What is written behind the block.
struct Tail {
    mode: Mode,
    /// The register that holds the record pointer while control leaves; none if all are the target's.
    pointer: Option<Gpr>,
    /// Branches to code that may not be translated yet.
    exits: Vec<(Rel32, u64)>,
    /// Constants that instructions load.
    constants: Vec<(Rel32, u64)>,
}

/// What comes before the rel32 of a near direct jump.
pub(super) fn branch(jump: &Instruction) -> Vec<u8> {
    if jump.flow_control() == FlowControl::UnconditionalBranch {
        JMP.to_vec()
    } else {
        conditional(jump).to_vec()
    }
}

/// The first two bytes of `jcc rel32`.
pub(super) fn conditional(branch: &Instruction) -> [u8; 2] {
    let mut near = *branch;
    near.as_near_branch();
    // Opcodes 0f 80 … 0f 8f follow the condition codes' hardware numbers; the short forms 70 … 7f do so too.
    let number = match near.code() {
        Opcode::Jo_rel32_64 => 0,
        Opcode::Jno_rel32_64 => 1,
        Opcode::Jb_rel32_64 => 2,
        Opcode::Jae_rel32_64 => 3,
        Opcode::Je_rel32_64 => 4,
        Opcode::Jne_rel32_64 => 5,
        Opcode::Jbe_rel32_64 => 6,
        Opcode::Ja_rel32_64 => 7,
        Opcode::Js_rel32_64 => 8,
        Opcode::Jns_rel32_64 => 9,
        Opcode::Jp_rel32_64 => 10,
        Opcode::Jnp_rel32_64 => 11,
        Opcode::Jl_rel32_64 => 12,
        Opcode::Jge_rel32_64 => 13,
        Opcode::Jle_rel32_64 => 14,
        Opcode::Jg_rel32_64 => 15,
        _ => system::fatal(format_args!(
            "the branch at {:#x} is of an unknown kind",
            branch.ip()
        )),
    };
    [0x0f, 0x80 | number]
}

/// Writes the control flow of `block`, whose translation is in the cache already so that it can be linked to.
pub(super) fn emit(engine: &mut Engine, assembler: &mut Assembler, block: &Block, pointer: Gpr) {
    let end = End {
        instructions: &block.instructions,
        terminated: block.terminated,
        at: block.end,
    };
    leave(engine, assembler, Mode::Recorded, &end, Vec::new(), pointer);
}

/// Writes the control flow of a bare block. `exits` are its branches to elsewhere before its end.
pub(super) fn emit_bare(
    engine: &mut Engine,
    assembler: &mut Assembler,
    end: &End<'_>,
    exits: Vec<(Rel32, u64)>,
) {
    leave(engine, assembler, Mode::Bare, end, exits, NO_POINTER);
}

fn leave(
    engine: &mut Engine,
    assembler: &mut Assembler,
    mode: Mode,
    end: &End<'_>,
    exits: Vec<(Rel32, u64)>,
    pointer: Gpr,
) {
    let mut tail = Tail {
        mode,
        pointer: (pointer != NO_POINTER).then_some(pointer),
        exits,
        constants: Vec::new(),
    };
    if end.terminated
        && let Some(last) = end.instructions.last()
    {
        terminator(engine, assembler, &mut tail, end.instructions, last, pointer);
    } else {
        jump(assembler, &mut tail, end.at);
    }
    for (place, value) in tail.constants {
        assembler.align(8, 0);
        assembler.lead_here(place);
        assembler.bytes(&value.to_le_bytes());
    }
    for (branch, target) in tail.exits {
        stub(engine, assembler, branch, target, mode, tail.pointer);
    }
}

/// Goes on at `target`.
pub(super) fn leave_for(engine: &mut Engine, assembler: &mut Assembler, target: u64, pointer: Gpr) {
    let branch = assembler.branch_patchable(&JMP);
    stub(engine, assembler, branch, target, Mode::Recorded, Some(pointer));
}

/// Where `branch` leads until there is a translation of `target`.
fn stub(
    engine: &mut Engine,
    assembler: &mut Assembler,
    branch: Rel32,
    target: u64,
    mode: Mode,
    pointer: Option<Gpr>,
) {
    let stub = assembler.position();
    let index = engine.cache.new_exit(Exit {
        cause: Cause::Branch,
        mode,
        target,
        patch: branch.0,
        stub,
        pointer,
    });
    assembler.lead(branch, stub);
    if let Some(pointer) = pointer {
        assembler.load_state(pointer, offset::SCRATCH_0);
    }
    assembler.leave(index as i32);
    engine.cache.link_when_closed(index);
}

fn jump(assembler: &mut Assembler, tail: &mut Tail, target: u64) {
    tail.exits.push((assembler.branch_patchable(&JMP), target));
}

fn push(assembler: &mut Assembler, tail: &mut Tail, value: u64) {
    tail.constants.push((assembler.branch(&PUSH_RIP), value));
}

fn note_last(engine: &mut Engine, assembler: &Assembler, last: &Instruction) {
    engine
        .cache
        .places
        .note(assembler.position(), last.ip(), State::Last);
}

/// From here on all registers are the target's.
fn hand_back(assembler: &mut Assembler, tail: &mut Tail) {
    if let Some(pointer) = tail.pointer.take() {
        assembler.load_state(pointer, offset::SCRATCH_0);
    }
}

fn terminator(
    engine: &mut Engine,
    assembler: &mut Assembler,
    tail: &mut Tail,
    block: &[Instruction],
    last: &Instruction,
    pointer: Gpr,
) {
    note_last(engine, assembler, last);
    match last.flow_control() {
        FlowControl::UnconditionalBranch => jump(assembler, tail, last.near_branch_target()),
        FlowControl::ConditionalBranch if last.is_jcc_short_or_near() => {
            let branch = assembler.branch_patchable(&conditional(last));
            tail.exits.push((branch, last.near_branch_target()));
            jump(assembler, tail, last.next_ip());
        }
        FlowControl::ConditionalBranch => {
            // loop, jrcxz: there are short forms only.
            // SAFETY: decoded from there a moment ago.
            let opcode = unsafe { std::slice::from_raw_parts(last.ip() as *const u8, last.len() - 1) };
            let taken = assembler.branch_short(opcode);
            jump(assembler, tail, last.next_ip());
            assembler.lead_short_here(taken);
            jump(assembler, tail, last.near_branch_target());
        }
        FlowControl::Return => {
            let dropped = if last.op_count() > 0 {
                i32::from(last.immediate16())
            } else {
                0
            };
            let temporaries = spill_temporaries(assembler, pointer);
            note_last(engine, assembler, last);
            assembler.load(temporaries[0], 4, 0);
            assembler.lea(4, 4, 8 + dropped);
            look_up_quickly(assembler, pointer, temporaries);
        }
        FlowControl::Call if last.mnemonic() == Mnemonic::Call => {
            push(assembler, tail, last.next_ip());
            jump(assembler, tail, last.near_branch_target());
        }
        FlowControl::Call if last.mnemonic() == Mnemonic::Syscall => {
            hand_back(assembler, tail);
            system_call(engine, assembler, tail, last);
        }
        FlowControl::IndirectBranch if flags::enters_function(block) => {
            go_on_as_before(engine, assembler, tail, last);
            let temporaries = spill_temporaries(assembler, pointer);
            note_last(engine, assembler, last);
            load_target(engine, assembler, last, temporaries[0]);
            look_up_quickly(assembler, pointer, temporaries);
        }
        FlowControl::IndirectBranch => {
            assembler.store_state(offset::RCX, RCX);
            note_last(engine, assembler, last);
            load_target(engine, assembler, last, RCX);
            look_up(assembler, pointer);
        }
        FlowControl::IndirectCall => {
            go_on_as_before(engine, assembler, tail, last);
            let temporaries = spill_temporaries(assembler, pointer);
            note_last(engine, assembler, last);
            load_target(engine, assembler, last, temporaries[0]);
            push(assembler, tail, last.next_ip());
            look_up_quickly(assembler, pointer, temporaries);
        }
        FlowControl::XbeginXabortXend if last.mnemonic() == Mnemonic::Xbegin && has_transactions() => {
            hand_back(assembler, tail);
            // A transaction may always abort; this one does so at once, for no reason that asks for a retry.
            assembler.bytes(&[0xb8, 0, 0, 0, 0]); // mov eax, 0
            jump(assembler, tail, last.near_branch_target());
        }
        _ => {
            hand_back(assembler, tail);
            note_last(engine, assembler, last);
            // Whatever it is, it does not fall through: it faults or traps, as it does natively.
            // SAFETY: decoded from there a moment ago.
            assembler.bytes(unsafe { std::slice::from_raw_parts(last.ip() as *const u8, last.len()) });
            // A trap is told of behind its instruction.
            engine
                .cache
                .places
                .note(assembler.position(), last.next_ip(), State::Settled);
            jump(assembler, tail, last.next_ip());
        }
    }
}

/// Whether `xbegin` is an instruction of this CPU; where it is not, it faults as it does natively.
fn has_transactions() -> bool {
    const RTM: u32 = 1 << 11;
    std::arch::x86_64::__cpuid_count(7, 0).ebx & RTM != 0
}

/// Where a jump or call through a variable leads now: the variable's address and its value.
fn through_variable(engine: &mut Engine, last: &Instruction) -> Option<(u64, u64)> {
    if !last.is_ip_rel_memory_operand() || last.has_segment_prefix() {
        return None;
    }
    let variable = last.memory_displacement64();
    let mut word = [0; 8];
    let is_read = engine.maps.read(variable, &mut word);
    is_read.then(|| (variable, u64::from_le_bytes(word)))
}

/// Whether a block is a linker's stub whose function the dynamic linker has yet to find: the variable leads back to the stub's
/// module, where a number is pushed. Its translation serves once.
pub(super) fn is_unbound(engine: &mut Engine, block: &[Instruction]) -> bool {
    if !flags::enters_function(block) {
        return false;
    }
    let variable = block.last().and_then(|last| through_variable(engine, last));
    let Some((_, target)) = variable else { return false };
    let Some(code) = engine.maps.find(target).and_then(Code::of) else {
        return false;
    };
    let first = code.decode(target);
    let pushes = match first {
        Some(mark) if mark.mnemonic() == Mnemonic::Endbr64 => code.decode(mark.next_ip()),
        first => first,
    };
    pushes.is_some_and(|push| push.code() == Opcode::Pushq_imm32)
}

/// Linkers' variables hardly ever change: goes straight to where a jump or call through one leads now, as long as the variable is
/// the same; what follows is for when it is not. Flags are lost. It is compared by halves, as no register is free:
/// two functions have the same lower half only if they are four gigabytes apart to the byte.
fn go_on_as_before(engine: &mut Engine, assembler: &mut Assembler, tail: &mut Tail, last: &Instruction) {
    let Some((variable, target)) = through_variable(engine, last) else {
        return;
    };
    if !assembler.reaches(variable) {
        return;
    }
    let mut other = [Rel32(0); 2];
    for (half, other) in (0..).zip(&mut other) {
        note_last(engine, assembler, last);
        assembler.compare_place(variable + 4 * half, (target >> (32 * half)) as u32);
        *other = assembler.branch(&JNE);
    }
    if last.flow_control() == FlowControl::IndirectCall {
        note_last(engine, assembler, last);
        push(assembler, tail, last.next_ip());
    }
    jump(assembler, tail, target);
    for other in other {
        assembler.lead_here(other);
    }
}

/// Loads the target of an indirect branch into a register that is spilled.
fn load_target(engine: &mut Engine, assembler: &mut Assembler, last: &Instruction, to: Gpr) {
    if last.op0_kind() == OpKind::Register {
        assembler.copy(to, last.op0_register().number() as u8);
        return;
    }
    if last.is_ip_rel_memory_operand() {
        assembler.constant(to, last.memory_displacement64());
        assembler.load(to, to, 0);
        return;
    }
    let segment = if last.has_segment_prefix() {
        last.segment_prefix()
    } else {
        Register::None
    };
    let memory = MemoryOperand::new(
        last.memory_base(),
        last.memory_index(),
        last.memory_index_scale(),
        last.memory_displacement64().cast_signed(),
        last.memory_displ_size(),
        false,
        segment,
    );
    let load = Instruction::with2(Opcode::Mov_r64_rm64, GPRS[usize::from(to)], memory).expect("a load");
    let encoder = &mut engine
        .translator
        .as_mut()
        .expect("made before the first translation")
        .encoder;
    let result = encoder.encode(&load, assembler.position() as u64);
    let bytes = encoder.take_buffer();
    if let Err(error) = result {
        system::fatal(format_args!(
            "cannot re-encode the branch at {:#x}: {error}",
            last.ip()
        ));
    }
    assembler.bytes(&bytes);
}

/// Two registers for a look-up, spilled. Not rax and its like: what a function returns should not wait for memory.
fn spill_temporaries(assembler: &mut Assembler, pointer: Gpr) -> [Gpr; 2] {
    let temporaries = match pointer {
        R10 => [R11, R9],
        R11 => [R10, R9],
        _ => [R11, R10],
    };
    assembler.store_state(offset::RCX, temporaries[0]);
    assembler.store_state(offset::RDX, temporaries[1]);
    temporaries
}

/// Goes to the translation of the target in the first of two spilled registers. Flags are lost.
fn look_up_quickly(assembler: &mut Assembler, pointer: Gpr, temporaries: [Gpr; 2]) {
    let [target, place] = temporaries;
    let table = i32::from(pointer) * LOOKUP_BYTES as i32;
    let restore = |assembler: &mut Assembler| {
        assembler.load_state(target, offset::RCX);
        assembler.load_state(place, offset::RDX);
    };
    assembler.store_state(offset::TARGET, target);
    assembler.low_word(place, target);
    assembler.shift_left(place, LOOKUP_ENTRY_SHIFT);
    assembler.add_state(place, offset::LOOKUP);
    assembler.add(target, place, table);
    let miss = assembler.branch(&JNE);
    assembler.load(place, place, table + 8);
    assembler.store_state(offset::NEXT, place);
    restore(assembler);
    assembler.jump_state(offset::NEXT);
    assembler.lead_here(miss);
    restore(assembler);
    miss_indirect(assembler, pointer);
}

/// Leaves for the dispatcher because a look-up found nothing.
fn miss_indirect(assembler: &mut Assembler, pointer: Gpr) {
    if pointer != NO_POINTER {
        assembler.load_state(pointer, offset::SCRATCH_0);
    }
    assembler.store_state_immediate(offset::CAME_WITH, i32::from(pointer));
    assembler.leave(EXIT_INDIRECT as i32);
}

/// Goes to the translation of the target in rcx; the target's rcx is spilled. The hit path touches no flags: `lea` adds
/// the negated tag, `jrcxz` tests the sum.
fn look_up(assembler: &mut Assembler, pointer: Gpr) {
    let table = i32::from(pointer) * LOOKUP_BYTES as i32;
    assembler.store_state(offset::RAX, RAX);
    assembler.store_state(offset::RDX, RDX);
    assembler.store_state(offset::TARGET, RCX);
    assembler.low_word(RAX, RCX);
    assembler.load_state(RDX, offset::LOOKUP);
    assembler.bytes(&[0x48, 0x8d, 0x14, 0xc2]); // lea rdx, [rdx + rax*8]
    assembler.bytes(&[0x48, 0x8d, 0x14, 0xc2]); // entries are 16 bytes long
    assembler.load(RAX, RDX, table);
    assembler.bytes(&[0x48, 0x8d, 0x0c, 0x01]); // lea rcx, [rcx + rax]
    let hit = assembler.branch_short(&JRCXZ);
    restore_looked_up(assembler);
    miss_indirect(assembler, pointer);
    assembler.lead_short_here(hit);
    assembler.load(RAX, RDX, table + 8);
    assembler.store_state(offset::NEXT, RAX);
    restore_looked_up(assembler);
    assembler.jump_state(offset::NEXT);
}

fn restore_looked_up(assembler: &mut Assembler) {
    assembler.load_state(RAX, offset::RAX);
    assembler.load_state(RDX, offset::RDX);
    assembler.load_state(RCX, offset::RCX);
}

/// A system call: the dispatcher looks at it first and goes on at one of two places. Both give rcx the value that the
/// kernel would have left there.
fn system_call(engine: &mut Engine, assembler: &mut Assembler, tail: &mut Tail, last: &Instruction) {
    let next = last.next_ip();
    let to_dispatcher = assembler.branch(&JMP);
    let mut call = |assembler: &mut Assembler| {
        let at = assembler.position();
        // A call that is interrupted is begun again or has returned.
        engine.cache.places.note(at, last.ip(), State::Settled);
        assembler.bytes(&[0x0f, 0x05]); // syscall
        engine
            .cache
            .places
            .note(assembler.position(), next, State::Settled);
        assembler.store_state_immediate(offset::IN_KERNEL, 0);
        assembler.constant(RCX, next);
        at
    };
    let plain = call(assembler);
    jump(assembler, tail, next);
    let watched = call(assembler);
    let mode = tail.mode;
    let after = engine
        .cache
        .new_exit(Exit::of(Cause::AfterSystemCall, mode, next));
    assembler.leave(after as i32);
    assembler.lead_here(to_dispatcher);
    let cause = Cause::SystemCall { plain, watched };
    let before = engine.cache.new_exit(Exit::of(cause, mode, next));
    assembler.leave(before as i32);
}
