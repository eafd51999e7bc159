//! Symbolic register values inside a block: each register is a *root* plus a constant. All addresses with the same root
//! share one word of the record; constants need none.

use iced_x86::{Code, Instruction, InstructionInfo, Mnemonic, OpAccess, OpKind, Register};

use crate::thread::register::RSP;

const REGISTERS: usize = 16;
/// The root of values that are known at translation.
const CONSTANT: usize = REGISTERS;

/// A register's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Known at translation.
    Constant(i64),
    /// `offset` more than a root that the record holds.
    Kept { need: u16, offset: i64 },
    /// `offset` more than a root that the record does not hold yet: the entry value of a register, if it has one.
    Unkept { root: Option<u8>, offset: i64 },
}

/// The registers' values at one place of a block. The first sixteen roots are the values at the block's entry.
pub(super) struct Roots {
    values: [(usize, i64); REGISTERS],
    /// Of each root, the need that holds it.
    kept: Vec<Option<u16>>,
}

impl Roots {
    pub(super) fn new() -> Self {
        Self {
            values: std::array::from_fn(|register| (register, 0)),
            kept: vec![None; REGISTERS + 1],
        }
    }

    /// The value of `register`.
    pub(super) fn value(&self, register: u8) -> Value {
        let (root, offset) = self.values[usize::from(register)];
        if root == CONSTANT {
            return Value::Constant(offset);
        }
        match self.kept[root] {
            Some(need) => Value::Kept { need, offset },
            None => Value::Unkept {
                root: (root < REGISTERS).then_some(root as u8),
                offset,
            },
        }
    }

    /// The record holds `register`'s root from here on.
    pub(super) fn keep(&mut self, register: u8, need: u16) {
        self.kept[self.values[usize::from(register)].0] = Some(need);
    }

    /// By how much the entry value of `register` has grown, if by a constant.
    pub(super) fn growth(&self, register: u8) -> Option<i64> {
        let (root, offset) = self.values[usize::from(register)];
        (root == usize::from(register)).then_some(offset)
    }

    /// Moves past an instruction.
    pub(super) fn advance(&mut self, instruction: &Instruction, info: &InstructionInfo) {
        let known = self.known_result(instruction);
        let stack = self.values[RSP];
        for used in info.used_registers() {
            let writes = matches!(
                used.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            );
            let register = used.register().full_register();
            if !writes || !register.is_gpr64() {
                continue;
            }
            let number = register.number();
            self.values[number] = match known {
                Some((known_register, value)) if known_register == number => value,
                _ => {
                    self.kept.push(None);
                    (self.kept.len() - 1, 0)
                }
            };
        }
        let moves_stack = matches!(
            instruction.mnemonic(),
            Mnemonic::Push
                | Mnemonic::Pop
                | Mnemonic::Pushfq
                | Mnemonic::Popfq
                | Mnemonic::Call
                | Mnemonic::Ret
        );
        let pops_stack_pointer = instruction.mnemonic() == Mnemonic::Pop
            && instruction.op0_register().full_register() == Register::RSP;
        if moves_stack && !pops_stack_pointer {
            let increment = i64::from(instruction.stack_pointer_increment());
            self.values[RSP] = (stack.0, stack.1.wrapping_add(increment));
        }
    }

    /// The destination register and its value, where that follows from the others.
    fn known_result(&self, instruction: &Instruction) -> Option<(usize, (usize, i64))> {
        let mnemonic = instruction.mnemonic();
        if instruction.code() == Code::Leaveq {
            let (root, offset) = self.values[5];
            return Some((RSP, (root, offset.wrapping_add(8))));
        }
        if instruction.op_count() == 0 || instruction.op0_kind() != OpKind::Register {
            return None;
        }
        let destination = instruction.op0_register();
        let number = destination.full_register().number();
        if destination.is_gpr32() {
            // The upper half becomes zero.
            let value = match mnemonic {
                Mnemonic::Xor | Mnemonic::Sub
                    if instruction.op1_kind() == OpKind::Register
                        && instruction.op1_register() == destination =>
                {
                    0
                }
                Mnemonic::Mov if instruction.op1_kind() == OpKind::Immediate32 => {
                    i64::from(instruction.immediate32())
                }
                _ => return None,
            };
            return Some((number, (CONSTANT, value)));
        }
        if !destination.is_gpr64() {
            return None;
        }
        let (root, offset) = self.values[number];
        let shifted = |by: i64| Some((number, (root, offset.wrapping_add(by))));
        match mnemonic {
            Mnemonic::Add | Mnemonic::Sub => {
                let immediate = match instruction.op1_kind() {
                    OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
                        instruction.immediate(1).cast_signed()
                    }
                    _ => return None,
                };
                shifted(if mnemonic == Mnemonic::Add {
                    immediate
                } else {
                    immediate.wrapping_neg()
                })
            }
            Mnemonic::Inc => shifted(1),
            Mnemonic::Dec => shifted(-1),
            Mnemonic::Mov => match instruction.op1_kind() {
                OpKind::Register if instruction.op1_register().is_gpr64() => {
                    Some((number, self.values[instruction.op1_register().number()]))
                }
                OpKind::Immediate32to64 | OpKind::Immediate64 => {
                    Some((number, (CONSTANT, instruction.immediate(1).cast_signed())))
                }
                _ => None,
            },
            Mnemonic::Lea if instruction.memory_index() == Register::None => {
                let displacement = instruction.memory_displacement64().cast_signed();
                let base = instruction.memory_base();
                if base == Register::RIP {
                    return Some((number, (CONSTANT, displacement)));
                }
                base.is_gpr64().then(|| {
                    let (root, offset) = self.values[base.number()];
                    (number, (root, offset.wrapping_add(displacement)))
                })
            }
            _ => None,
        }
    }
}
