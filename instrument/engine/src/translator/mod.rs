//! Translation: a block of the target's code into code that does the same and records its accesses.
//!
//! Instructions are copied byte for byte (`emit`), only RIP-relative operands are re-encoded. Around them stands the
//! recording: one record per execution, whose words are the values of the address *roots* (`roots`, `operand`); the
//! record pointer lies in a register that the block does not use. A loop onto itself has one record for many iterations
//! (`layout`). A conditional jump forward does not end a block (`block`). Control flow is in `control`.
//!
//! Not there: return prediction.

pub(crate) mod assembler;
mod block;
mod code;
mod control;
mod emit;
mod flags;
mod flops;
mod layout;
mod operand;
mod roots;
mod site;

use iced_x86::{Encoder, InstructionInfoFactory};

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

/// Translates the block at `pc`; returns where its translation begins.
///
/// # Errors
/// Why it can't be translated.
pub(crate) fn translate(engine: &mut Engine, pc: u64) -> Result<usize, String> {
    let mapping = engine.maps.find(pc).ok_or("nothing is mapped there")?;
    let code = Code::of(mapping).ok_or("it is not executable")?;
    let translator = engine
        .translator
        .as_mut()
        .expect("made before the first translation");
    let mut limit = usize::MAX;
    loop {
        let block = block::discover(&code, &mut translator.factory, pc, limit, |at| {
            engine.entries.contains(at)
        })?;
        let Some(plan) = emit::Plan::of(&code, &block) else {
            // Too few registers are left for the check: a shorter block needs fewer.
            limit = block.instructions.len() / 2;
            if limit == 0 {
                return Err("the instruction there leaves no register to record with".to_owned());
            }
            continue;
        };
        let id = site::publish(&block, &plan.layout);
        return Ok(emit::emit(engine, &code, &block, &plan, id));
    }
}
