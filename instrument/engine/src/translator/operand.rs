//! The memory operands of an instruction: which accesses they are, and what the record must hold to rebuild the
//! addresses. `PROTOCOL.md`, "Forms".

use iced_x86::{
    Code, Instruction, InstructionInfo, MemorySize, Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};

pub(super) use memloupe_layout::{Form, NO_SLOT};
use memloupe_layout::{OPERAND_ADDRESS_32, OPERAND_FS, OPERAND_VECTOR_MASK};

use super::roots::{Roots, Value};
use super::xsave;

const WORD_BYTES: u16 = 8;
const TILE_CONFIGURATION_WORDS: u16 = 8;
const LINE_BYTES: u16 = 64;
const RAX: u8 = 0;
const RDX: u8 = 2;
/// State components of AMX.
const TILE_COMPONENTS: u64 = 3 << 17;

/// `enum ml_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Load = 0,
    Store = 1,
    ReadModifyWrite = 2,
    Prefetch = 3,
    NonTemporalStore = 4,
}

/// An operand as the site table will hold it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) ip: u64,
    pub(super) bytes: u16,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) slot: u16,
    pub(super) index_slot: u16,
    pub(super) mask_slot: u16,
    pub(super) form: Form,
    pub(super) scale: u8,
    pub(super) displacement: i64,
    pub(super) lanes: u8,
    pub(super) index_bytes: u8,
}

/// Words that the record must hold so that addresses can be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A general register, which holds a root and `bias` more.
    General {
        register: u8,
        bias: i64,
        /// The register whose value at the block's entry is the root.
        root: Option<u8>,
    },
    /// A vector or mask register.
    Wide(Register),
    /// The tile configuration.
    Tiles,
    /// A general register right after the instruction.
    After { register: u8 },
}

/// A source and the instruction that needs it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) source: Source,
    pub(super) index: usize,
}

impl Need {
    /// Words of the record.
    pub(super) fn words(&self) -> u16 {
        match self.source {
            Source::General { .. } | Source::After { .. } => 1,
            Source::Wide(register) => (register.size() as u16).div_ceil(WORD_BYTES),
            Source::Tiles => TILE_CONFIGURATION_WORDS,
        }
    }
}

/// What recording a block takes. Until `layout` has given out the record's words, an operand's slots are places in
/// `needs`.
pub(super) struct Recording {
    pub(super) roots: Roots,
    pub(super) operands: Vec<Operand>,
    pub(super) needs: Vec<Need>,
    /// Words of all needs.
    pub(super) words: u16,
}

impl Recording {
    pub(super) fn new() -> Self {
        Self {
            roots: Roots::new(),
            operands: Vec::new(),
            needs: Vec::new(),
            words: 0,
        }
    }

    /// Whether it takes a register's value after an instruction.
    pub(super) fn has_after(&self) -> bool {
        let is_after = |need: &Need| matches!(need.source, Source::After { .. });
        self.needs.iter().any(is_after)
    }

    /// Takes in instruction number `index` of the block.
    ///
    /// # Errors
    /// What can't be recorded.
    pub(super) fn add(
        &mut self,
        index: usize,
        instruction: &Instruction,
        info: &InstructionInfo,
    ) -> Result<(), &'static str> {
        let first = self.operands.len();
        if !matches!(
            instruction.mnemonic(),
            Mnemonic::Lea | Mnemonic::Nop | Mnemonic::Invlpg
        ) {
            for memory in info.used_memory() {
                self.operand(index, instruction, memory)?;
            }
            if is_prefetch(instruction.mnemonic()) {
                self.operand(index, instruction, &addressed(instruction))?;
            }
        }
        // What an instruction stores depends on what it loads.
        self.operands[first..].sort_by_key(|operand| operand.kind != Kind::Load);
        if is_repeated(instruction) && self.operands.len() > first {
            // All pointers advance alike: how far one got tells it for all. A string has a block to itself, so the
            // record holds its registers as they are.
            let pointer = string_pointer(instruction);
            let (before, _) = self.general(index, pointer);
            let register = pointer.number() as u8;
            let after = self.need(index, Source::After { register });
            for operand in &mut self.operands[first..] {
                operand.form = Form::String;
                operand.index_slot = after;
                operand.mask_slot = before;
            }
        }
        self.roots.advance(instruction, info);
        Ok(())
    }

    fn need(&mut self, index: usize, source: Source) -> u16 {
        let need = Need { source, index };
        self.words += need.words();
        self.needs.push(need);
        (self.needs.len() - 1) as u16
    }

    /// Where a register's value is found: a need, or none if it is constant; and what must be added.
    fn general(&mut self, index: usize, register: Register) -> (u16, i64) {
        let number = register.full_register().number() as u8;
        match self.roots.value(number) {
            Value::Constant(value) => (NO_SLOT, value),
            Value::Kept { need, offset } => (need, offset),
            Value::Unkept { root, offset } => {
                let need = self.need(
                    index,
                    Source::General {
                        register: number,
                        bias: offset,
                        root,
                    },
                );
                self.roots.keep(number, need);
                (need, offset)
            }
        }
    }

    fn operand(
        &mut self,
        index: usize,
        instruction: &Instruction,
        memory: &UsedMemory,
    ) -> Result<(), &'static str> {
        let Some(kind) = kind(instruction, memory) else {
            return Ok(());
        };
        let mut operand = Operand {
            ip: instruction.ip(),
            bytes: access_bytes(instruction, memory.memory_size(), &self.roots),
            kind,
            flags: 0,
            slot: NO_SLOT,
            index_slot: 0,
            mask_slot: 0,
            form: Form::Plain,
            scale: 0,
            displacement: memory.displacement().cast_signed(),
            lanes: 0,
            index_bytes: 0,
        };
        match memory.segment() {
            Register::FS => operand.flags |= OPERAND_FS,
            Register::GS => {
                return Err("it uses the GS segment, which the native engine needs; use --engine valgrind");
            }
            _ => {}
        }
        let base = memory.base();
        if base.is_gpr() {
            if base.is_gpr32() {
                operand.flags |= OPERAND_ADDRESS_32;
            }
            let (slot, displacement) = self.general(index, base);
            operand.slot = slot;
            operand.displacement = operand.displacement.wrapping_add(displacement);
        }
        let vector_index = memory.index();
        if vector_index.is_vector_register() {
            self.gather(index, instruction, memory, &mut operand);
        } else if vector_index == Register::AL {
            operand.form = Form::Table;
            operand.index_slot = self.need(index, whole(0));
        } else if vector_index.is_gpr() && tile(instruction).is_none() {
            if vector_index.is_gpr32() {
                operand.flags |= OPERAND_ADDRESS_32;
            }
            self.index(index, memory, &mut operand);
        }
        if let Some(tile) = tile(instruction) {
            operand.form = Form::Tile;
            operand.lanes = tile;
            let stride = instruction.memory_index();
            if stride != Register::None {
                operand.index_slot = self.need(index, whole(stride.number() as u8));
                operand.scale = instruction.memory_index_scale() as u8;
            }
            operand.mask_slot = self.need(index, Source::Tiles);
        } else if is_bit_string(instruction) {
            operand.form = Form::Bits;
            operand.mask_slot = self.need(
                index,
                whole(instruction.op1_register().full_register().number() as u8),
            );
        } else if operand.form == Form::Plain {
            self.mask(index, instruction, memory, &mut operand);
        }
        self.operands.push(operand);
        Ok(())
    }

    fn index(&mut self, index: usize, memory: &UsedMemory, operand: &mut Operand) {
        let scale = memory.scale() as u8;
        let (slot, displacement) = self.general(index, memory.index());
        operand.displacement = operand
            .displacement
            .wrapping_add(displacement.wrapping_mul(i64::from(scale)));
        if slot != NO_SLOT {
            operand.index_slot = slot;
            operand.scale = scale;
        }
    }

    fn gather(
        &mut self,
        index: usize,
        instruction: &Instruction,
        memory: &UsedMemory,
        operand: &mut Operand,
    ) {
        let vector = memory.index();
        operand.form = Form::Gather;
        operand.scale = memory.scale() as u8;
        operand.index_bytes = memory.vsib_size() as u8;
        operand.bytes = instruction.memory_size().element_size() as u16;
        operand.index_slot = self.need(index, Source::Wide(vector));
        let indices = vector.size() / usize::from(operand.index_bytes);
        let data = [instruction.op0_register(), instruction.op1_register()]
            .into_iter()
            .find(|register| register.is_vector_register())
            .unwrap_or(vector);
        operand.lanes = indices.min(data.size() / usize::from(operand.bytes)) as u8;
        if instruction.op_mask() == Register::None {
            operand.flags |= OPERAND_VECTOR_MASK;
            operand.mask_slot = self.need(index, Source::Wide(instruction.op2_register()));
        } else {
            operand.mask_slot = self.need(index, Source::Wide(instruction.op_mask()));
        }
    }

    fn mask(&mut self, index: usize, instruction: &Instruction, memory: &UsedMemory, operand: &mut Operand) {
        let size = memory.memory_size();
        if let Some(lane_bytes) = vector_masked_lane_bytes(instruction) {
            // The mask is the first source; of MASKMOVDQU the second operand.
            let mask = instruction.op1_register();
            let mask = if mask.is_vector_register() && instruction.op0_kind() != OpKind::MemorySegRDI {
                mask
            } else {
                instruction.op2_register()
            };
            operand.form = Form::Masked;
            operand.flags |= OPERAND_VECTOR_MASK;
            operand.bytes = lane_bytes;
            operand.lanes = (mask.size() as u16 / lane_bytes) as u8;
            operand.mask_slot = self.need(index, Source::Wide(mask));
            return;
        }
        if instruction.op_mask() == Register::None || reads_all_lanes(instruction) {
            return;
        }
        operand.mask_slot = self.need(index, Source::Wide(instruction.op_mask()));
        if instruction.is_broadcast() {
            operand.form = Form::AnyLane;
            operand.lanes = broadcast_lanes(instruction);
            return;
        }
        let lane_bytes = masked_lane_bytes(instruction, size);
        operand.lanes = (operand.bytes / lane_bytes) as u8;
        operand.bytes = lane_bytes;
        operand.form = if is_compressing(instruction.mnemonic()) {
            Form::Compress
        } else {
            Form::Masked
        };
        if is_replicating(instruction.mnemonic()) {
            operand.form = Form::AnyLane;
            operand.bytes *= u16::from(operand.lanes);
            let destination = instruction.op0_register();
            operand.lanes = (destination.size() / size.element_size().max(1)).min(64) as u8;
        }
    }
}

/// A register as it is right before the instruction.
fn whole(register: u8) -> Source {
    Source::General {
        register,
        bias: 0,
        root: None,
    }
}

fn kind(instruction: &Instruction, memory: &UsedMemory) -> Option<Kind> {
    match instruction.mnemonic() {
        mnemonic if is_prefetch(mnemonic) => return Some(Kind::Prefetch),
        Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb | Mnemonic::Cldemote => return None,
        Mnemonic::Movnti
        | Mnemonic::Movntdq
        | Mnemonic::Movntps
        | Mnemonic::Movntpd
        | Mnemonic::Movntq
        | Mnemonic::Vmovntdq
        | Mnemonic::Vmovntps
        | Mnemonic::Vmovntpd
        | Mnemonic::Maskmovdqu
        | Mnemonic::Vmaskmovdqu
        | Mnemonic::Maskmovq
        | Mnemonic::Movdir64b
        | Mnemonic::Movdiri
            if matches!(
                memory.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadCondWrite
            ) =>
        {
            return Some(Kind::NonTemporalStore);
        }
        _ => {}
    }
    match memory.access() {
        OpAccess::Read | OpAccess::CondRead => Some(Kind::Load),
        OpAccess::Write | OpAccess::CondWrite => Some(Kind::Store),
        OpAccess::ReadWrite | OpAccess::ReadCondWrite => Some(Kind::ReadModifyWrite),
        OpAccess::None | OpAccess::NoMemAccess => None,
    }
}

fn is_prefetch(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetchw
            | Mnemonic::Prefetchwt1
            | Mnemonic::Prefetch
            | Mnemonic::Prefetchit0
            | Mnemonic::Prefetchit1
    )
}

/// The memory that an instruction names but does not access.
fn addressed(instruction: &Instruction) -> UsedMemory {
    UsedMemory::new(
        instruction.memory_segment(),
        instruction.memory_base(),
        instruction.memory_index(),
        instruction.memory_index_scale(),
        instruction.memory_displacement64(),
        MemorySize::Unknown,
        OpAccess::NoMemAccess,
    )
}

fn access_bytes(instruction: &Instruction, size: MemorySize, roots: &Roots) -> u16 {
    let components = || match (roots.value(RAX), roots.value(RDX)) {
        (Value::Constant(low), Value::Constant(high)) => (high as u64) << 32 | u64::from(low as u32),
        // Whoever chooses at run time chooses all; tiles lie behind the rest and are rarely in use.
        _ => !TILE_COMPONENTS,
    };
    match instruction.mnemonic() {
        Mnemonic::Xsave
        | Mnemonic::Xsave64
        | Mnemonic::Xsaveopt
        | Mnemonic::Xsaveopt64
        | Mnemonic::Xrstor
        | Mnemonic::Xrstor64 => xsave::standard_bytes(components()),
        Mnemonic::Xsavec | Mnemonic::Xsavec64 => xsave::compact_bytes(components()),
        _ if instruction.is_string_instruction() => instruction.memory_size().size() as u16,
        _ if size.size() > 0 => size.size() as u16,
        _ => LINE_BYTES,
    }
}

/// A string instruction with a repeat prefix.
pub(super) fn is_repeated(instruction: &Instruction) -> bool {
    instruction.is_string_instruction() && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
}

/// Whether other threads see the instruction's load and store as one.
pub(super) fn is_atomic(instruction: &Instruction) -> bool {
    let is_exchange =
        instruction.mnemonic() == Mnemonic::Xchg && instruction.op_kinds().any(|kind| kind == OpKind::Memory);
    instruction.has_lock_prefix() || is_exchange
}

/// A pointer that a string instruction advances.
pub(super) fn string_pointer(instruction: &Instruction) -> Register {
    match instruction.mnemonic() {
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => Register::RSI,
        _ => Register::RDI,
    }
}

fn tile(instruction: &Instruction) -> Option<u8> {
    let register = match instruction.code() {
        Code::VEX_Tileloadd_tmm_sibmem | Code::VEX_Tileloaddt1_tmm_sibmem => instruction.op0_register(),
        Code::VEX_Tilestored_sibmem_tmm => instruction.op1_register(),
        _ => return None,
    };
    Some(register.number() as u8)
}

/// A bit test whose bit may lie anywhere: a register holds its number.
fn is_bit_string(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts
    ) && instruction.op1_kind() == OpKind::Register
}

fn vector_masked_lane_bytes(instruction: &Instruction) -> Option<u16> {
    match instruction.mnemonic() {
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => Some(4),
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq => Some(8),
        Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu | Mnemonic::Maskmovq => Some(1),
        _ => None,
    }
}

/// Instructions that read their whole memory operand whatever the mask says (Intel SDM, exception classes "NF"; the
/// randomized test finds the same by experiment).
fn reads_all_lanes(instruction: &Instruction) -> bool {
    let mnemonic = instruction.mnemonic();
    let shifts_by_memory = matches!(
        mnemonic,
        Mnemonic::Vpslld
            | Mnemonic::Vpsllq
            | Mnemonic::Vpsllw
            | Mnemonic::Vpsrad
            | Mnemonic::Vpsraq
            | Mnemonic::Vpsraw
            | Mnemonic::Vpsrld
            | Mnemonic::Vpsrlq
            | Mnemonic::Vpsrlw
    ) && instruction.op2_kind() == OpKind::Memory;
    shifts_by_memory
        || matches!(
            mnemonic,
            Mnemonic::Valignd
                | Mnemonic::Valignq
                | Mnemonic::Vcvtne2ps2bf16
                | Mnemonic::Vdbpsadbw
                | Mnemonic::Vgf2p8affineinvqb
                | Mnemonic::Vgf2p8affineqb
                | Mnemonic::Vinsertf32x4
                | Mnemonic::Vinsertf32x8
                | Mnemonic::Vinsertf64x2
                | Mnemonic::Vinsertf64x4
                | Mnemonic::Vinserti32x4
                | Mnemonic::Vinserti32x8
                | Mnemonic::Vinserti64x2
                | Mnemonic::Vinserti64x4
                | Mnemonic::Vmovddup
                | Mnemonic::Vmovshdup
                | Mnemonic::Vmovsldup
                | Mnemonic::Vpackssdw
                | Mnemonic::Vpacksswb
                | Mnemonic::Vpackusdw
                | Mnemonic::Vpackuswb
                | Mnemonic::Vpalignr
                | Mnemonic::Vpconflictd
                | Mnemonic::Vpconflictq
                | Mnemonic::Vpermb
                | Mnemonic::Vpermd
                | Mnemonic::Vpermi2b
                | Mnemonic::Vpermi2d
                | Mnemonic::Vpermi2pd
                | Mnemonic::Vpermi2ps
                | Mnemonic::Vpermi2q
                | Mnemonic::Vpermi2w
                | Mnemonic::Vpermilpd
                | Mnemonic::Vpermilps
                | Mnemonic::Vpermpd
                | Mnemonic::Vpermps
                | Mnemonic::Vpermq
                | Mnemonic::Vpermt2b
                | Mnemonic::Vpermt2d
                | Mnemonic::Vpermt2pd
                | Mnemonic::Vpermt2ps
                | Mnemonic::Vpermt2q
                | Mnemonic::Vpermt2w
                | Mnemonic::Vpermw
                | Mnemonic::Vpmaddubsw
                | Mnemonic::Vpmaddwd
                | Mnemonic::Vpmultishiftqb
                | Mnemonic::Vpshufb
                | Mnemonic::Vpshufd
                | Mnemonic::Vpshufhw
                | Mnemonic::Vpshuflw
                | Mnemonic::Vpunpckhbw
                | Mnemonic::Vpunpckhdq
                | Mnemonic::Vpunpckhqdq
                | Mnemonic::Vpunpckhwd
                | Mnemonic::Vpunpcklbw
                | Mnemonic::Vpunpckldq
                | Mnemonic::Vpunpcklqdq
                | Mnemonic::Vpunpcklwd
                | Mnemonic::Vshuff32x4
                | Mnemonic::Vshuff64x2
                | Mnemonic::Vshufi32x4
                | Mnemonic::Vshufi64x2
                | Mnemonic::Vshufpd
                | Mnemonic::Vshufps
                | Mnemonic::Vunpckhpd
                | Mnemonic::Vunpckhps
                | Mnemonic::Vunpcklpd
                | Mnemonic::Vunpcklps
        )
}

fn is_compressing(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Vcompressps
            | Mnemonic::Vcompresspd
            | Mnemonic::Vpcompressd
            | Mnemonic::Vpcompressq
            | Mnemonic::Vpcompressb
            | Mnemonic::Vpcompressw
            | Mnemonic::Vexpandps
            | Mnemonic::Vexpandpd
            | Mnemonic::Vpexpandd
            | Mnemonic::Vpexpandq
            | Mnemonic::Vpexpandb
            | Mnemonic::Vpexpandw
    )
}

/// Loads of a short piece that every lane of the destination gets.
fn is_replicating(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Vbroadcastss
            | Mnemonic::Vbroadcastsd
            | Mnemonic::Vpbroadcastb
            | Mnemonic::Vpbroadcastw
            | Mnemonic::Vpbroadcastd
            | Mnemonic::Vpbroadcastq
            | Mnemonic::Vbroadcastf32x2
            | Mnemonic::Vbroadcastf32x4
            | Mnemonic::Vbroadcastf32x8
            | Mnemonic::Vbroadcastf64x2
            | Mnemonic::Vbroadcastf64x4
            | Mnemonic::Vbroadcasti32x2
            | Mnemonic::Vbroadcasti32x4
            | Mnemonic::Vbroadcasti32x8
            | Mnemonic::Vbroadcasti64x2
            | Mnemonic::Vbroadcasti64x4
    )
}

/// Bytes that one mask bit stands for. Dot products and complex numbers are masked by 32 bits, products of
/// every other 32-bit lane by 64.
fn masked_lane_bytes(instruction: &Instruction, size: MemorySize) -> u16 {
    match instruction.mnemonic() {
        Mnemonic::Vpdpbusd
        | Mnemonic::Vpdpbusds
        | Mnemonic::Vpdpwssd
        | Mnemonic::Vpdpwssds
        | Mnemonic::Vdpbf16ps
        | Mnemonic::Vfmaddcph
        | Mnemonic::Vfmaddcsh
        | Mnemonic::Vfcmaddcph
        | Mnemonic::Vfcmaddcsh
        | Mnemonic::Vfmulcph
        | Mnemonic::Vfmulcsh
        | Mnemonic::Vfcmulcph
        | Mnemonic::Vfcmulcsh => 4,
        Mnemonic::Vpmuldq | Mnemonic::Vpmuludq => 8,
        _ => (size.element_size().max(1) as u16).min(size.size().max(1) as u16),
    }
}

fn broadcast_lanes(instruction: &Instruction) -> u8 {
    // What the instruction reads if it does not broadcast.
    let whole = instruction.op_code().memory_size();
    (whole.size() / whole.element_size().max(1)) as u8
}
