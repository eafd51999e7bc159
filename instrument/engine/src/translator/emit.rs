//! The body of a translation: the recording and the copied instructions.
//!
//! ```text
//! [compare the code, where it may be rewritten unnoticed]      (stale → dispatcher)
//! [tell of a probed function's entry]
//! spill r; r = head
//! warm:  [r >= limit? → dispatcher]; [r] = block id
//! instructions, snapshots between them, the check for room where flags are dead
//! r += record; head = r; control flow
//! side exit: [r] = id of the part that was executed; r += its record; head = r; control flow
//! ```
//! A loop:
//!
//! ```text
//! spill r; r = head
//! warm:  [r >= limit? → dispatcher]; [r] = block id; header; r += its size, or 0 if no words follow
//! top:   [r >= limit? → close; warm]
//! instructions and snapshots; r += the iteration's words, or 1; branch to top
//! close; control flow
//! side exit: r += the words of the part that was executed; close, with its number; control flow
//! close: [head + header] = r, or r - head - header; head = r = end of the record
//! ```
//! `head` moves once per record, behind a complete one: a fault or a `longjmp` out of the block leaves no trace of its
//! unfinished record.

use std::ops::Range;

use iced_x86::{Code as Opcode, EncodingKind, Instruction, MemoryOperand, Register};

use super::assembler::{Assembler, Gpr, RAX, RCX, RDX, Rel32};
use super::block::Block;
use super::code::Code;
use super::layout::{self, Layout, Snapshot};
use super::operand::Source;
use super::site::Published;
use super::{control, flags};
use crate::cache::{Cause, Entry, Exit, Mode};
use crate::dispatch::{EXIT_CHUNK_FULL, Engine};
use crate::place::{Body, Shape, State};
use crate::ring::{MARK_BYTES, MARK_HEAD};
use crate::system;
use crate::thread::offset;

/// Loops are aligned to it.
const LOOP_ALIGNMENT: usize = 32;
const JAE: [u8; 2] = [0x0f, 0x83];
const JNE: [u8; 2] = [0x0f, 0x85];
const JMP: [u8; 1] = [0xe9];

pub(super) const GPRS: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Where the block looks whether its record has room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Before this instruction, where all flags are dead.
    Before(usize),
    /// At the start, keeping the flags in rax, which is spilled.
    KeepingFlags,
}

/// How a block is recorded.
pub(super) struct Plan {
    /// Holds the record pointer.
    pointer: Gpr,
    check: Check,
    /// The block branches back to its start without leaving this record, or a straight one with the pointer at hand.
    repeats: bool,
    pub(super) layout: Layout,
}

impl Plan {
    /// `None` if too few registers are free. The record pointer is in `preferred` if that is one of them.
    pub(super) fn of(code: &Code, block: &Block, preferred: Option<Gpr>) -> Option<Self> {
        let dead = flags::first_dead(code, block);
        let repeats = layout::is_self_loop(block) && !block.recording.has_after();
        let mut layout = Layout::of(block, repeats);
        if layout.iteration_words > 0 && dead != Some(0) {
            // Every iteration looks for room, and could not do so at its start.
            layout = Layout::of(block, false);
        }
        let is_free = |register: &Gpr| block.used & 1 << register == 0;
        let (check, lowest) = match dead.filter(|&index| index == 0 || !layout.is_loop) {
            Some(index) => (Check::Before(index), RAX),
            None => (Check::KeepingFlags, RAX + 1),
        };
        let pointer = preferred
            .filter(|register| *register >= lowest && is_free(register))
            .or_else(|| (lowest..16).rev().find(is_free))?;
        Some(Self {
            pointer,
            check,
            repeats,
            layout,
        })
    }
}

/// Writes the translation of `block`, published as `published`; returns where it begins.
pub(super) fn emit(
    engine: &mut Engine,
    code: &Code,
    block: &Block,
    plan: &Plan,
    published: Published,
) -> usize {
    let mut emitter = Emitter::new(engine, block.start);
    let entry = emitter.assembler.position();
    emitter.note(block.start, State::Entry);
    let told = emitter.begin(code, block.start..block.end, Mode::Recorded);
    let is_checked = code.is_rewritable || told.is_some();
    emitter.engine.cache.places.note_body(Body {
        block: published.block,
        site: published.offset,
        pointer: plan.pointer,
        shape: match &plan.layout {
            layout if layout.is_affine() => Shape::Affine,
            layout if layout.is_loop => Shape::Loop,
            _ => Shape::Straight,
        },
        header_words: plan.layout.header_words,
        iteration_words: plan.layout.iteration_words,
        is_marked: block.acquires,
    });
    emitter.record(block, plan, published.block, entry, told, is_checked);
    let Emitter {
        mut assembler,
        full,
        engine,
    } = emitter;
    for (branch, back) in full {
        run_out(&mut assembler, plan.pointer, branch, back);
    }
    engine.cache.close(&assembler);
    entry
}

/// Writes a translation into the cache.
pub(super) struct Emitter<'a> {
    pub(super) assembler: Assembler,
    pub(super) engine: &'a mut Engine,
    /// Branches taken when the record has no room, and where they come back to.
    full: Vec<(Rel32, usize)>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(engine: &'a mut Engine, start: u64) -> Self {
        Self {
            assembler: engine.cache.open(start),
            engine,
            full: Vec::new(),
        }
    }

    /// What comes before a block: a comparison of code that may be rewritten, and what is told of a probed function's entry.
    /// Returns where that goes on, if there is one.
    pub(super) fn begin(&mut self, code: &Code, block: Range<u64>, mode: Mode) -> Option<usize> {
        if code.is_rewritable {
            self.compare_code(code, &block, mode);
        }
        let is_entry = self.engine.entries.contains(block.start);
        is_entry.then(|| self.tell_entry(block.start, mode))
    }

    pub(super) fn note(&mut self, address: u64, state: State) {
        self.engine
            .cache
            .places
            .note(self.assembler.position(), address, state);
    }

    /// The block behind its checks. Where there are any, control has to come through `entry`; `told` is where it goes on
    /// when a function's entry has been told.
    fn record(
        &mut self,
        block: &Block,
        plan: &Plan,
        id: u32,
        entry: usize,
        told: Option<usize>,
        is_checked: bool,
    ) {
        let pointer = plan.pointer;
        let layout = &plan.layout;
        let is_told = told.is_some();
        if !is_told {
            self.note(block.start, State::Entry);
        }
        self.assembler.store_state(offset::SCRATCH_0, pointer);
        self.assembler.load_state(pointer, offset::HEAD);
        let warm = self.assembler.position();
        if !is_told {
            self.note(block.start, State::Warm);
        }
        let at = Entry {
            entry,
            warm: (!is_checked).then_some((pointer, warm)),
            told,
        };
        if is_told || !control::is_unbound(self.engine, &block.instructions) {
            self.engine
                .cache
                .insert(Mode::Recorded, block.start..block.end, at);
        }
        let mut top = self.loop_top(plan.repeats && !layout.is_loop);
        self.check_at_start(plan);
        self.assembler.store_immediate(pointer, id.cast_signed());
        for &(register, slot) in &layout.header {
            self.assembler.store(pointer, slot_bytes(slot), register);
        }
        let mut out_of_room = None;
        if layout.is_affine() {
            self.assembler.zero(pointer);
        } else if layout.is_loop {
            self.assembler.lea(pointer, pointer, header_bytes(layout));
        }
        if layout.is_loop {
            top = self.loop_top(true);
        }
        if layout.iteration_words > 0 {
            self.assembler.compare_state(pointer, offset::LIMIT);
            out_of_room = Some(self.assembler.branch(&JAE));
        }
        if plan.repeats && block.instructions.len() == 1 {
            // Nothing but the branch: this is where an endless loop can be interrupted.
            self.note(block.start, State::Body);
        }
        let side_exits = self.body(block, plan);
        if plan.repeats {
            self.assembler.lea(pointer, pointer, iteration_step(layout));
            let last = block.instructions.last().expect("a loop has a branch");
            let back = self.assembler.branch(&control::branch(last));
            self.assembler.lead(back, top);
            if layout.is_loop {
                self.close_loop(plan, 0);
            } else {
                self.assembler.store_state(offset::HEAD, pointer);
            }
        } else {
            self.assembler
                .lea(pointer, pointer, slot_bytes(layout.header_words));
            self.assembler.store_state(offset::HEAD, pointer);
        }
        if block.acquires {
            self.mark(pointer);
        }
        control::emit(self.engine, &mut self.assembler, block, pointer);
        for (number, (exit, branch)) in block.exits.iter().zip(side_exits).enumerate() {
            self.assembler.lead_here(branch);
            self.side_exit(plan, id, number);
            if block.acquires {
                self.mark(pointer);
            }
            let target = block.instructions[exit.index].near_branch_target();
            control::leave_for(self.engine, &mut self.assembler, target, pointer);
        }
        if let Some(branch) = out_of_room {
            // A new record goes on where this one ends: the registers are those of the next iteration's start.
            self.assembler.lead_here(branch);
            self.close_loop(plan, 0);
            let again = self.assembler.branch(&JMP);
            self.assembler.lead(again, warm);
        }
    }

    fn loop_top(&mut self, is_top: bool) -> usize {
        if is_top {
            self.assembler.align(LOOP_ALIGNMENT, 0);
        }
        self.assembler.position()
    }

    fn check_at_start(&mut self, plan: &Plan) {
        match plan.check {
            Check::KeepingFlags => {
                self.assembler.store_state(offset::SCRATCH_1, RAX);
                self.assembler.save_flags();
                self.check(plan.pointer);
                self.assembler.restore_flags();
                self.assembler.load_state(RAX, offset::SCRATCH_1);
            }
            Check::Before(0) => self.check(plan.pointer),
            Check::Before(_) => {}
        }
    }

    /// The instructions but the terminator, whose effect comes with the control flow. Returns the side exits' branches.
    fn body(&mut self, block: &Block, plan: &Plan) -> Vec<Rel32> {
        let pointer = plan.pointer;
        let first_word = if plan.layout.is_loop { 0 } else { slot_bytes(0) };
        let mut snapshots = plan.layout.snapshots.iter().peekable();
        let mut side_exits = Vec::with_capacity(block.exits.len());
        let last = block.instructions.len() - usize::from(block.terminated);
        for (index, instruction) in block.instructions.iter().enumerate() {
            if index > 0 && plan.check == Check::Before(index) {
                self.check(pointer);
            }
            while let Some(snapshot) = snapshots.next_if(|snapshot| snapshot.is_before(index)) {
                self.snapshot(pointer, first_word, snapshot, instruction);
            }
            if block
                .exits
                .get(side_exits.len())
                .is_some_and(|exit| exit.index == index)
            {
                side_exits.push(self.assembler.branch(&control::branch(instruction)));
            } else if index < last {
                let told = index == 0 && self.engine.entries.contains(block.start);
                self.note(instruction.ip(), if told { State::Told } else { State::Body });
                self.copy(instruction);
            }
            while let Some(snapshot) = snapshots.next_if(|snapshot| snapshot.index == index) {
                self.snapshot(pointer, first_word, snapshot, instruction);
            }
        }
        side_exits
    }

    /// What a side exit does before control leaves.
    fn side_exit(&mut self, plan: &Plan, id: u32, number: usize) {
        let pointer = plan.pointer;
        let words = plan.layout.exit_words[number];
        if plan.layout.is_loop {
            if words > 0 {
                self.assembler.lea(pointer, pointer, i32::from(words) * 8);
            }
            self.close_loop(plan, number as u32 + 1);
        } else {
            let part = id + 1 + number as u32;
            self.assembler.store_immediate(pointer, part.cast_signed());
            self.assembler.lea(pointer, pointer, slot_bytes(words));
            self.assembler.store_state(offset::HEAD, pointer);
        }
    }

    /// Completes a loop's record and leaves the pointer behind it; `exit` is 0 or one more than the number of the side exit.
    fn close_loop(&mut self, plan: &Plan, exit: u32) {
        let pointer = plan.pointer;
        let layout = &plan.layout;
        let other = if pointer == RCX { RAX } else { RCX };
        let count = slot_bytes(layout.header_words);
        self.assembler.store_state(offset::SCRATCH_1, other);
        self.assembler.load_state(other, offset::HEAD);
        if exit > 0 {
            self.assembler.store_immediate_dword(other, 4, exit);
        }
        if layout.is_affine() {
            self.assembler.store(other, count, pointer);
            self.assembler.lea(other, other, header_bytes(layout));
            self.assembler.store_state(offset::HEAD, other);
        } else {
            // Flags are the target's: pointer - (head + header) = pointer + !head + 1 - header.
            self.assembler.not(other);
            self.assembler.lea_sum(other, pointer, 1 - header_bytes(layout));
            self.assembler.store_state(offset::SCRATCH_2, pointer);
            self.assembler.load_state(pointer, offset::HEAD);
            self.assembler.store(pointer, count, other);
            self.assembler.load_state(other, offset::SCRATCH_2);
            self.assembler.store_state(offset::HEAD, other);
        }
        self.assembler.copy(pointer, other);
        self.assembler.load_state(other, offset::SCRATCH_1);
    }

    /// Begins a segment of the stream behind the record (`Thread::mark`): flags and all registers but the pointer's stay.
    fn mark(&mut self, pointer: Gpr) {
        let assembler = &mut self.assembler;
        let base = if matches!(pointer, RAX | RDX) {
            RCX
        } else {
            pointer
        };
        if base != pointer {
            assembler.store_state(offset::RCX, RCX);
            assembler.copy(base, pointer);
        }
        assembler.store_state(offset::RAX, RAX);
        assembler.store_state(offset::RDX, RDX);
        assembler.read_clock();
        assembler.store_immediate_dword(base, 0, MARK_HEAD as u32);
        assembler.store_immediate_dword(base, 4, (MARK_HEAD >> 32) as u32);
        assembler.store_dword(base, 8, RAX);
        assembler.store_dword(base, 12, RDX);
        assembler.load_state(RAX, offset::RAX);
        assembler.load_state(RDX, offset::RDX);
        if base != pointer {
            assembler.load_state(RCX, offset::RCX);
        }
        assembler.lea(pointer, pointer, MARK_BYTES as i32);
        assembler.store_state(offset::HEAD, pointer);
    }

    /// Looks whether a record has room at the pointer. Changes flags.
    fn check(&mut self, pointer: Gpr) {
        self.assembler.compare_state(pointer, offset::LIMIT);
        let branch = self.assembler.branch(&JAE);
        self.full.push((branch, self.assembler.position()));
    }

    /// Stores a need of `instruction` at its place behind `first_word`.
    fn snapshot(&mut self, pointer: Gpr, first_word: i32, snapshot: &Snapshot, instruction: &Instruction) {
        let at = first_word + i32::from(snapshot.offset_words) * 8;
        match snapshot.source {
            Source::General { register, .. } | Source::After { register } => {
                self.assembler.store(pointer, at, register);
            }
            Source::Wide(register) => {
                let opcode = if register.is_zmm() {
                    Opcode::EVEX_Vmovdqu64_zmmm512_k1z_zmm
                } else if register.is_k() {
                    Opcode::VEX_Kmovq_m64_kr
                } else if register.is_mm() {
                    Opcode::Movq_mmm64_mm
                } else if register.number() > 15 {
                    // Beyond the reach of VEX.
                    if register.is_ymm() {
                        Opcode::EVEX_Vmovdqu64_ymmm256_k1z_ymm
                    } else {
                        Opcode::EVEX_Vmovdqu64_xmmm128_k1z_xmm
                    }
                } else if register.is_ymm() {
                    Opcode::VEX_Vmovdqu_ymmm256_ymm
                } else if instruction.encoding() == EncodingKind::Legacy {
                    Opcode::Movdqu_xmmm128_xmm
                } else {
                    // CPUs have to switch between the encodings while the upper halves are in use.
                    Opcode::VEX_Vmovdqu_xmmm128_xmm
                };
                let memory = MemoryOperand::with_base_displ(GPRS[usize::from(pointer)], at.into());
                let store = Instruction::with2(opcode, memory, register).expect("a store of a register");
                self.encode(&store)
                    .expect("a store near a base register can be encoded");
            }
            Source::Tiles => {
                let memory = MemoryOperand::with_base_displ(GPRS[usize::from(pointer)], at.into());
                let store = Instruction::with1(Opcode::VEX_Sttilecfg_m512, memory).expect("a store");
                self.encode(&store)
                    .expect("a store near a base register can be encoded");
            }
        }
    }

    fn encode(&mut self, instruction: &Instruction) -> Result<(), iced_x86::IcedError> {
        let translator = self
            .engine
            .translator
            .as_mut()
            .expect("made before the first translation");
        let result = translator
            .encoder
            .encode(instruction, self.assembler.position() as u64);
        let bytes = translator.encoder.take_buffer();
        result?;
        self.assembler.bytes(&bytes);
        Ok(())
    }

    /// An instruction that does not branch.
    pub(super) fn copy(&mut self, instruction: &Instruction) {
        if matches!(instruction.code(), Opcode::Rdgsbase_r32 | Opcode::Rdgsbase_r64) {
            // The base is the engine's; the target's is 0 until it sets it, and then the thread is let go.
            self.assembler
                .constant(instruction.op0_register().full_register().number() as Gpr, 0);
            return;
        }
        if !instruction.is_ip_rel_memory_operand() {
            // SAFETY: decoded from there a moment ago; should the target unmap it meanwhile, it would take away the
            // code that it is about to run.
            let bytes =
                unsafe { std::slice::from_raw_parts(instruction.ip() as *const u8, instruction.len()) };
            self.assembler.bytes(bytes);
            return;
        }
        if self.encode(instruction).is_ok() {
            return;
        }
        // Out of reach: through a register that the instruction does not use.
        let translator = self
            .engine
            .translator
            .as_mut()
            .expect("made before the first translation");
        let used =
            translator
                .factory
                .info(instruction)
                .used_registers()
                .iter()
                .fold(1u16 << 4, |used, register| {
                    let register = register.register().full_register();
                    if register.is_gpr64() {
                        used | 1 << register.number()
                    } else {
                        used
                    }
                });
        let base = (0..16)
            .find(|&register| used & 1 << register == 0)
            .expect("no instruction uses all registers");
        let mut absolute = *instruction;
        absolute.set_memory_base(GPRS[usize::from(base)]);
        absolute.set_memory_displacement64(0);
        absolute.set_memory_displ_size(0);
        self.assembler.store_state(offset::SCRATCH_1, base);
        self.assembler.constant(base, instruction.memory_displacement64());
        self.note(instruction.ip(), State::Borrowed(base));
        if let Err(error) = self.encode(&absolute) {
            system::fatal(format_args!(
                "cannot re-encode the instruction at {:#x}: {error}",
                instruction.ip()
            ));
        }
        self.assembler.load_state(base, offset::SCRATCH_1);
    }

    /// Compares the code with what was translated; leaves for the dispatcher if it has changed.
    fn compare_code(&mut self, code: &Code, block: &Range<u64>, mode: Mode) {
        let exit = self
            .engine
            .cache
            .new_exit(Exit::of(Cause::Stale, mode, block.start));
        self.assembler.store_state(offset::RAX, RAX);
        self.assembler.store_state(offset::RCX, RCX);
        self.assembler.store_state(offset::RDX, RDX);
        self.assembler.save_flags();
        self.assembler.constant(RDX, block.start);
        let bytes = code.bytes(block.start, block.end - block.start);
        let mut stale = Vec::new();
        for (place, part) in bytes.chunks(8).enumerate() {
            // The last part is compared with bytes of the one before, where there are that many.
            let at = (place * 8).min(bytes.len().saturating_sub(8));
            if let Some(word) = bytes.get(at..at + 8) {
                let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                self.assembler.constant(RCX, word);
                // cmp [rdx + at], rcx
                self.assembler.bytes(&[0x48, 0x39, 0x8a]);
                self.assembler.bytes(&(at as u32).to_le_bytes());
                stale.push(self.assembler.branch(&JNE));
            } else {
                for (at, &byte) in part.iter().enumerate() {
                    // cmp byte ptr [rdx + at], byte
                    self.assembler.bytes(&[0x80, 0x7a, at as u8, byte]);
                    stale.push(self.assembler.branch(&JNE));
                }
            }
        }
        let unchanged = self.assembler.branch(&[0xe9]);
        for branch in stale {
            self.assembler.lead_here(branch);
        }
        self.restore_compared();
        self.assembler.leave(exit as i32);
        self.assembler.lead_here(unchanged);
        self.restore_compared();
    }

    fn restore_compared(&mut self) {
        self.assembler.restore_flags();
        self.assembler.load_state(RAX, offset::RAX);
        self.assembler.load_state(RCX, offset::RCX);
        self.assembler.load_state(RDX, offset::RDX);
    }

    /// Tells the engine that a probed function is entered. Returns where it goes on.
    fn tell_entry(&mut self, pc: u64, mode: Mode) -> usize {
        let index = self.engine.cache.new_exit(Exit::of(Cause::Enter, mode, pc));
        self.assembler.leave(index as i32);
        self.assembler.position()
    }
}

/// Where a slot lies in a record.
fn slot_bytes(slot: u16) -> i32 {
    8 + i32::from(slot) * 8
}

/// Of a loop's record: the first word, the header, the count.
fn header_bytes(layout: &Layout) -> i32 {
    slot_bytes(layout.header_words) + 8
}

/// By how much the pointer grows with each iteration.
fn iteration_step(layout: &Layout) -> i32 {
    match layout {
        layout if !layout.is_loop => slot_bytes(layout.header_words),
        layout if layout.is_affine() => 1,
        layout => i32::from(layout.iteration_words) * 8,
    }
}

/// Out of line: no room at the record pointer.
fn run_out(assembler: &mut Assembler, pointer: Gpr, branch: Rel32, back: usize) {
    assembler.lead_here(branch);
    assembler.store_state(offset::HEAD, pointer);
    // lea pointer, [rip + resume]
    let resume = assembler.branch(&[0x48 | pointer >> 3 << 2, 0x8d, 0x05 | (pointer & 7) << 3]);
    assembler.store_state(offset::RESUME, pointer);
    assembler.leave(EXIT_CHUNK_FULL as i32);
    assembler.lead_here(resume);
    assembler.load_state(pointer, offset::HEAD);
    let branch = assembler.branch(&[0xe9]);
    assembler.lead(branch, back);
}
