//! A run of many iterations is attributed like its iterations one by one, also where it passes from object to object.

use std::collections::{BTreeMap, BTreeSet};

use memloupe_attribute::{AttributedBatch, Attribution, Row};
use memloupe_stream::{AccessKind, Event, MapKind, RunBatch, RunOperand, SiteTable};
use proptest::prelude::*;

const HEAP: u64 = 0x10_0000;
const HEAP_BYTES: u64 = 0x10000;

/// One block at 0x1000 with three operands of 8 bytes: load, store, load.
fn sites() -> SiteTable {
    let mut entry = Vec::new();
    let operands = [0u8, 1, 0];
    let words = (40 + 32 * operands.len()) / 8;
    entry.extend((words as u32).to_le_bytes());
    entry.extend(0u32.to_le_bytes());
    entry.extend(0x1000u64.to_le_bytes());
    entry.extend(12u32.to_le_bytes());
    entry.extend(0u32.to_le_bytes());
    entry.extend(3u16.to_le_bytes());
    entry.extend((operands.len() as u16).to_le_bytes());
    entry.extend((operands.len() as u16).to_le_bytes());
    entry.extend([0; 10]);
    for (slot, kind) in (0u16..).zip(operands) {
        entry.extend((i32::from(slot) * 4).to_le_bytes());
        entry.extend(8u16.to_le_bytes());
        entry.extend([kind, 0]);
        entry.extend(slot.to_le_bytes());
        entry.extend([0; 22]);
    }
    let mut table = SiteTable::default();
    table.extend(&entry).expect("a sound entry");
    table
}

/// A heap of allocations of these sizes, back to back, each with a call stack of its own.
fn attribution(sizes: &[u64]) -> Attribution {
    let mut attribution = Attribution::new(Vec::new());
    let map = |address, bytes, protection| Event::Map {
        address,
        bytes,
        protection,
        kind: MapKind::Anonymous,
        file_offset: 0,
        stack: 0,
        path: String::new(),
    };
    attribution.event(0, &map(0x1000, 0x1000, 5));
    attribution.event(0, &map(HEAP, HEAP_BYTES, 3));
    let mut address = HEAP;
    for (stack, bytes) in (0..).zip(sizes) {
        attribution.event(
            0,
            &Event::Stack {
                stack,
                frames: vec![0x1000 + stack],
            },
        );
        attribution.event(
            0,
            &Event::Alloc {
                address,
                bytes: *bytes,
                stack,
            },
        );
        address += bytes;
    }
    attribution
}

fn operands(places: &[(u64, i64)], iteration: i64) -> Vec<RunOperand> {
    let kinds = [AccessKind::Load, AccessKind::Store, AccessKind::Load];
    (1..)
        .zip(places)
        .zip(kinds)
        .map(|((site, (offset, stride)), kind)| RunOperand {
            address: (HEAP + HEAP_BYTES / 2 + offset).wrapping_add_signed(stride * iteration),
            stride: *stride,
            site,
            bytes: 8,
            kind,
        })
        .collect()
}

/// The accesses handed on, in order, with the names of their objects, and the rows.
fn attribute(sizes: &[u64], batches: &[(Vec<RunOperand>, u64)]) -> (Vec<(u64, String)>, Vec<Row>) {
    let sites = sites();
    let mut attribution = attribution(sizes);
    let mut accesses = Vec::new();
    let mut out = AttributedBatch::default();
    for (operands, iterations) in batches {
        let mut batch = RunBatch::default();
        operands.iter().for_each(|operand| batch.push_operand(*operand));
        batch.end_run(0, *iterations);
        attribution.runs(0, &sites, &batch, &mut out);
        for run in out.runs() {
            for iteration in 0..run.iterations.cast_signed() {
                for operand in run.operands {
                    let address = operand.address.wrapping_add_signed(operand.stride * iteration);
                    accesses.push((address, operand.owner));
                }
            }
        }
    }
    let parts = attribution.into_parts();
    let rows = parts.ledger.into_rows();
    let objects = parts.objects.table();
    let name = |row: u32| objects[rows[row as usize].key.object as usize].name.clone();
    (
        accesses
            .into_iter()
            .map(|(address, row)| (address, name(row)))
            .collect(),
        rows,
    )
}

/// What a set of rows says, whatever the order in which they were made.
fn content(rows: &[Row]) -> Vec<(u32, u32, u64, Vec<u64>)> {
    let mut content: Vec<_> = rows
        .iter()
        .map(|row| (row.key.site, row.key.object, row.accesses, row.lines.to_vec()))
        .collect();
    content.sort();
    content
}

proptest! {
    #[test]
    fn a_long_run_is_its_iterations(
        sizes in prop::collection::vec(1u64..6000, 1..12),
        places in prop::collection::vec((0u64..0x4000, -200i64..200), 3),
        iterations in 2u64..150,
    ) {
        let whole = attribute(&sizes, &[(operands(&places, 0), iterations)]);
        let single: Vec<_> =
            (0..iterations).map(|iteration| (operands(&places, iteration.cast_signed()), 1)).collect();
        let single = attribute(&sizes, &single);
        prop_assert_eq!(whole.0, single.0);
        prop_assert_eq!(content(&whole.1).len(), content(&single.1).len());
        for (whole, single) in content(&whole.1).into_iter().zip(content(&single.1)) {
            prop_assert_eq!((whole.0, whole.2, whole.3), (single.0, single.2, single.3));
        }
    }

    #[test]
    fn an_execution_is_attributed_whatever_was_executed_before(
        sizes in prop::collection::vec(1u64..3000, 1..6),
        executions in prop::collection::vec(
            (prop::collection::vec(0u64..40, 3), prop::collection::vec(prop::bool::weighted(0.9), 3)), 1..60),
    ) {
        // Few places that often repeat; an access that does not happen is left out.
        let executions: Vec<_> = executions
            .iter()
            .map(|(places, happen)| {
                let places: Vec<_> = places.iter().map(|place| (place * 211, 0)).collect();
                let mut happens = happen.iter();
                let mut operands = operands(&places, 0);
                operands.retain(|_| *happens.next().expect("one for each"));
                (operands, 1)
            })
            .collect();
        let (accesses, rows) = attribute(&sizes, &executions);
        let alone = executions.iter().flat_map(|execution| attribute(&sizes, std::slice::from_ref(execution)).0);
        prop_assert_eq!(&accesses, &alone.collect::<Vec<_>>());
        let operands = || executions.iter().flat_map(|(operands, _)| operands);
        // By site and object: accesses and lines.
        let mut expected = BTreeMap::<_, (u64, BTreeSet<u64>)>::new();
        for (operand, (_, object)) in operands().zip(&accesses) {
            let (count, lines) = expected.entry((operand.site, object)).or_default();
            *count += 1;
            lines.extend(operand.address / 64..=(operand.address + 7) / 64);
        }
        let mut expected: Vec<_> = expected
            .into_iter()
            .map(|((site, _), (count, lines))| (site, count, lines.into_iter().collect::<Vec<_>>()))
            .collect();
        expected.sort();
        let mut found: Vec<_> = content(&rows).into_iter().map(|(site, _, count, lines)| (site, count, lines)).collect();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
