//! What an instruction must be recorded as, from the registers before and after it: written after the manuals, not after
//! the engine.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::generate::{is_bit_test, is_prefetch};
use crate::lanes::{self, Lanes, Masking};
use crate::machine::{STACK, State};

/// One access: kind as the tests write it, address, bytes.
pub(crate) type Expected = (&'static str, u64, u64);

/// Accesses of one instruction.
pub(crate) fn accesses(
    instruction: &Instruction,
    before: &State,
    after: &State,
    lanes: &Lanes,
) -> Vec<Expected> {
    if instruction.is_string_instruction() {
        return string(instruction, before, after);
    }
    let mut accesses = implicit(instruction, before, after);
    let info = InstructionInfoFactory::new().info(instruction).clone();
    for operand in 0..instruction.op_count() {
        if instruction.op_kind(operand) != OpKind::Memory {
            continue;
        }
        let kind = match info.op_access(operand) {
            _ if is_prefetch(instruction) => "prefetch",
            OpAccess::Read | OpAccess::CondRead => "load",
            OpAccess::Write | OpAccess::CondWrite if is_non_temporal(instruction) => "nt",
            OpAccess::Write | OpAccess::CondWrite => "store",
            OpAccess::ReadWrite | OpAccess::ReadCondWrite => "rmw",
            _ => continue,
        };
        explicit(instruction, operand, kind, before, lanes, &mut accesses);
    }
    // What an instruction stores depends on what it loads.
    accesses.sort_by_key(|&(kind, _, _)| kind != "load");
    accesses
}

fn address(instruction: &Instruction, operand: u32, lane: usize, state: &State) -> u64 {
    instruction
        .virtual_address(operand, lane, |register, lane, bytes| {
            state.value(register, lane, bytes)
        })
        .expect("all registers have values")
}

fn explicit(
    instruction: &Instruction,
    operand: u32,
    kind: &'static str,
    state: &State,
    masking: &Lanes,
    accesses: &mut Vec<Expected>,
) {
    let size = instruction.memory_size();
    let bytes = size.size() as u64;
    // "If the ESP register is used as a base register, POP computes the address after it increments it."
    let popped =
        instruction.mnemonic() == Mnemonic::Pop && instruction.memory_base().full_register() == Register::RSP;
    let start = || address(instruction, operand, 0, state) + if popped { bytes } else { 0 };
    if instruction.is_vsib() {
        let element = size.element_size() as u64;
        let width = if instruction.is_vsib64() { 8 } else { 4 };
        let indices = instruction.memory_index().size() / width;
        let data = (0..instruction.op_count())
            .map(|place| instruction.op_register(place))
            .find(|register| register.is_vector_register())
            .map_or(64, |register| register.size());
        let lanes = indices.min(data / element as usize);
        for lane in 0..lanes {
            let is_active = if instruction.has_op_mask() {
                state.mask(instruction.op_mask().number()) >> lane & 1 != 0
            } else {
                let top = (lane + 1) * element as usize - 1;
                state.vector(instruction.op2_register().number())[top] >> 7 != 0
            };
            if is_active {
                accesses.push((kind, address(instruction, operand, lane, state), element));
            }
        }
        return;
    }
    if kind == "prefetch" {
        accesses.push((kind, start(), 1));
        return;
    }
    if is_bit_test(instruction) && instruction.op1_kind() == OpKind::Register {
        let register = instruction.op1_register();
        let value = state.general(register.full_register().number());
        let offset = match register.size() {
            2 => i64::from(value as i16),
            4 => i64::from(value as i32),
            _ => value.cast_signed(),
        };
        let units = offset.div_euclid(bytes.cast_signed() * 8);
        let address = start().wrapping_add_signed(units * bytes.cast_signed());
        accesses.push((kind, address, bytes));
        return;
    }
    if let Some(lane_bytes) = vector_mask(instruction) {
        let mask = state.vector(instruction.op1_register().number());
        let lanes = bytes as usize / lane_bytes;
        let active = |lane: usize| mask[(lane + 1) * lane_bytes - 1] >> 7 != 0;
        rows(kind, start(), lane_bytes as u64, lanes, active, accesses);
        return;
    }
    if !instruction.has_op_mask() {
        accesses.push((kind, start(), bytes));
        return;
    }
    let mask = state.mask(instruction.op_mask().number());
    match masking.of(instruction) {
        Masking::None if kind == "load" => accesses.push((kind, start(), bytes)),
        // A page that is not there makes it fault, but what the mask leaves out is not written.
        Masking::None => {
            let lane_bytes = size.element_size() as u64;
            let lanes = (bytes / lane_bytes) as usize;
            rows(
                kind,
                start(),
                lane_bytes,
                lanes,
                |lane| mask >> lane & 1 != 0,
                accesses,
            );
        }
        Masking::AnyLane => {
            if mask & low_bits(lanes::lanes(instruction)) != 0 {
                accesses.push((kind, start(), bytes));
            }
        }
        Masking::Compressed(lane_bytes) => {
            let active = u64::from((mask & low_bits((bytes / lane_bytes) as usize)).count_ones());
            if active > 0 {
                accesses.push((kind, start(), active * lane_bytes));
            }
        }
        Masking::Rows(lane_bytes) => {
            let lanes = (bytes / lane_bytes) as usize;
            rows(
                kind,
                start(),
                lane_bytes,
                lanes,
                |lane| mask >> lane & 1 != 0,
                accesses,
            );
        }
    }
}

/// `movdiri` goes past the caches too, though the manual does not call it a hint.
fn is_non_temporal(instruction: &Instruction) -> bool {
    instruction.op_code().is_non_temporal() || instruction.mnemonic() == Mnemonic::Movdiri
}

fn low_bits(bits: usize) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Pushes an access for each row of neighbouring active lanes.
pub(crate) fn rows(
    kind: &'static str,
    start: u64,
    lane_bytes: u64,
    lanes: usize,
    active: impl Fn(usize) -> bool,
    accesses: &mut Vec<Expected>,
) {
    let mut lane = 0;
    while lane < lanes {
        let first = lane;
        while lane < lanes && active(lane) {
            lane += 1;
        }
        if lane > first {
            let bytes = (lane - first) as u64 * lane_bytes;
            accesses.push((kind, start + first as u64 * lane_bytes, bytes));
        }
        lane += 1;
    }
}

fn vector_mask(instruction: &Instruction) -> Option<usize> {
    match instruction.mnemonic() {
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => Some(4),
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq => Some(8),
        _ => None,
    }
}

/// Accesses that no operand names.
fn implicit(instruction: &Instruction, before: &State, after: &State) -> Vec<Expected> {
    let low = |state: &State| state.general(STACK);
    let moved = low(before).wrapping_sub(low(after));
    match instruction.mnemonic() {
        Mnemonic::Push => vec![("store", low(after), moved)],
        Mnemonic::Pop if instruction.op0_register() == Register::RSP => vec![("load", low(before), 8)],
        Mnemonic::Pop if instruction.op0_register() == Register::SP => vec![("load", low(before), 2)],
        Mnemonic::Pop => vec![("load", low(before), moved.wrapping_neg())],
        Mnemonic::Leave => {
            let bytes = if instruction.op_code().operand_size() == 16 {
                2
            } else {
                8
            };
            vec![("load", before.general(5), bytes)]
        }
        Mnemonic::Enter => enter(instruction, before),
        Mnemonic::Xlatb => {
            let base = before.general(3);
            let pointer = match instruction.memory_base() {
                Register::EBX => base & 0xffff_ffff,
                _ => base,
            };
            let mut at = pointer.wrapping_add(before.general(0) & 0xff);
            if instruction.memory_base() == Register::EBX {
                at &= 0xffff_ffff;
            }
            vec![("load", at, 1)]
        }
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu => {
            let mask = if instruction.mnemonic() == Mnemonic::Maskmovq {
                before.mmx(instruction.op2_register().number())
            } else {
                before.vector(instruction.op2_register().number())[..16].to_vec()
            };
            let start = match instruction.op0_kind() {
                OpKind::MemorySegEDI => before.general(7) & 0xffff_ffff,
                _ => before.general(7),
            };
            let mut accesses = Vec::new();
            rows(
                "nt",
                start,
                1,
                mask.len(),
                |lane| mask[lane] >> 7 != 0,
                &mut accesses,
            );
            accesses
        }
        Mnemonic::Movdir64b => {
            let register = instruction.op0_register();
            let to = before.general(register.full_register().number());
            let to = if register.is_gpr32() { to & 0xffff_ffff } else { to };
            vec![("nt", to, 64)]
        }
        _ => Vec::new(),
    }
}

/// Intel SDM, "ENTER": pushes the frame pointer, copies the enclosing frames' pointers, pushes the new frame's.
fn enter(instruction: &Instruction, before: &State) -> Vec<Expected> {
    let bytes: u64 = if instruction.op_code().operand_size() == 16 {
        2
    } else {
        8
    };
    let level = u64::from(instruction.immediate8_2nd() & 31);
    let mut stack = before.general(STACK) - bytes;
    let mut frame = before.general(5);
    let mut accesses = vec![("store", stack, bytes)];
    for _ in 1..level {
        frame = frame.wrapping_sub(bytes);
        stack -= bytes;
        accesses.push(("load", frame, bytes));
        accesses.push(("store", stack, bytes));
    }
    if level > 0 {
        accesses.push(("store", stack - bytes, bytes));
    }
    accesses
}

/// A string instruction, repeated or not: elements from the pointers on, upwards or downwards.
fn string(instruction: &Instruction, before: &State, after: &State) -> Vec<Expected> {
    let bytes = instruction.memory_size().size() as u64;
    let operands = (0..instruction.op_count())
        .filter_map(|operand| match instruction.op_kind(operand) {
            OpKind::MemorySegRSI | OpKind::MemorySegESI => Some(6),
            OpKind::MemoryESRDI | OpKind::MemoryESEDI => Some(7),
            _ => None,
        })
        .collect::<Vec<usize>>();
    let narrow = (0..instruction.op_count()).any(|operand| {
        matches!(
            instruction.op_kind(operand),
            OpKind::MemorySegESI | OpKind::MemoryESEDI
        )
    });
    let down = before.flags() & 0x400 != 0;
    let mask = if narrow { 0xffff_ffff } else { u64::MAX };
    let pointer = operands[0];
    let went = after.general(pointer).wrapping_sub(before.general(pointer)) & mask;
    let total = if down { went.wrapping_neg() & mask } else { went };
    let stores = matches!(
        instruction.mnemonic(),
        Mnemonic::Movsb
            | Mnemonic::Movsw
            | Mnemonic::Movsd
            | Mnemonic::Movsq
            | Mnemonic::Stosb
            | Mnemonic::Stosw
            | Mnemonic::Stosd
            | Mnemonic::Stosq
    );
    let mut accesses = Vec::new();
    for &number in operands.iter().filter(|_| total > 0) {
        let kind = if number == 7 && stores { "store" } else { "load" };
        let start = before.general(number) & mask;
        let low = if down { start + bytes - total } else { start };
        accesses.push((kind, low, total));
    }
    accesses.sort_by_key(|&(kind, _, _)| kind != "load");
    accesses
}
