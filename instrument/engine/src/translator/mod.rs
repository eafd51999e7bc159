//! Translation: a block of the target's code into code that does the same and records its accesses.
//!
//! Instructions are copied byte for byte (`emit`), only RIP-relative operands are re-encoded. Around them stands the
//! recording: one record per execution, whose words are the values of the address *roots* (`roots`, `operand`); the
//! record pointer lies in a register that the block does not use. A loop onto itself has one record for many iterations
//! (`layout`). A conditional jump forward does not end a block (`block`). Control flow is in `control`.
//!
//! Outside of what is to be observed, blocks are not recorded (`bare`).
//!
//! Not there: return prediction.

pub(crate) mod assembler;
mod bare;
mod block;
mod code;
mod control;
mod emit;
mod flags;
mod flops;
mod layout;
mod operand;
mod roots;
pub(crate) mod site;
mod xsave;

use iced_x86::{Encoder, InstructionInfoFactory};

use crate::cache::Mode;
use crate::dispatch::Engine;
use code::Code;

/// What translating needs beside the code.
pub(crate) struct Translator {
    factory: InstructionInfoFactory,
    encoder: Encoder,
}

impl Translator {
    pub(crate) fn new() -> Self {
        Self {
            factory: InstructionInfoFactory::new(),
            encoder: Encoder::new(64),
        }
    }
}

/// What the code from a block's start up to an instruction in it does.
pub(crate) struct Executed {
    pub(crate) instructions: u64,
    pub(crate) flops: u32,
    /// The instruction there is a repeated string: the register that tells how far it got.
    pub(crate) string_pointer: Option<u8>,
}

/// What was executed of the block at `start` before the instruction at `pc`. `None` if the code is no longer there.
pub(crate) fn executed(engine: &mut Engine, start: u64, pc: u64) -> Option<Executed> {
    let code = Code::of(engine.maps.find(start)?)?;
    let mut executed = Executed {
        instructions: 0,
        flops: 0,
        string_pointer: None,
    };
    let mut at = start;
    while at < pc {
        let instruction = code.decode(at)?;
        executed.instructions += 1;
        executed.flops += flops::of(&instruction);
        at = instruction.next_ip();
    }
    let next = code.decode(pc)?;
    if operand::is_repeated(&next) {
        executed.string_pointer = Some(operand::string_pointer(&next).number() as u8);
    }
    (at == pc).then_some(executed)
}

/// Translates the block at `pc`; returns where its translation begins. Control comes from a block that holds the record
/// pointer in `pointer`, if that is known.
///
/// # Errors
/// Why it can't be translated.
pub(crate) fn translate(
    engine: &mut Engine,
    mode: Mode,
    pc: u64,
    pointer: Option<u8>,
) -> Result<usize, String> {
    let mapping = engine.maps.find(pc).ok_or("nothing is mapped there")?;
    let code = Code::of(mapping).ok_or("it is not executable")?;
    if mode == Mode::Bare {
        return bare::translate(engine, &code, pc);
    }
    let translator = engine
        .translator
        .as_mut()
        .expect("made before the first translation");
    let mut limit = usize::MAX;
    loop {
        let block = block::discover(&code, &mut translator.factory, pc, limit, |at| {
            engine.entries.contains(at)
        })?;
        let Some(plan) = emit::Plan::of(&code, &block, pointer) else {
            // Too few registers are left for the check: a shorter block needs fewer.
            limit = block.instructions.len() / 2;
            if limit == 0 {
                return Err("the instruction there leaves no register to record with".to_owned());
            }
            continue;
        };
        let published = site::publish(&block, &plan.layout);
        return Ok(emit::emit(engine, &code, &block, &plan, published));
    }
}
