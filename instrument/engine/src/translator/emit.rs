//! The body of a translation: the recording and the copied instructions.
//!
//! ```text
//! [compare the code, where it may be rewritten unnoticed]      (stale → dispatcher)
//! [tell of a probed function's entry]
//! spill r; r = head; [r >= limit? → dispatcher]; [r] = block id; [r + …] = roots
//! instructions, snapshots between them, the check for room where flags are dead
//! head = r + record; restore r; control flow
//! ```
//! `head` moves once per execution, behind a complete record: a fault or a `longjmp` out of the block leaves no trace of
//! its unfinished record.

use iced_x86::{Code as Opcode, Instruction, MemoryOperand, Register};

use super::assembler::{Assembler, Gpr, RAX, RCX, Rel32};
use super::block::Block;
use super::code::Code;
use super::operand::Snapshot;
use super::{affine, control, flags};
use crate::cache::{Cause, Exit, Place};
use crate::dispatch::{EXIT_CHUNK_FULL, Engine};
use crate::system;
use crate::thread::offset;

/// Loops are aligned to it.
const LOOP_ALIGNMENT: usize = 32;
const JAE: [u8; 2] = [0x0f, 0x83];
const JNE: [u8; 2] = [0x0f, 0x85];

const GPRS: [Register; 16] = [
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
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Straight,
    /// A loop onto itself with a record for each iteration.
    Loop,
    /// A loop onto itself with one record; `pointer` counts the iterations.
    Affine,
}

impl Plan {
    /// `None` if too few registers are free.
    pub(super) fn of(code: &Code, block: &Block) -> Option<Self> {
        let shape = if affine::is_affine(block) {
            Shape::Affine
        } else if affine::is_self_loop(block) && block.recording.after.is_empty() {
            Shape::Loop
        } else {
            Shape::Straight
        };
        let dead = flags::dead_before(code, &block.instructions, block.end);
        let is_free = |register: &Gpr| block.used & 1 << register == 0;
        let found = match shape {
            Shape::Affine => dead.first().copied().unwrap_or(false).then_some(0),
            Shape::Straight | Shape::Loop => dead.iter().position(|&dead| dead),
        };
        let (check, pointer) = match found {
            Some(index) => (Check::Before(index), (0..16).rev().find(is_free)?),
            None => (Check::KeepingFlags, (1..16).rev().find(is_free)?),
        };
        Some(Self {
            pointer,
            check,
            shape,
        })
    }

    pub(super) fn is_affine(&self) -> bool {
        self.shape == Shape::Affine
    }
}

/// Writes the translation of `block`, whose site entry is `id`; returns where it begins.
pub(super) fn emit(engine: &mut Engine, code: &Code, block: &Block, plan: &Plan, id: u32) -> usize {
    let mut emitter = Emitter {
        assembler: engine.cache.open(block.start),
        engine,
        full: Vec::new(),
    };
    let entry = emitter.assembler.position();
    if code.is_rewritable {
        emitter.compare_code(code, block);
    }
    if emitter.engine.entries.contains(block.start) {
        emitter.tell_entry(block.start);
    }
    emitter.record(block, plan, id);
    let pointer = plan.pointer;
    emitter.assembler.load_state(pointer, offset::SCRATCH_0);
    emitter.engine.cache.insert(block.start..block.end, entry);
    let Emitter {
        mut assembler,
        full,
        engine,
    } = emitter;
    control::emit(engine, &mut assembler, block);
    for (branch, back) in full {
        run_out(&mut assembler, pointer, branch, back);
    }
    engine.cache.close(&assembler);
    entry
}

struct Emitter<'a> {
    assembler: Assembler,
    engine: &'a mut Engine,
    /// Branches taken when the record has no room, and where they come back to.
    full: Vec<(Rel32, usize)>,
}

impl Emitter<'_> {
    fn record(&mut self, block: &Block, plan: &Plan, id: u32) {
        let pointer = plan.pointer;
        let recording = &block.recording;
        let record_bytes = 8 + i32::from(recording.words) * 8;
        self.assembler.store_state(offset::SCRATCH_0, pointer);
        self.assembler.load_state(pointer, offset::HEAD);
        if plan.shape == Shape::Loop {
            self.assembler.align(LOOP_ALIGNMENT, 0);
        }
        let mut top = self.assembler.position();
        match plan.check {
            Check::KeepingFlags => {
                self.assembler.store_state(offset::SCRATCH_1, RAX);
                self.assembler.save_flags();
                self.check(pointer);
                self.assembler.restore_flags();
                self.assembler.load_state(RAX, offset::SCRATCH_1);
            }
            Check::Before(0) => self.check(pointer),
            Check::Before(_) => {}
        }
        self.assembler.store_immediate(pointer, id.cast_signed());
        for &snapshot in &recording.at_entry {
            self.snapshot(pointer, snapshot);
        }
        if plan.shape == Shape::Affine {
            self.assembler.zero(pointer);
            self.assembler.align(LOOP_ALIGNMENT, 0);
            top = self.assembler.position();
        }
        let last = block.instructions.len() - usize::from(block.terminated);
        for (index, instruction) in block.instructions.iter().enumerate() {
            if index > 0 && plan.check == Check::Before(index) {
                self.check(pointer);
            }
            for &(at, snapshot) in &recording.before {
                if at == index {
                    self.snapshot(pointer, snapshot);
                }
            }
            // The last one's effect comes with the control flow.
            if index < last {
                let place = Place {
                    address: instruction.ip(),
                    pointer: Some(pointer),
                };
                self.engine.cache.note_place(self.assembler.position(), place);
                self.copy(instruction);
            }
            for &(at, snapshot) in &recording.after {
                if at == index {
                    self.snapshot(pointer, snapshot);
                }
            }
        }
        match plan.shape {
            Shape::Straight => {
                self.assembler.lea(pointer, pointer, record_bytes);
                self.assembler.store_state(offset::HEAD, pointer);
            }
            Shape::Loop => {
                self.assembler.lea(pointer, pointer, record_bytes);
                self.loop_back(block, top);
                self.assembler.store_state(offset::HEAD, pointer);
            }
            Shape::Affine => {
                self.assembler.lea(pointer, pointer, 1);
                self.loop_back(block, top);
                let record = if pointer == RCX { RAX } else { RCX };
                self.assembler.store_state(offset::SCRATCH_1, record);
                self.assembler.load_state(record, offset::HEAD);
                self.assembler.store(record, record_bytes, pointer);
                self.assembler.lea(record, record, record_bytes + 8);
                self.assembler.store_state(offset::HEAD, record);
                self.assembler.load_state(record, offset::SCRATCH_1);
            }
        }
    }

    fn loop_back(&mut self, block: &Block, top: usize) {
        let last = block.instructions.last().expect("a loop has a branch");
        let branch = self.assembler.branch(&control::conditional(last));
        self.assembler.lead(branch, top);
    }

    /// Looks whether a record has room at the pointer. Changes flags.
    fn check(&mut self, pointer: Gpr) {
        self.assembler.compare_state(pointer, offset::LIMIT);
        let branch = self.assembler.branch(&JAE);
        self.full.push((branch, self.assembler.position()));
    }

    fn snapshot(&mut self, pointer: Gpr, snapshot: Snapshot) {
        let at = |slot: u16| 8 + i32::from(slot) * 8;
        match snapshot {
            Snapshot::General { register, slot } => self.assembler.store(pointer, at(slot), register),
            Snapshot::Wide { register, slot } => {
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
                } else {
                    Opcode::Movdqu_xmmm128_xmm
                };
                let memory = MemoryOperand::with_base_displ(GPRS[usize::from(pointer)], at(slot).into());
                let store = Instruction::with2(opcode, memory, register).expect("a store of a register");
                self.encode(&store)
                    .expect("a store near a base register can be encoded");
            }
            Snapshot::Tiles { slot } => {
                let memory = MemoryOperand::with_base_displ(GPRS[usize::from(pointer)], at(slot).into());
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
    fn copy(&mut self, instruction: &Instruction) {
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
        if let Err(error) = self.encode(&absolute) {
            system::fatal(format_args!(
                "cannot re-encode the instruction at {:#x}: {error}",
                instruction.ip()
            ));
        }
        self.assembler.load_state(base, offset::SCRATCH_1);
    }

    /// Compares the code with what was translated; leaves for the dispatcher if it has changed.
    fn compare_code(&mut self, code: &Code, block: &Block) {
        let exit = self.engine.cache.new_exit(Exit {
            cause: Cause::Stale,
            target: block.start,
            patch: 0,
            stub: 0,
        });
        self.assembler.store_state(offset::RAX, RAX);
        self.assembler.store_state(offset::RCX, RCX);
        self.assembler.store_state(offset::RDX, super::assembler::RDX);
        self.assembler.save_flags();
        self.assembler.constant(super::assembler::RDX, block.start);
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
        self.assembler.load_state(super::assembler::RDX, offset::RDX);
    }

    /// Tells the engine that a probed function is entered.
    fn tell_entry(&mut self, pc: u64) {
        let index = self.engine.cache.new_exit(Exit {
            cause: Cause::Enter { resume: 0 },
            target: pc,
            patch: 0,
            stub: 0,
        });
        self.assembler.leave(index as i32);
        let resume = self.assembler.position();
        self.engine.cache.set_cause(index, Cause::Enter { resume });
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
