//! The machine that the cases run on: registers as `tests/programs/instructions.c` lays them out, its memory, its files.

use std::arch::x86_64::__cpuid_count;
use std::path::Path;
use std::process::Command;

use iced_x86::Register;

use crate::random::Random;

pub(crate) const CODE_START: u64 = 0x2000_0000;
pub(crate) const ARENA_START: u64 = 0x1000_0000;
pub(crate) const ARENA_BYTES: u64 = 0x8000;
pub(crate) const FS_BASE: u64 = 0x0800_0000;
const EXIT_CELL: u64 = 0x3000_0000;
const EXTENDED_OFFSET: usize = 192;
const EXTENDED_BYTES: usize = 2688;
const STATE_BYTES: usize = EXTENDED_OFFSET + EXTENDED_BYTES;
/// x87, SSE, AVX and AVX-512 state.
const COMPONENTS: u64 = 0xe7;
const XMM_OFFSET: usize = 160;

/// General registers by what they hold at the start of a case.
pub(crate) const STACK: usize = 4;
/// Plus [`WRAPPED_INDEX`]'s, an address in the arena.
pub(crate) const WRAPPED_BASE: usize = 15;
pub(crate) const WRAPPED_INDEX: usize = 14;
/// Plus FS, an address in the arena.
pub(crate) const FS_POINTER: usize = 13;
/// Their low halves are addresses in the arena, their high halves are not 0.
pub(crate) const HALF_POINTER: usize = 12;
pub(crate) const POINTERS: [usize; 5] = [3, 5, 6, 7, 8];
pub(crate) const INDICES: [usize; 4] = [1, 9, 10, 11];

/// What the processor has of it, which Linux turns on.
fn components() -> u64 {
    let found = if is_x86_feature_detected!("avx512f") {
        COMPONENTS
    } else if is_x86_feature_detected!("avx") {
        7
    } else {
        3
    };
    COMPONENTS & found
}

/// Where a component of the extended state lies in the standard form.
fn offset(component: u32) -> usize {
    __cpuid_count(0xd, component).ebx as usize
}

/// All registers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State(Vec<u8>);

impl State {
    fn word(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.0[index * 8..index * 8 + 8].try_into().expect("eight bytes"))
    }

    pub(crate) fn general(&self, number: usize) -> u64 {
        self.word(number)
    }

    pub(crate) fn flags(&self) -> u64 {
        self.word(16)
    }

    pub(crate) fn instruction(&self) -> u64 {
        self.word(17)
    }

    /// The signal that ended the case, or 0.
    pub(crate) fn signal(&self) -> u64 {
        self.word(18)
    }

    fn extended(&self) -> &[u8] {
        &self.0[EXTENDED_OFFSET..]
    }

    /// The low 64 bits of a mask register.
    pub(crate) fn mask(&self, number: usize) -> u64 {
        let at = offset(5) + number * 8;
        u64::from_le_bytes(self.extended()[at..at + 8].try_into().expect("eight bytes"))
    }

    /// A vector register, 64 bytes.
    pub(crate) fn vector(&self, number: usize) -> Vec<u8> {
        let part = |at: usize, bytes: usize| &self.extended()[at..at + bytes];
        if number >= 16 {
            return part(offset(7) + (number - 16) * 64, 64).to_vec();
        }
        let mut value = part(XMM_OFFSET + number * 16, 16).to_vec();
        if components() & 4 != 0 {
            value.extend(part(offset(2) + number * 16, 16));
        }
        if components() & 0xe0 == 0xe0 {
            value.extend(part(offset(6) + number * 32, 32));
        }
        value.resize(64, 0);
        value
    }

    /// An x87 or MMX register, 8 bytes.
    pub(crate) fn mmx(&self, number: usize) -> Vec<u8> {
        self.extended()[32 + number * 16..40 + number * 16].to_vec()
    }

    /// A register's value as addresses use it; `lane` and `bytes` choose a lane of a vector.
    pub(crate) fn value(&self, register: Register, lane: usize, bytes: usize) -> Option<u64> {
        if register.is_vector_register() {
            let vector = self.vector(register.number());
            let lane = &vector[lane * bytes..(lane + 1) * bytes];
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(lane);
            return Some(u64::from_le_bytes(word));
        }
        match register {
            Register::FS => Some(FS_BASE),
            Register::ES | Register::CS | Register::SS | Register::DS => Some(0),
            Register::AL => Some(self.general(0) & 0xff),
            register if register.is_gpr64() => Some(self.general(register.number())),
            register if register.is_gpr32() => Some(self.general(register.number()) & 0xffff_ffff),
            _ => None,
        }
    }

    /// What differs from another state, for a person.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        (0..STATE_BYTES / 8)
            .filter(|&index| self.word(index) != other.word(index))
            .map(|index| {
                let name = match index {
                    0..16 => format!("general register {index}"),
                    16 => "flags".to_owned(),
                    17 => "instruction".to_owned(),
                    18 => "signal".to_owned(),
                    _ => format!("extended state + {}", index * 8 - EXTENDED_OFFSET),
                };
                format!("{name}: {:#x}, {:#x}", self.word(index), other.word(index))
            })
            .collect()
    }

    pub(crate) fn set_general(&mut self, number: usize, value: u64) {
        self.set(number, value);
    }

    pub(crate) fn set_mask(&mut self, number: usize, mask: u64) {
        let at = EXTENDED_OFFSET + offset(5) + number * 8;
        self.0[at..at + 8].copy_from_slice(&mask.to_le_bytes());
    }

    fn set(&mut self, index: usize, value: u64) {
        self.0[index * 8..index * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Registers to begin a case with: see the constants.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut state = Self(vec![0; STATE_BYTES]);
        let middle = ARENA_START + ARENA_BYTES / 2;
        let near = |random: &mut Random| {
            let alignment = [1, 4, 16, 64][random.below(4)];
            (middle - 0x1000 + random.next() % 0x2000) / alignment * alignment
        };
        for number in POINTERS {
            state.set(number, near(random));
        }
        for number in INDICES {
            let small = (random.next() % 512).wrapping_sub(256);
            // rcx counts a repeated string's elements.
            let is_count = number == 1 || random.once_in(3);
            state.set(number, if is_count { small & 63 } else { small });
        }
        state.set(0, random.next());
        state.set(2, random.next() % 64);
        state.set(STACK, middle / 16 * 16);
        let far = random.next();
        state.set(WRAPPED_INDEX, far);
        state.set(WRAPPED_BASE, near(random).wrapping_sub(far));
        state.set(FS_POINTER, near(random) - FS_BASE);
        state.set(HALF_POINTER, near(random) | random.next() << 32);
        // Carry, parity, auxiliary, zero, sign, overflow and, at times, direction.
        let direction = if random.once_in(4) { 0x400 } else { 0 };
        state.set(16, 0x202 | random.next() & 0x8d5 | direction);
        let extended = &mut state.0[EXTENDED_OFFSET..];
        for byte in &mut extended[XMM_OFFSET..416] {
            *byte = random.next() as u8;
        }
        for byte in &mut extended[576..] {
            *byte = random.next() as u8;
        }
        // Small lanes in some vectors: indices of gathers and scatters.
        let high = [(2, 16), (6, 32)].map(|(component, bytes)| (offset(component), bytes));
        let parts = [(XMM_OFFSET, 16), high[0], high[1]];
        for number in 0..16 {
            let lane_bytes = if number % 4 == 0 { 4 } else { 8 };
            if number % 4 > 1 {
                continue;
            }
            for (at, bytes) in parts {
                let place = at + number * bytes;
                if place + bytes <= EXTENDED_BYTES {
                    small_lanes(random, &mut extended[place..place + bytes], lane_bytes);
                }
            }
            let place = offset(7) + number * 64;
            if components() & 0x80 != 0 {
                small_lanes(random, &mut extended[place..place + 64], lane_bytes);
            }
        }
        extended[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        extended[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        extended[28..32].copy_from_slice(&0xffffu32.to_le_bytes());
        extended[512..576].fill(0);
        extended[512..520].copy_from_slice(&components().to_le_bytes());
        state
    }
}

fn small_lanes(random: &mut Random, lanes: &mut [u8], lane_bytes: usize) {
    for lane in lanes.chunks_exact_mut(lane_bytes) {
        let index = (random.next() % 1024).cast_signed() - 512;
        lane.copy_from_slice(&index.to_le_bytes()[..lane_bytes]);
    }
}

/// A sequence of instructions and the registers that it begins with.
pub(crate) struct Case {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) before: State,
}

/// What became of a case.
pub(crate) struct Outcome {
    /// Before each instruction, and at the end: the registers, and the places of the arena that have changed since.
    pub(crate) steps: Vec<(State, Vec<u64>)>,
    pub(crate) after: State,
    /// Hash of the arena.
    pub(crate) arena: u64,
}

/// `jmp [EXIT_CELL]`: how a case ends.
pub(crate) fn exit() -> Vec<u8> {
    let mut jump = vec![0xff, 0x24, 0x25];
    jump.extend((EXIT_CELL as u32).to_le_bytes());
    jump
}

/// What the program reads and writes.
pub(crate) struct Files {
    folder: tempfile::TempDir,
    paths: [String; 3],
}

impl Files {
    pub(crate) fn write(code: &[u8], arena: &[u8], cases: &[Case]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the cases");
        let paths = ["code", "cases", "results"].map(|name| {
            folder
                .path()
                .join(name)
                .to_str()
                .expect("a path of text")
                .to_owned()
        });
        let mut bytes = code.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4096), 0xcc);
        std::fs::write(&paths[0], bytes).expect("the code is written");
        std::fs::write(&paths[1], image(arena, cases)).expect("the cases are written");
        Self { folder, paths }
    }

    /// Arguments of a run in "steps" or as a "whole".
    pub(crate) fn arguments<'a>(&'a self, how: &'a str) -> [&'a str; 4] {
        let [code, cases, results] = &self.paths;
        [code, cases, results, how]
    }

    pub(crate) fn run_natively(&self, program: &Path, how: &str) -> Vec<Outcome> {
        let status = Command::new(program)
            .args(self.arguments(how))
            .status()
            .expect("the program runs");
        assert!(status.success(), "{status}");
        self.outcomes()
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        read_outcomes(&self.folder.path().join("results"))
    }
}

/// What the program reads.
fn image(arena: &[u8], cases: &[Case]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(&(cases.len() as u64).to_le_bytes());
    bytes[8..16].copy_from_slice(&components().to_le_bytes());
    bytes.extend(arena);
    for case in cases {
        let mut entry = vec![0; 64];
        entry[..8].copy_from_slice(&case.start.to_le_bytes());
        entry[8..16].copy_from_slice(&case.end.to_le_bytes());
        bytes.extend(entry);
        bytes.extend(&case.before.0);
    }
    bytes
}

/// Reads what the program has written.
fn read_outcomes(path: &Path) -> Vec<Outcome> {
    const STEP: u64 = 1;
    let bytes = std::fs::read(path).expect("the program's results");
    let mut rest = bytes.as_slice();
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        (taken, left.is_empty())
    };
    let mut outcomes = Vec::new();
    let mut steps = Vec::new();
    loop {
        let kind = u64::from_le_bytes(take(8).0.try_into().expect("eight bytes"));
        if kind == STEP {
            let count = u64::from_le_bytes(take(8).0.try_into().expect("eight bytes")) as usize;
            let changed = take(count * 4).0.chunks_exact(4).map(|place| {
                ARENA_START + u64::from(u32::from_le_bytes(place.try_into().expect("four bytes")))
            });
            let changed = changed.collect();
            steps.push((State(take(STATE_BYTES).0.to_vec()), changed));
            continue;
        }
        let after = State(take(STATE_BYTES).0.to_vec());
        let (arena, last) = take(8);
        outcomes.push(Outcome {
            steps: std::mem::take(&mut steps),
            after,
            arena: u64::from_le_bytes(arena.try_into().expect("eight bytes")),
        });
        if last {
            return outcomes;
        }
    }
}
