//! How each AVX-512 instruction masks its memory operand, found out on this CPU: an operand is laid half behind the end of
//! the arena, and where a mask keeps it from faulting, its lanes are masked.

use std::collections::HashMap;
use std::path::Path;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use crate::generate;
use crate::machine::{ARENA_BYTES, ARENA_START, CODE_START, Case, Files, State, exit};
use crate::random::Random;

const MASK: usize = 1;
const POINTER: usize = 3;
/// Lanes are as wide.
const WIDTHS: [u64; 4] = [1, 2, 4, 8];
const ARENA_END: u64 = ARENA_START + ARENA_BYTES;

/// What of a masked operand is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Masking {
    /// All, whatever the mask.
    None,
    /// All, if any lane is active.
    AnyLane,
    /// As many lanes of this width as are active, side by side.
    Compressed(u64),
    /// The active lanes, of this width.
    Rows(u64),
}

/// By mnemonic, whether it broadcasts, and which operand the memory is: lanes don't depend on the vector's length.
type Key = (Mnemonic, bool, Option<u32>);

pub(crate) struct Lanes(HashMap<Key, Masking>);

fn key(instruction: &Instruction) -> Key {
    let operand = (0..instruction.op_count()).find(|&operand| instruction.op_kind(operand) == OpKind::Memory);
    (instruction.mnemonic(), instruction.is_broadcast(), operand)
}

/// How many lanes the mask has for an operand of which all is accessed if any lane is active.
pub(crate) fn lanes(instruction: &Instruction) -> usize {
    let whole = instruction.op_code().memory_size();
    let bytes = if instruction.is_broadcast() {
        whole.size()
    } else {
        instruction.op0_register().size()
    };
    bytes / whole.element_size()
}

/// One instruction tried in several ways: by mask and by how many bytes of the operand are there, whether it faults.
struct Trial {
    instruction: Instruction,
    faults: HashMap<(u64, u64), bool>,
}

impl Trial {
    fn masking(&self) -> Masking {
        let faults = |mask: u64, there: u64| self.faults[&(mask, there)];
        let bytes = self.instruction.memory_size().size() as u64;
        let info = self.instruction.code().op_code();
        let element = info.memory_size().element_size();
        // A row of elements for each row of lanes: counted as a whole.
        let name = format!("{:?}", self.instruction.mnemonic());
        if name.starts_with("Vbroadcast") && bytes > element as u64 {
            return Masking::AnyLane;
        }
        if faults(0, 0) {
            return Masking::None;
        }
        if self.instruction.is_broadcast() {
            return Masking::AnyLane;
        }
        // They fault when they are not aligned: nothing can be found out.
        let is_aligned = matches!(
            self.instruction.mnemonic(),
            Mnemonic::Vmovaps | Mnemonic::Vmovapd | Mnemonic::Vmovdqa32 | Mnemonic::Vmovdqa64
        );
        if is_aligned {
            return Masking::Rows(element as u64);
        }
        let narrowest = WIDTHS
            .into_iter()
            .find(|&width| width >= bytes || !faults(1, width));
        let width = narrowest.map_or(bytes, |width| width.min(bytes));
        if !faults(2, 0) {
            return Masking::Rows(width);
        }
        if width < bytes && faults(2, width) {
            return Masking::Rows(width);
        }
        if width < bytes && faults(3, width) {
            return Masking::Compressed(width);
        }
        Masking::AnyLane
    }
}

impl Lanes {
    /// Finds out on this CPU.
    pub(crate) fn learn(stub: &Path) -> Self {
        let mut random = Random(7);
        let mut widest: HashMap<Key, Code> = HashMap::new();
        for (which, broadcasts) in generate::all()
            .into_iter()
            .flat_map(|code| [(code, false), (code, true)])
        {
            let info = which.op_code();
            if !info.can_use_op_mask_register() || broadcasts && !info.can_broadcast() {
                continue;
            }
            let Some(bytes) = suitable(which, broadcasts, CODE_START, &mut random) else {
                continue;
            };
            let instruction = Decoder::with_ip(64, &bytes, CODE_START, DecoderOptions::NONE).decode();
            let known = widest.entry(key(&instruction)).or_insert(which);
            if known.op_code().memory_size().size() < info.memory_size().size() {
                *known = which;
            }
        }
        let mut code = Vec::new();
        let mut cases = Vec::new();
        let mut trials = Vec::new();
        for (&(_, broadcasts, _), &which) in &widest {
            let start = CODE_START + code.len() as u64;
            let bytes = suitable(which, broadcasts, start, &mut random).expect("there was one before");
            let instruction = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE).decode();
            code.extend(bytes);
            let end = CODE_START + code.len() as u64;
            code.extend(exit());
            let mut keys = vec![(0, 0), (2, 0)];
            for there in WIDTHS {
                keys.extend([(1, there), (2, there), (3, there)]);
            }
            for &(mask, there) in &keys {
                let mut before = State::random(&mut random);
                before.set_general(POINTER, ARENA_END - there);
                before.set_mask(MASK, mask);
                cases.push(Case { start, end, before });
            }
            trials.push((instruction, keys));
        }
        let arena = vec![0; ARENA_BYTES as usize];
        let outcomes = Files::write(&code, &arena, &cases).run_natively(stub, "whole");
        let mut signals = outcomes.iter().map(|outcome| outcome.after.signal());
        let mut lanes = HashMap::new();
        for (instruction, keys) in trials {
            const SIGILL: u64 = 4;
            let told: Vec<u64> = keys.iter().map(|_| signals.next().expect("an outcome")).collect();
            if told.contains(&SIGILL) {
                continue;
            }
            let faults = keys
                .into_iter()
                .zip(told.iter().map(|&signal| signal != 0))
                .collect();
            let trial = Trial { instruction, faults };
            lanes.insert(key(&instruction), trial.masking());
        }
        Self(lanes)
    }

    /// How `instruction`, which this CPU knows, masks its operand.
    pub(crate) fn of(&self, instruction: &Instruction) -> Masking {
        self.0.get(&key(instruction)).copied().unwrap_or(Masking::None)
    }
}

/// The instruction, masked, with its operand right at the pointer.
fn suitable(code: Code, broadcasts: bool, ip: u64, random: &mut Random) -> Option<Vec<u8>> {
    (0..60).find_map(|_| {
        let bytes = generate::masked(code, ip, random)?;
        let instruction = Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE).decode();
        let fits = instruction.op_mask() == Register::K1
            && instruction.memory_base() == Register::RBX
            && instruction.memory_index() == Register::None
            && instruction.memory_displacement64() == 0
            && !instruction.has_segment_prefix()
            && instruction.is_broadcast() == broadcasts;
        fits.then_some(bytes)
    })
}
