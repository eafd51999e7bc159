//! Random instructions: for every instruction that iced knows, bytes that decode to it and whose operands lie in the arena.

use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpCodeTableKind, OpKind, Register,
};

use crate::machine::{
    ARENA_BYTES, ARENA_START, FS_POINTER, HALF_POINTER, INDICES, POINTERS, STACK, WRAPPED_BASE, WRAPPED_INDEX,
};
use crate::random::Random;

/// Attempts at one instruction before it is left out: bytes that decode to something else are thrown away.
const ATTEMPTS: usize = 3000;
const LONGEST: usize = 15;

/// Out of place here: what differs from run to run, what the operating system reserves, what would end the program.
fn is_out_of_place(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        // They tell or change the trap flag.
        Pushf | Pushfd | Pushfq | Popf | Popfd | Popfq
        // They load control or state words from random memory.
        | Xrstor | Xrstor64 | Xrstors | Xrstors64 | Fxrstor | Fxrstor64 | Fldenv | Frstor | Fldcw | Ldmxcsr | Vldmxcsr
        // They tell an x87 instruction's address, or which registers are in use.
        | Fnstenv | Fstenv | Fnsave | Fsave | Fxsave | Fxsave64 | Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt
        | Xsaveopt64 | Xsaves | Xsaves64
        // Tiles need a permission and a configuration.
        | Ldtilecfg | Sttilecfg | Tileloadd | Tileloaddt1 | Tilestored
        // Monitors, interrupts, queues, keys, shadow stacks, segments, bounds.
        | Monitor | Monitorx | Umonitor | Senduipi | Enqcmd | Enqcmds | Wrssd | Wrssq | Wrussd | Wrussq | Rstorssp
        | Clrssbsy | Lfs | Lgs | Lss | Verr | Verw | Lar | Lsl | Bndldx | Bndstx | Bndmov | Bndcl | Bndcu | Bndcn
        | Aesencwide128kl | Aesencwide256kl | Aesdecwide128kl | Aesdecwide256kl | Aesenc128kl | Aesenc256kl
        | Aesdec128kl | Aesdec256kl | Loadiwkey | Clzero
        // The kernel emulates them.
        | Sgdt | Sidt | Sldt | Smsw | Str
        // Named, not accessed.
        | Clflush | Clflushopt | Clwb | Cldemote | Nop | Reservednop | Lea
    )
}

/// Every instruction that may access memory in 64-bit mode.
pub(crate) fn all() -> Vec<Code> {
    let is_wanted = |code: &Code| {
        let info = code.op_code();
        let loads_segment = matches!(
            code,
            Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16
        ) || matches!(
            code,
            Code::Popw_FS | Code::Popq_FS | Code::Popw_GS | Code::Popq_GS
        );
        info.is_instruction()
            && info.mode64()
            && !info.is_privileged()
            && !info.must_be_cpl0()
            && !info.is_input_output()
            && !matches!(info.encoding(), EncodingKind::D3NOW | EncodingKind::MVEX)
            && info.op_code_len() == 1
            && code.flow_control() == FlowControl::Next
            && !loads_segment
            && !is_out_of_place(code.mnemonic())
    };
    Code::values().filter(is_wanted).collect()
}

/// Bytes that may be an instruction of this code.
fn bytes(code: Code, random: &mut Random) -> Vec<u8> {
    let info = code.op_code();
    let map = match info.table() {
        OpCodeTableKind::Normal => 0,
        OpCodeTableKind::T0F => 1,
        OpCodeTableKind::T0F38 => 2,
        OpCodeTableKind::T0F3A => 3,
        OpCodeTableKind::MAP5 => 5,
        OpCodeTableKind::MAP6 => 6,
        OpCodeTableKind::MAP8 => 8,
        OpCodeTableKind::MAP9 => 9,
        OpCodeTableKind::MAP10 => 10,
        _ => 0,
    };
    let prefix = info.mandatory_prefix() as u8; // 0 none, 1 empty, 2 66, 3 F3, 4 F2
    let pp = prefix.saturating_sub(1);
    let mut bytes = Vec::new();
    if random.once_in(8) {
        bytes.push(0x67);
    }
    if random.once_in(8) {
        bytes.push(0x64);
    }
    let opcode = info.op_code() as u8;
    let any = random.next() as u8;
    match info.encoding() {
        EncodingKind::Legacy => {
            if info.can_use_lock_prefix() && random.once_in(3) {
                bytes.push(0xf0);
            }
            match prefix {
                2 => bytes.push(0x66),
                3 => bytes.push(0xf3),
                4 => bytes.push(0xf2),
                _ => {
                    if random.once_in(3) {
                        bytes.push(0x66);
                    }
                    if (info.can_use_rep_prefix() || info.can_use_repne_prefix()) && random.once_in(2) {
                        bytes.push(if random.once_in(2) { 0xf3 } else { 0xf2 });
                    }
                }
            }
            bytes.push(0x40 | any & 15);
            match map {
                1 => bytes.push(0x0f),
                2 => bytes.extend([0x0f, 0x38]),
                3 => bytes.extend([0x0f, 0x3a]),
                _ => {}
            }
        }
        encoding => {
            let unused = if random.once_in(2) { 0x78 } else { any & 0x78 };
            // Register extensions are stored inverted.
            let extensions = random.next() as u8 & 0xe0;
            if encoding == EncodingKind::EVEX {
                let third = random.next() as u8;
                bytes.extend([
                    0x62,
                    extensions | if random.once_in(2) { 0x10 } else { 0 } | map,
                    random.next() as u8 & 0x80 | unused | 4 | pp,
                    third | if random.once_in(2) { 8 } else { 0 },
                ]);
            } else {
                let escape = if encoding == EncodingKind::XOP { 0x8f } else { 0xc4 };
                let length = random.next() as u8 & 4;
                bytes.extend([
                    escape,
                    extensions | map,
                    random.next() as u8 & 0x80 | unused | length | pp,
                ]);
            }
        }
    }
    bytes.push(opcode);
    // ModRM: memory; then SIB, displacement and immediate, as they come.
    let register = match info.group_index() {
        -1 => random.next() as u8 & 7,
        index => index as u8,
    };
    let mode = random.below(3) as u8;
    bytes.push(mode << 6 | register << 3 | random.next() as u8 & 7);
    while bytes.len() < LONGEST {
        bytes.push(random.next() as u8);
    }
    bytes
}

/// A random instruction of this code at `ip`, if one can be found whose operands may lie in the arena.
pub(crate) fn instruction(code: Code, ip: u64, random: &mut Random) -> Option<Vec<u8>> {
    for _ in 0..ATTEMPTS {
        let mut bytes = bytes(code, random);
        let mut decoder = Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE);
        let instruction = decoder.decode();
        if instruction.code() != code {
            continue;
        }
        let offsets = decoder.get_constant_offsets(&instruction);
        if offsets.has_displacement() && offsets.displacement_size() == 4 {
            let target = if instruction.is_ip_rel_memory_operand() {
                arena_address(random).wrapping_sub(instruction.next_ip()) as u32
            } else if instruction.memory_base() == Register::None {
                arena_address(random) as u32
            } else {
                (random.next() % 0x1000).wrapping_sub(0x800) as u32
            };
            let at = offsets.displacement_offset();
            bytes[at..at + 4].copy_from_slice(&target.to_le_bytes());
        }
        let instruction = Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE).decode();
        if is_fit(&instruction, random) {
            bytes.truncate(instruction.len());
            return Some(bytes);
        }
    }
    None
}

/// An EVEX instruction of this code with mask `k1` and the operand `[rbx]`.
pub(crate) fn masked(code: Code, ip: u64, random: &mut Random) -> Option<Vec<u8>> {
    const LAST_PREFIX: usize = 3;
    for _ in 0..ATTEMPTS / 10 {
        let mut bytes = bytes(code, random);
        if bytes[0] != 0x62 {
            continue;
        }
        bytes[LAST_PREFIX] = bytes[LAST_PREFIX] & 0xf8 | 1;
        bytes[1] |= 0x60;
        // No displacement, base rbx.
        bytes[LAST_PREFIX + 2] = bytes[LAST_PREFIX + 2] & 0x38 | 3;
        let instruction = Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE).decode();
        if instruction.code() == code {
            bytes.truncate(instruction.len());
            return Some(bytes);
        }
    }
    None
}

fn arena_address(random: &mut Random) -> u64 {
    ARENA_START + ARENA_BYTES / 4 + random.next() % (ARENA_BYTES / 2)
}

/// Whether its operand is likely to lie in the arena, and the registers that addresses are made of are left alone.
fn is_fit(instruction: &Instruction, random: &mut Random) -> bool {
    let info = InstructionInfoFactory::new().info(instruction).clone();
    if info.used_memory().is_empty() && !is_prefetch(instruction) {
        return false;
    }
    let has_segment = instruction.segment_prefix() == Register::FS;
    if instruction.has_segment_prefix() && !has_segment {
        return false;
    }
    let has_operand =
        (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
    let base = instruction.memory_base();
    let index = instruction.memory_index();
    let general = |register: Register| register.full_register().number();
    if has_operand {
        let index_fits = match index {
            Register::None => true,
            index if index.is_vector_register() => index.number() % 4 == usize::from(instruction.is_vsib64()),
            index => INDICES.contains(&general(index)),
        };
        let fits = match base {
            Register::RIP | Register::EIP => !has_segment,
            Register::None => index == Register::None && !has_segment,
            base if general(base) == FS_POINTER => has_segment && index_fits,
            _ if has_segment => false,
            base if general(base) == WRAPPED_BASE => {
                index.is_gpr() && general(index) == WRAPPED_INDEX && instruction.memory_index_scale() == 1
            }
            base if general(base) == HALF_POINTER => base.is_gpr32() && index_fits,
            base => (POINTERS.contains(&general(base)) || general(base) == STACK) && index_fits,
        };
        if !fits {
            return false;
        }
    } else if has_segment {
        return false;
    }
    if is_bit_test(instruction) && instruction.op1_kind() == OpKind::Register {
        return INDICES.contains(&general(instruction.op1_register()));
    }
    let is_string = instruction.is_string_instruction();
    let spoils = info.used_registers().iter().any(|used| {
        let register = used.register().full_register();
        let writes = !matches!(
            used.access(),
            OpAccess::Read | OpAccess::CondRead | OpAccess::None
        );
        writes && register.is_gpr64() && ![0, 2, STACK].contains(&register.number())
    });
    is_string || !spoils || random.once_in(16)
}

pub(crate) fn is_prefetch(instruction: &Instruction) -> bool {
    let name = format!("{:?}", instruction.mnemonic());
    name.starts_with("Prefetch")
}

pub(crate) fn is_bit_test(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts
    )
}

/// An instruction that moves addresses about in registers.
pub(crate) fn arithmetic(random: &mut Random) -> Vec<u8> {
    let pointer = POINTERS[random.below(POINTERS.len())] as u8;
    let other = POINTERS[random.below(POINTERS.len())] as u8;
    let index = INDICES[random.below(INDICES.len())] as u8;
    let wide = |register: u8, second: u8| 0x48 | register >> 3 << 2 | second >> 3;
    let both = |register: u8, second: u8| 0xc0 | (register & 7) << 3 | second & 7;
    let small = random.next() as u8;
    match random.below(9) {
        0 => vec![wide(0, pointer), 0x83, both(0, pointer), small],
        1 => vec![wide(0, pointer), 0x83, both(5, pointer), small],
        2 => vec![wide(0, pointer), 0xff, both(random.below(2) as u8, pointer)],
        3 => vec![wide(other, pointer), 0x89, both(other, pointer)],
        // lea pointer, [other + small]
        4 if other & 7 != 4 => vec![
            wide(pointer, other),
            0x8d,
            0x40 | (pointer & 7) << 3 | other & 7,
            small,
        ],
        // lea index, [index + index * 1 + small / 8]
        5 => vec![
            0x48 | index >> 3 << 2 | index >> 3 << 1,
            0x8d,
            0x44 | (index & 7) << 3,
            (index & 7) << 3 | 4,
            small >> 3,
        ],
        6 => vec![wide(pointer, other), 0x87, both(pointer, other)],
        7 => {
            let mut bytes = vec![wide(0, index), 0xc7, both(0, index)];
            bytes.extend(u32::from(small & 31).to_le_bytes());
            bytes
        }
        _ => vec![0x40 | index >> 3 << 2 | index >> 3, 0x31, both(index, index)],
    }
}
