//! Blocks that are not recorded: the target's instructions as they are, all registers being the target's throughout. Only
//! control flow is the engine's, so that it sees function entries, returns and system calls as everywhere.

use iced_x86::FlowControl;

use super::block::is_refused;
use super::code::Code;
use super::control;
use super::emit::Emitter;
use crate::cache::{Entry, Mode};
use crate::dispatch::Engine;
use crate::place::State;

/// Longer code goes on in another block.
const INSTRUCTIONS: usize = 128;

/// Translates the block at `pc`; returns where its translation begins.
///
/// # Errors
/// Why there is none.
pub(super) fn translate(engine: &mut Engine, code: &Code, pc: u64) -> Result<usize, String> {
    let mut instructions = Vec::new();
    let mut end = pc;
    let mut terminated = false;
    while instructions.len() < INSTRUCTIONS && !terminated {
        let is_elsewhere = end != pc && engine.entries.contains(end);
        let found = code.decode(end).filter(|instruction| !is_refused(instruction));
        let Some(instruction) = found.filter(|_| !is_elsewhere) else {
            if end == pc {
                return Err("the instruction there can't be translated".to_owned());
            }
            break;
        };
        end = instruction.next_ip();
        terminated = match instruction.flow_control() {
            FlowControl::Next | FlowControl::Exception => false,
            FlowControl::ConditionalBranch => !instruction.is_jcc_short_or_near(),
            _ => true,
        };
        instructions.push(instruction);
    }
    let mut emitter = Emitter::new(engine, pc);
    let entry = emitter.assembler.position();
    emitter.note(pc, State::Entry);
    let told = emitter.begin(code, pc..end, Mode::Bare);
    let at = Entry {
        entry,
        warm: None,
        told,
    };
    if told.is_some() || !control::is_unbound(emitter.engine, &instructions) {
        emitter.engine.cache.insert(Mode::Bare, pc..end, at);
    }
    let mut exits = Vec::new();
    let body = instructions.len() - usize::from(terminated);
    for (index, instruction) in instructions[..body].iter().enumerate() {
        let told = index == 0 && told.is_some();
        emitter.note(instruction.ip(), if told { State::Told } else { State::Settled });
        if instruction.is_jcc_short_or_near() {
            let branch = emitter
                .assembler
                .branch_patchable(&control::conditional(instruction));
            exits.push((branch, instruction.near_branch_target()));
        } else {
            emitter.copy(instruction);
        }
    }
    let Emitter {
        mut assembler,
        engine,
        ..
    } = emitter;
    let end = control::End {
        instructions: &instructions,
        terminated,
        at: end,
    };
    control::emit_bare(engine, &mut assembler, &end, exits);
    engine.cache.close(&assembler);
    Ok(entry)
}
