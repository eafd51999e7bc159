//! Writes the machine code of translations: the few instruction forms that recording and control flow need. None of
//! them changes a flag, unless it says so.

use crate::thread::offset;

/// A general register by its encoding number.
pub(crate) type Gpr = u8;
pub(crate) const RAX: Gpr = 0;
pub(crate) const RCX: Gpr = 1;
pub(crate) const RDX: Gpr = 2;

/// A place for a rel32 that is filled in later.
#[derive(Clone, Copy)]
pub(crate) struct Rel32(pub(crate) usize);

/// A place for a rel8 that is filled in later.
#[derive(Clone, Copy)]
pub(crate) struct Rel8(usize);

/// A cursor in a zone of the code cache.
pub(crate) struct Assembler {
    at: usize,
}

impl Assembler {
    pub(crate) fn new(at: usize) -> Self {
        Self { at }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Writes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: the cursor moves inside a zone, behind all code that any thread runs; `Cache::open` leaves more room
        // than the longest block needs.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at as *mut u8, bytes.len()) };
        self.at += bytes.len();
    }

    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn dword(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// `nop`s up to a multiple of `alignment` less `before`.
    pub(crate) fn align(&mut self, alignment: usize, before: usize) {
        let gap = (self.at + before).next_multiple_of(alignment) - self.at - before;
        self.nops(gap);
    }

    fn nops(&mut self, mut bytes: usize) {
        const NOPS: [&[u8]; 9] = [
            &[],
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0],
            &[0x0f, 0x1f, 0x44, 0, 0],
            &[0x66, 0x0f, 0x1f, 0x44, 0, 0],
            &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
            &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        ];
        while bytes > 0 {
            let now = bytes.min(NOPS.len() - 1);
            self.bytes(NOPS[now]);
            bytes -= now;
        }
    }

    /// `op reg, gs:[offset]` or `op gs:[offset], reg`, 64 bits.
    fn gs(&mut self, opcode: u8, reg: Gpr, offset: u32) {
        self.bytes(&[0x65, 0x48 | reg >> 3 << 2, opcode, 0x04 | (reg & 7) << 3, 0x25]);
        self.dword(offset);
    }

    pub(crate) fn store_state(&mut self, offset: u32, reg: Gpr) {
        self.gs(0x89, reg, offset);
    }

    pub(crate) fn load_state(&mut self, reg: Gpr, offset: u32) {
        self.gs(0x8b, reg, offset);
    }

    /// `cmp reg, gs:[offset]`: changes flags.
    pub(crate) fn compare_state(&mut self, reg: Gpr, offset: u32) {
        self.gs(0x3b, reg, offset);
    }

    /// `cmp dword ptr [rip + …], value`, of a place within 2 GB: changes flags.
    pub(crate) fn compare_place(&mut self, place: u64, value: u32) {
        self.bytes(&[0x81, 0x3d]);
        let end = self.at as u64 + 8;
        self.dword(place.wrapping_sub(end) as u32);
        self.dword(value);
    }

    /// Whether RIP-relative operands reach a place from a little behind the cursor.
    pub(crate) fn reaches(&self, place: u64) -> bool {
        const BEHIND: i64 = 1 << 10;
        let distance = place.wrapping_sub(self.at as u64).cast_signed();
        i32::try_from(distance - BEHIND).is_ok() && i32::try_from(distance).is_ok()
    }

    /// `add reg, gs:[offset]`: changes flags.
    pub(crate) fn add_state(&mut self, reg: Gpr, offset: u32) {
        self.gs(0x03, reg, offset);
    }

    /// `add reg, [base + displacement]`: changes flags.
    pub(crate) fn add(&mut self, reg: Gpr, base: Gpr, displacement: i32) {
        self.bytes(&[0x48 | reg >> 3 << 2 | base >> 3, 0x03]);
        self.memory(reg, base, displacement);
    }

    /// `shl reg, by`: changes flags.
    pub(crate) fn shift_left(&mut self, reg: Gpr, by: u8) {
        self.bytes(&[0x48 | reg >> 3, 0xc1, 0xe0 | reg & 7, by]);
    }

    /// `movzx to, word from`
    pub(crate) fn low_word(&mut self, to: Gpr, from: Gpr) {
        let code = [0x0f, 0xb7, 0xc0 | (to & 7) << 3 | from & 7];
        self.byte(0x40 | to >> 3 << 2 | from >> 3);
        self.bytes(&code);
    }

    pub(crate) fn store_state_immediate(&mut self, offset: u32, value: i32) {
        self.bytes(&[0x65, 0x48, 0xc7, 0x04, 0x25]);
        self.dword(offset);
        self.dword(value.cast_unsigned());
    }

    pub(crate) fn jump_state(&mut self, offset: u32) {
        self.bytes(&[0x65, 0xff, 0x24, 0x25]);
        self.dword(offset);
    }

    /// Leaves for the dispatcher.
    pub(crate) fn leave(&mut self, exit: i32) {
        self.store_state_immediate(offset::EXIT, exit);
        self.jump_state(offset::ENTER);
    }

    fn memory(&mut self, reg: u8, base: Gpr, displacement: i32) {
        let short = i8::try_from(displacement);
        let mode = if short.is_ok() { 0x40 } else { 0x80 };
        self.byte(mode | (reg & 7) << 3 | base & 7);
        if base & 7 == 4 {
            self.byte(0x24);
        }
        match short {
            Ok(short) => self.byte(short.cast_unsigned()),
            Err(_) => self.dword(displacement.cast_unsigned()),
        }
    }

    /// `mov [base + displacement], reg`
    pub(crate) fn store(&mut self, base: Gpr, displacement: i32, reg: Gpr) {
        self.bytes(&[0x48 | reg >> 3 << 2 | base >> 3, 0x89]);
        self.memory(reg, base, displacement);
    }

    /// `mov qword ptr [base], value`
    pub(crate) fn store_immediate(&mut self, base: Gpr, value: i32) {
        self.bytes(&[0x48 | base >> 3, 0xc7]);
        self.memory(0, base, 0);
        self.dword(value.cast_unsigned());
    }

    /// `mov dword ptr [base + displacement], value`
    pub(crate) fn store_immediate_dword(&mut self, base: Gpr, displacement: i32, value: u32) {
        self.bytes(&[0x40 | base >> 3, 0xc7]);
        self.memory(0, base, displacement);
        self.dword(value);
    }

    /// `mov dword ptr [base + displacement], reg`
    pub(crate) fn store_dword(&mut self, base: Gpr, displacement: i32, reg: Gpr) {
        self.bytes(&[0x40 | reg >> 3 << 2 | base >> 3, 0x89]);
        self.memory(reg, base, displacement);
    }

    /// The time stamp counter, behind everything before it, into edx and eax.
    pub(crate) fn read_clock(&mut self) {
        self.bytes(&[0x0f, 0xae, 0xe8, 0x0f, 0x31]); // lfence; rdtsc
    }

    /// `mov reg, [base + displacement]`
    pub(crate) fn load(&mut self, reg: Gpr, base: Gpr, displacement: i32) {
        self.bytes(&[0x48 | reg >> 3 << 2 | base >> 3, 0x8b]);
        self.memory(reg, base, displacement);
    }

    /// `lea reg, [base + displacement]`
    pub(crate) fn lea(&mut self, reg: Gpr, base: Gpr, displacement: i32) {
        self.bytes(&[0x48 | reg >> 3 << 2 | base >> 3, 0x8d]);
        self.memory(reg, base, displacement);
    }

    /// `lea reg, [reg + other + displacement]`; `other` is not rsp.
    pub(crate) fn lea_sum(&mut self, reg: Gpr, other: Gpr, displacement: i32) {
        self.bytes(&[
            0x48 | reg >> 3 << 2 | other >> 3 << 1 | reg >> 3,
            0x8d,
            0x84 | (reg & 7) << 3,
            (other & 7) << 3 | reg & 7,
        ]);
        self.dword(displacement.cast_unsigned());
    }

    /// `not reg`
    pub(crate) fn not(&mut self, reg: Gpr) {
        self.bytes(&[0x48 | reg >> 3, 0xf7, 0xd0 | reg & 7]);
    }

    /// `mov to, from`
    pub(crate) fn copy(&mut self, to: Gpr, from: Gpr) {
        self.bytes(&[
            0x48 | from >> 3 << 2 | to >> 3,
            0x89,
            0xc0 | (from & 7) << 3 | to & 7,
        ]);
    }

    /// `mov reg, 0`, not `xor`.
    pub(crate) fn zero(&mut self, reg: Gpr) {
        self.bytes(&[0x48 | reg >> 3, 0xc7, 0xc0 | reg & 7, 0, 0, 0, 0]);
    }

    /// `mov reg, value`
    pub(crate) fn constant(&mut self, reg: Gpr, value: u64) {
        self.bytes(&[0x48 | reg >> 3, 0xb8 | reg & 7]);
        self.bytes(&value.to_le_bytes());
    }

    /// Flags into ah and al; rax is lost.
    pub(crate) fn save_flags(&mut self) {
        self.bytes(&[0x9f, 0x0f, 0x90, 0xc0]); // lahf; seto al
    }

    /// Flags from ah and al.
    pub(crate) fn restore_flags(&mut self) {
        self.bytes(&[0x04, 0x7f, 0x9e]); // add al, 0x7f; sahf
    }

    /// A rel32 that may be patched while other threads run it: four aligned bytes behind `opcode`.
    pub(crate) fn branch_patchable(&mut self, opcode: &[u8]) -> Rel32 {
        self.align(4, opcode.len());
        self.branch(opcode)
    }

    /// A branch with a rel32 to be filled in.
    pub(crate) fn branch(&mut self, opcode: &[u8]) -> Rel32 {
        self.bytes(opcode);
        let place = self.at;
        self.dword(0);
        Rel32(place)
    }

    /// A branch with a rel8 to be filled in.
    pub(crate) fn branch_short(&mut self, opcode: &[u8]) -> Rel8 {
        self.bytes(opcode);
        let place = self.at;
        self.byte(0);
        Rel8(place)
    }

    /// Lets a branch lead to `to`.
    pub(crate) fn lead(&mut self, branch: Rel32, to: usize) {
        let distance = to as i64 - (branch.0 as i64 + 4);
        debug_assert_eq!(i64::from(distance as i32), distance);
        // SAFETY: the place was written by `branch`; nobody runs this code yet.
        unsafe { (branch.0 as *mut i32).write_unaligned(distance as i32) };
    }

    /// Lets a branch lead to the cursor.
    pub(crate) fn lead_here(&mut self, branch: Rel32) {
        self.lead(branch, self.at);
    }

    /// Lets a short branch lead to the cursor.
    pub(crate) fn lead_short_here(&mut self, branch: Rel8) {
        let distance = self.at - (branch.0 + 1);
        debug_assert!(distance < 128);
        // SAFETY: as for `lead`.
        unsafe { (branch.0 as *mut u8).write(distance as u8) };
    }

    /// Jumps anywhere.
    pub(crate) fn jump_absolute(&mut self, to: u64) {
        self.bytes(&[0xff, 0x25, 0, 0, 0, 0]);
        self.bytes(&to.to_le_bytes());
    }
}
