//! Loads that wait for each other: those on a cycle of register dataflow through memory, as in `mov rax, [rax]`.
//!
//! Seen: a block that jumps back to its own start, and in it loads whose address needs, through general or vector
//! registers, what the same load or another one of the cycle yielded an iteration before. Loads that hang off such a
//! chain (`add rcx, [rax + 8]`) or follow an index that another load yields without coming back to it (`b[a[i]]`)
//! overlap from iteration to iteration and are not meant.
//!
//! Not seen: chains over several blocks, as of loops with calls or branches in their body, chains through memory (a
//! pointer stored and loaded again) and through flags, and code that no file holds (JIT). Such loads count as
//! independent of each other.

use iced_x86::{
    Decoder, DecoderOptions, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedRegister,
};

/// A set of registers: 16 general, then 32 vector ones. The stack pointer is in none: pushes and pops move it by
/// themselves.
type Registers = u64;

/// A set of the loads of a block, by their order.
type Loads = u64;
const MOST_LOADS: usize = Loads::BITS as usize;

/// Where the value of a register comes from, since the start of the iteration.
#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    /// The registers as they were at the start, not through a load.
    direct: Registers,
    /// The registers as they were at the start, through a load.
    loaded: Registers,
    /// The loads on the way.
    loads: Loads,
}

impl Origin {
    fn unite(&mut self, other: Self) {
        self.direct |= other.direct;
        self.loaded |= other.loaded;
        self.loads |= other.loads;
    }

    fn all(self) -> Registers {
        self.direct | self.loaded
    }
}

const REGISTERS: usize = 48;

fn place(register: Register) -> Option<usize> {
    let full = register.full_register();
    if full == Register::RSP {
        None
    } else if full.is_gpr64() {
        Some(full.number())
    } else if full.is_vector_register() {
        Some(16 + full.number())
    } else {
        None
    }
}

/// A load of the block.
struct Load {
    ip: u64,
    /// The registers at the start of the iteration that its address needs.
    address: Registers,
}

/// Addresses of the instructions in the block `code` at `address` whose loads wait for the load of an iteration before.
#[must_use]
pub fn chained_loads(code: &[u8], address: u64) -> Vec<u64> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut infos = InstructionInfoFactory::new();
    let mut origins: [Origin; REGISTERS] = std::array::from_fn(|register| Origin {
        direct: 1 << register,
        ..Origin::default()
    });
    let mut loads: Vec<Load> = Vec::new();
    // What the registers hold when the block begins again.
    let mut again = None;
    for instruction in &mut decoder {
        if instruction.is_invalid() {
            break;
        }
        // Its pointers move by themselves.
        if instruction.is_string_instruction() {
            continue;
        }
        if instruction.near_branch_target() == address && instruction.op0_kind() == OpKind::NearBranch64 {
            again = Some(origins);
        }
        let info = infos.info(&instruction);
        let mut made = Origin::default();
        let mut reads_memory = false;
        let mut of_address = Origin::default();
        let accessed = || {
            let memories = info.used_memory().iter();
            memories.filter(|memory| memory.access() != OpAccess::NoMemAccess)
        };
        for memory in accessed() {
            for register in [memory.base(), memory.index()] {
                of_address.unite(place(register).map_or_else(Origin::default, |place| origins[place]));
            }
            reads_memory |= matches!(
                memory.access(),
                OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            );
        }
        if reads_memory && loads.len() < MOST_LOADS {
            made.loaded = of_address.all();
            made.loads = of_address.loads | 1 << loads.len();
            loads.push(Load {
                ip: instruction.ip(),
                address: of_address.all(),
            });
        }
        let is_address = |register: Register| {
            accessed().any(|memory| memory.base() == register || memory.index() == register)
        };
        let used = |wanted: fn(&UsedRegister) -> bool| {
            let registers = info.used_registers().iter().filter(move |used| wanted(used));
            registers.filter_map(|used| Some((used.register(), place(used.register())?)))
        };
        // `xor eax, eax` reads what it forgets.
        let forgets = matches!(
            instruction.mnemonic(),
            Mnemonic::Xor
                | Mnemonic::Sub
                | Mnemonic::Pxor
                | Mnemonic::Vpxor
                | Mnemonic::Xorps
                | Mnemonic::Vxorps
        ) && instruction.op_count() >= 2
            && instruction.op1_kind() == OpKind::Register
            && instruction.op_register(instruction.op_count() - 1)
                == instruction.op_register(instruction.op_count() - 2);
        if !forgets {
            for (register, place) in used(|used| reads(used.access())) {
                if !is_address(register) || is_operand(&instruction, register) {
                    made.unite(origins[place]);
                }
            }
        }
        for (_, place) in used(|used| writes(used.access())) {
            origins[place] = made;
        }
        for (_, place) in used(|used| may_write(used.access())) {
            origins[place].unite(made);
        }
    }
    again.map_or_else(Vec::new, |origins| on_cycles(&origins, &loads))
}

fn reads(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::ReadWrite)
}

fn may_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::CondWrite | OpAccess::ReadCondWrite)
}

/// Whether the instruction has `register` as an operand of its own, not only in an address.
fn is_operand(instruction: &iced_x86::Instruction, register: Register) -> bool {
    (0..instruction.op_count()).any(|operand| {
        instruction.op_kind(operand) == OpKind::Register && instruction.op_register(operand) == register
    })
}

/// The loads on cycles from iteration to iteration.
fn on_cycles(origins: &[Origin; REGISTERS], loads: &[Load]) -> Vec<u64> {
    if loads.is_empty() {
        return Vec::new();
    }
    // The registers that each one needs, after any number of iterations.
    let mut needs: [Registers; REGISTERS] = origins.map(Origin::all);
    loop {
        let before = needs;
        for register in 0..REGISTERS {
            for other in members(before[register]) {
                needs[register] |= before[other];
            }
        }
        if needs == before {
            break;
        }
    }
    let mut chased: Registers = 0;
    let mut through: Loads = 0;
    for (register, origin) in origins.iter().enumerate() {
        for source in members(origin.loaded) {
            if needs[source] >> register & 1 == 1 {
                chased |= 1 << register | 1 << source;
                through |= origin.loads;
            }
        }
    }
    let on_chain = |(number, load): &(usize, &Load)| through >> number & 1 == 1 && load.address & chased != 0;
    let chain = loads.iter().enumerate().filter(on_chain);
    chain.map(|(_, load)| load.ip).collect()
}

fn members(mut set: Registers) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::chained_loads;

    const START: u64 = 0x40_1000;

    /// Offsets of the chained loads of the block, its code given in hexadecimal.
    fn chained(code: &str) -> Vec<u64> {
        let bytes: Vec<u8> = code
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        let found = chained_loads(&bytes, START);
        found.into_iter().map(|ip| ip - START).collect()
    }

    #[test]
    fn a_list_is_walked_link_by_link() {
        // mov rax, [rax]; test rax, rax; jne start
        assert_eq!(chained("48 8b 00 48 85 c0 75 f8"), [0]);
        // add rcx, [rax+8]; mov rax, [rax]; test rax, rax; jne start: the payload only hangs off the chain
        assert_eq!(chained("48 03 48 08 48 8b 00 48 85 c0 75 f4"), [4]);
        // mov rdx, [rax+16]; mov rax, [rdx]; dec ecx; jne start: both are links
        assert_eq!(chained("48 8b 50 10 48 8b 02 ff c9 75 f5"), [0, 4]);
        // mov eax, [rdi+rax*4]; dec ecx; jne start: by index
        assert_eq!(chained("8b 04 87 ff c9 75 f9"), [0]);
    }

    #[test]
    fn arrays_are_not_chains() {
        // add rcx, [rax]; add rax, 8; cmp rax, rdx; jne start
        assert!(chained("48 03 08 48 83 c0 08 48 39 d0 75 f4").is_empty());
        // mov rcx, [rsi+rax*8]; add rdx, [rdi+rcx*8]; inc rax; cmp rax, r8; jne start: b[a[i]]
        assert!(chained("48 8b 0c c6 48 03 14 cf 48 ff c0 4c 39 c0 75 f0").is_empty());
        // xor eax, eax; mov rax, [rdi+rax]; dec ecx; jne start: forgotten in between
        assert!(chained("31 c0 48 8b 04 07 ff c9 75 f6").is_empty());
        // mov rax, [rax]; test rax, rax; jne elsewhere: no loop
        assert!(chained("48 8b 00 48 85 c0 75 10").is_empty());
        assert!(chained("").is_empty());
    }
}
