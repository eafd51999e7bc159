//! Loop records: one record, many executions of a block. `PROTOCOL.md`, "Loops", is the prose.

use crate::decode::short;
use crate::form;
use crate::layout;
use crate::run::{RunBatch, RunOperand, SCATTERED};
use crate::site::{Block, BlockId, Operand, Role, SiteTable};

/// Iterations whose words grow evenly are handed on as one run if they are as many; fewer are cheaper one by one.
const RUN_ITERATIONS: usize = 4;

/// Of so many operands of an iteration, one may be scattered for a run to pay.
const OPERANDS_PER_SCATTERED: u32 = 2;
/// Addresses of scattered operands in a run at most.
const MOST_SCATTERED: usize = 1 << 12;

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
    takes_scattered: bool,
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
        // Not known before the first iterations that do not grow evenly.
        let mut uneven = (!takes_scattered || !block.is_plain).then_some(None);
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
            } else if iterations - iteration >= RUN_ITERATIONS
                && let Some(uneven) = *uneven.get_or_insert_with(|| {
                    Uneven::of(
                        &words[iteration * step..iterations * step],
                        header.len(),
                        block,
                        sites,
                    )
                })
            {
                let stretch = (iterations - iteration).min(MOST_SCATTERED / uneven.operands as usize);
                let from = iteration..iteration + stretch;
                push_scattered_run(
                    batch,
                    id,
                    block,
                    sites,
                    slots,
                    &words[from.start * step..from.end * step],
                    fs_base,
                    iteration as u64,
                    uneven,
                );
                iteration += stretch;
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

/// The words of an iteration that do not grow evenly.
#[derive(Clone, Copy, Debug)]
struct Uneven {
    /// The first one's number among a record's words.
    first: usize,
    /// Bits of them.
    words: u64,
    /// Operands that are at a sum with one of them.
    operands: u32,
}

impl Uneven {
    /// Of these iterations; none if it does not pay to tell the operands at such words from others.
    fn of(words: &[u64], header: usize, block: &Block, sites: &SiteTable) -> Option<Self> {
        let step = block.iteration_slots as usize;
        if step > 64 {
            return None;
        }
        let mut uneven = Self {
            first: header,
            words: 0,
            operands: 0,
        };
        let growth = |iteration: usize, word: usize| {
            words[(iteration + 1) * step + word].wrapping_sub(words[iteration * step + word])
        };
        for word in 0..step {
            let is_even =
                (1..words.len() / step - 1).all(|iteration| growth(iteration, word) == growth(0, word));
            uneven.words |= u64::from(!is_even) << word;
        }
        let operands = sites.operands_of(block).iter();
        uneven.operands = operands.filter(|site| uneven.is_scattered(&site.operand)).count() as u32;
        let pays = uneven.operands > 0 && uneven.operands * OPERANDS_PER_SCATTERED <= block.operands + 1;
        pays.then_some(uneven)
    }

    #[inline]
    fn is_scattered(&self, operand: &Operand) -> bool {
        let is_uneven = |slot: u16| {
            let word = usize::from(slot).wrapping_sub(self.first);
            word < 64 && self.words >> word & 1 != 0
        };
        is_uneven(operand.slot) || operand.scale != 0 && is_uneven(operand.index_slot)
    }
}

/// Pushes iterations of a loop of plain operands, of which some are scattered, from number `first` on as one run. `slots` holds
/// the first one's words, `words` those that each has of its own.
#[expect(clippy::too_many_arguments)]
fn push_scattered_run(
    batch: &mut RunBatch,
    id: BlockId,
    block: &Block,
    sites: &SiteTable,
    slots: &mut [u64],
    words: &[u64],
    fs_base: u64,
    first: u64,
    uneven: Uneven,
) {
    let step = block.iteration_slots as usize;
    let growth = Growth {
        header: slots.len() - step,
        first: &words[..step],
        next: &words[step..2 * step],
    };
    let operands = || (block.first_operand..).zip(sites.operands_of(block));
    batch.push_fetch(block);
    for (site_id, site) in operands() {
        let operand = &site.operand;
        batch.push_operand(RunOperand {
            address: form::address(&operand.in_iteration(first), slots, fs_base),
            stride: match uneven.is_scattered(operand) {
                true => SCATTERED,
                false => growth.stride(operand),
            },
            site: site_id,
            bytes: site.bytes,
            kind: site.kind,
        });
    }
    let own = slots.len() - step;
    for (iteration, words) in (first..).zip(words.chunks_exact(step)) {
        slots[own..].copy_from_slice(words);
        for (_, site) in operands().filter(|(_, site)| uneven.is_scattered(&site.operand)) {
            batch.push_scattered(form::address(
                &site.operand.in_iteration(iteration),
                slots,
                fs_base,
            ));
        }
    }
    batch.end_run(id, words.len() as u64 / step as u64);
}

/// How words grow from one iteration to the next.
struct Growth<'a> {
    /// Words before those that an iteration has of its own.
    header: usize,
    first: &'a [u64],
    next: &'a [u64],
}

impl Growth<'_> {
    fn of(&self, slot: u16) -> i64 {
        match usize::from(slot).checked_sub(self.header) {
            Some(word) if word < self.next.len() => {
                self.next[word].wrapping_sub(self.first[word]).cast_signed()
            }
            _ => 0,
        }
    }

    /// How an operand's address does.
    fn stride(&self, operand: &Operand) -> i64 {
        let index = if operand.scale == 0 {
            0
        } else {
            self.of(operand.index_slot).wrapping_mul(i64::from(operand.scale))
        };
        i64::from(operand.stride)
            .wrapping_add(self.of(operand.slot))
            .wrapping_add(index)
    }
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
    let growth = Growth {
        header,
        first: &slots[header..],
        next,
    };
    batch.push_fetch(block);
    for (site_id, site) in (block.first_operand..).zip(sites.operands_of(block)) {
        let operand = &site.operand;
        batch.push_operand(RunOperand {
            address: form::address(&operand.in_iteration(first), slots, fs_base),
            stride: growth.stride(operand),
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
