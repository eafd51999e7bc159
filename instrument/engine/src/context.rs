//! What the kernel saves of an interrupted thread and restores when the handler returns: `ucontext_t` of x86-64 Linux.

const REGISTERS_OFFSET: u64 = 40;
const MASK_OFFSET: u64 = 296;
/// Places of the saved registers behind `REGISTERS_OFFSET`, in words.
const RSP: usize = 15;
const RIP: usize = 16;
const FLAGS: usize = 17;
/// The same of each general register, by encoding number.
const GENERAL: [usize; 16] = [13, 14, 12, 11, RSP, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];
/// The trap flag: the CPU traps after each instruction.
const TRAP: u64 = 0x100;

/// The saved state of one delivery, on the stack that the handler runs on.
pub(crate) struct Context(u64);

impl Context {
    /// # Safety
    /// A `ucontext_t` lies at `address` for as long as this is used, and nobody else uses it meanwhile.
    pub(crate) unsafe fn at(address: u64) -> Self {
        Self(address)
    }

    fn word(&self, offset: u64) -> *mut u64 {
        (self.0 + offset) as *mut u64
    }

    fn register(&self, place: usize) -> *mut u64 {
        self.word(REGISTERS_OFFSET + place as u64 * 8)
    }

    pub(crate) fn instruction(&self) -> u64 {
        // SAFETY: as `at` requires; so below.
        unsafe { *self.register(RIP) }
    }

    pub(crate) fn set_instruction(&mut self, address: u64) {
        // SAFETY: as above.
        unsafe { *self.register(RIP) = address }
    }

    pub(crate) fn stack_pointer(&self) -> u64 {
        // SAFETY: as above.
        unsafe { *self.register(RSP) }
    }

    /// A general register, by encoding number.
    pub(crate) fn general(&self, number: u8) -> u64 {
        // SAFETY: as above.
        unsafe { *self.register(GENERAL[usize::from(number)]) }
    }

    pub(crate) fn set_general(&mut self, number: u8, value: u64) {
        // SAFETY: as above.
        unsafe { *self.register(GENERAL[usize::from(number)]) = value }
    }

    /// The signals that are blocked while the thread runs on.
    pub(crate) fn mask(&self) -> u64 {
        // SAFETY: as above.
        unsafe { *self.word(MASK_OFFSET) }
    }

    pub(crate) fn set_mask(&mut self, mask: u64) {
        // SAFETY: as above.
        unsafe { *self.word(MASK_OFFSET) = mask }
    }

    /// Whether the thread traps after its next instruction.
    pub(crate) fn set_stepping(&mut self, stepping: bool) {
        // SAFETY: as above.
        unsafe {
            let flags = self.register(FLAGS);
            *flags = *flags & !TRAP | if stepping { TRAP } else { 0 };
        }
    }
}
