//! Loop records: one record, many executions of a block. `PROTOCOL.md`, "Loops", is the prose.

use crate::decode::short;
use crate::form;
use crate::layout;
use crate::run::{RunBatch, RunOperand};
use crate::site::{Block, BlockId, Role, SiteTable};

/// Iterations whose words grow evenly are handed on as one run if they are as many; fewer are cheaper one by one.
const RUN_ITERATIONS: usize = 4;

/// The words of a loop record.
pub(crate) struct LoopRecord<'a> {
    id: BlockId,
    block: &'a Block,
    header: &'a [u64],
    /// Whole iterations.
    iterations: u64,
    /// Their words, then those of the part.
    words: &'a [u64],
    /// What was executed of one more iteration.
    part: Option<(BlockId, &'a Block)>,
}

impl<'a> LoopRecord<'a> {
    /// Parses the record of a loop; returns it and its words behind the first.
    ///
    /// # Errors
    /// What breaks the protocol.
    pub(crate) fn parse(
        record: &'a [u64],
        block: &'a Block,
        sites: &'a SiteTable,
    ) -> Result<(Self, usize), String> {
        let head = record[0];
        let id = head as BlockId;
        let part = match head >> layout::PART_SHIFT & ((1 << layout::PART_BITS) - 1) {
            0 => None,
            number => {
                let part_id = id.wrapping_add(number as u32);
                let part = sites
                    .block(part_id)
                    .filter(|part| part.role == Role::PartOfLoop(id))
                    .ok_or_else(|| format!("block {part_id} is no part of loop {id}"))?;
                Some((part_id, part))
            }
        };
        let slots = block.slots as usize;
        let header = record.get(1..=slots).ok_or_else(|| short(id, slots + 1))?;
        let count = *record.get(slots + 1).ok_or_else(|| short(id, slots + 1))?;
        if block.iteration_slots == 0 {
            let parsed = Self {
                id,
                block,
                header,
                iterations: count,
                words: &[],
                part,
            };
            return Ok((parsed, slots + 1));
        }
        let all = (count / 8) as usize;
        let words = record
            .get(slots + 2..)
            .and_then(|rest| rest.get(..all))
            .ok_or_else(|| short(id, all))?;
        let part_words = part.map_or(0, |(_, part)| part.iteration_slots as usize);
        let whole = all
            .checked_sub(part_words)
            .filter(|whole| count.is_multiple_of(8) && whole.is_multiple_of(block.iteration_slots as usize));
        let Some(whole) = whole else {
            return Err(format!("loop {id} has {count} bytes of iterations"));
        };
        let parsed = Self {
            id,
            block,
            header,
            iterations: whole as u64 / u64::from(block.iteration_slots),
            words,
            part,
        };
        Ok((parsed, slots + 1 + all))
    }
}

/// Pushes the runs of a loop's record. `slots` is scratch.
pub(crate) fn expand(
    batch: &mut RunBatch,
    slots: &mut Vec<u64>,
    record: &LoopRecord<'_>,
    sites: &SiteTable,
    fs_base: u64,
    mut flush: impl FnMut(&mut RunBatch),
) {
    let LoopRecord {
        id,
        block,
        header,
        iterations,
        words,
        part,
    } = *record;
    let step = block.iteration_slots as usize;
    slots.clear();
    slots.extend_from_slice(header);
    if step == 0 {
        if iterations > 0 {
            push_run(batch, id, block, sites, slots, &[], fs_base, 0, iterations);
        }
    } else {
        let of = |iteration: usize| &words[iteration * step..(iteration + 1) * step];
        let iterations = iterations as usize;
        let mut iteration = 0;
        while iteration < iterations {
            slots.truncate(header.len());
            slots.extend_from_slice(of(iteration));
            let even = if block.is_plain {
                evenly(&words[iteration * step..iterations * step], step)
            } else {
                1
            };
            if even >= RUN_ITERATIONS {
                let next = of(iteration + 1);
                push_run(
                    batch,
                    id,
                    block,
                    sites,
                    slots,
                    next,
                    fs_base,
                    iteration as u64,
                    even as u64,
                );
                iteration += even;
            } else {
                execution(batch, id, block, sites, slots, fs_base, iteration as u64);
                iteration += 1;
            }
            if batch.is_full() {
                flush(batch);
            }
        }
    }
    if let Some((part_id, part)) = part {
        slots.truncate(header.len());
        slots.extend_from_slice(&words[words.len() - part.iteration_slots as usize..]);
        execution(batch, part_id, part, sites, slots, fs_base, iterations);
    }
}

/// Records of plain blocks that came once and come again, round after round, with the same words.
pub(crate) struct Cycle<'a>(Vec<(BlockId, &'a Block, &'a [u64])>);

impl<'a> Cycle<'a> {
    /// Parses the records of one round; `None` if there is any that can't be repeated as a run.
    pub(crate) fn parse(mut words: &'a [u64], sites: &'a SiteTable) -> Option<Self> {
        let mut records = Vec::new();
        while let Some((&head, rest)) = words.split_first() {
            if head >> layout::RECORD_SHIFT != layout::RECORD_BLOCK {
                return None;
            }
            let id = head as BlockId;
            let block = sites
                .block(id)
                .filter(|block| block.role == Role::Straight && block.is_plain)?;
            let (slots, behind) = rest.split_at_checked(block.slots as usize)?;
            records.push((id, block, slots));
            words = behind;
        }
        Some(Self(records))
    }

    /// Pushes `rounds` rounds as one run of each record: first all executions of the first, then those of the next.
    pub(crate) fn push(&self, batch: &mut RunBatch, rounds: u64, sites: &SiteTable, fs_base: u64) {
        for &(id, block, slots) in &self.0 {
            push_run(batch, id, block, sites, slots, &[], fs_base, 0, rounds);
        }
    }
}

/// How many iterations, from the first of `words` on, grow by the same amounts.
fn evenly(words: &[u64], step: usize) -> usize {
    let grown = words.len() / step;
    if grown < RUN_ITERATIONS {
        return grown.min(1);
    }
    (2..grown)
        .find(|&iteration| {
            (0..step).any(|word| {
                let at = |iteration: usize| words[iteration * step + word];
                at(iteration).wrapping_sub(at(iteration - 1)) != at(1).wrapping_sub(at(0))
            })
        })
        .unwrap_or(grown)
}

/// Pushes iterations of a loop of plain operands from number `first` on as one run. `slots` holds the first one's words,
/// `next` what iteration words the second one has.
#[expect(clippy::too_many_arguments)]
fn push_run(
    batch: &mut RunBatch,
    id: BlockId,
    block: &Block,
    sites: &SiteTable,
    slots: &[u64],
    next: &[u64],
    fs_base: u64,
    first: u64,
    iterations: u64,
) {
    let header = slots.len() - next.len();
    let growth = |slot: u16| match usize::from(slot).checked_sub(header) {
        Some(word) if word < next.len() => next[word].wrapping_sub(slots[header + word]).cast_signed(),
        _ => 0,
    };
    batch.push_fetch(block);
    for (site_id, site) in (block.first_operand..).zip(sites.operands_of(block)) {
        let operand = &site.operand;
        let index = if operand.scale == 0 {
            0
        } else {
            growth(operand.index_slot).wrapping_mul(i64::from(operand.scale))
        };
        batch.push_operand(RunOperand {
            address: form::address(&operand.in_iteration(first), slots, fs_base),
            stride: i64::from(operand.stride)
                .wrapping_add(growth(operand.slot))
                .wrapping_add(index),
            site: site_id,
            bytes: site.bytes,
            kind: site.kind,
        });
    }
    batch.end_run(id, iterations);
}

/// Pushes one execution of a block, in a loop iteration `iteration`.
#[inline]
pub(crate) fn execution(
    batch: &mut RunBatch,
    id: BlockId,
    block: &Block,
    sites: &SiteTable,
    slots: &[u64],
    fs_base: u64,
    iteration: u64,
) {
    if !block.is_plain {
        form::expand(batch, id, sites, slots, fs_base, iteration);
        return;
    }
    batch.push_fetch(block);
    let sites = (block.first_operand..).zip(sites.operands_of(block));
    batch.push_operands(sites.map(|(site_id, site)| RunOperand {
        address: if site.operand.is_direct {
            site.operand.direct_address(slots, iteration)
        } else {
            form::address(&site.operand.in_iteration(iteration), slots, fs_base)
        },
        stride: 0,
        site: site_id,
        bytes: site.bytes,
        kind: site.kind,
    }));
    batch.end_run(id, 1);
}
