//! Each form of operand becomes the accesses that `PROTOCOL.md` promises.

mod producer;

use std::time::Duration;

use memloupe_stream::{
    AccessKind, Consumer, Event, Geometry, Progress, RunBatch, RunOperand, Sink, SiteTable, StreamError,
};
use producer::{Operand, Producer, Writer};

const NO_SLOT: u16 = 0xffff;
const FS: u8 = 2;
const ADDRESS_32: u8 = 4;
const VECTOR_MASK: u8 = 8;
const LOOP: u16 = 1;
const PART: u16 = 2;
const STORE: u8 = 1;

/// Iterations, starts of executions, operands without the fetch.
type SeenRun = (u64, u64, Vec<RunOperand>);

#[derive(Default)]
struct Runs(Vec<SeenRun>);

impl Sink for Runs {
    fn runs(&mut self, _: u32, _: &SiteTable, batch: &RunBatch) {
        self.0.extend(batch.runs().map(|run| {
            let data = run
                .operands
                .iter()
                .filter(|operand| operand.kind != AccessKind::Fetch);
            (run.iterations, run.executions(), data.copied().collect())
        }));
    }

    fn event(&mut self, _: u32, event: Event) {
        panic!("{event:?} should have stayed in the decoder");
    }
}

/// What is decoded of what `produce` writes. The thread's FS base is 0x7000.
fn decode_all(produce: impl FnOnce(&mut Producer, &mut Writer)) -> Result<Vec<SeenRun>, StreamError> {
    let geometry = Geometry {
        sites_bytes: 1 << 16,
        probes: 1,
        rings: 1,
        chunk_bytes: 32768,
        chunks: 2,
    };
    let mut consumer = Consumer::create(&geometry).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let mut writer = producer.claim(0, 0);
    producer.event(&mut writer, 17, &[0x7000]);
    produce(&mut producer, &mut writer);
    producer.end(&writer);
    producer.finish();
    let mut runs = Runs::default();
    while consumer.poll(&mut runs, Duration::from_millis(20))? != Progress::Finished {}
    Ok(runs.0)
}

/// Decodes one record of one block.
fn decode(flags: u16, slots: u16, operands: &[Operand], words: &[u64]) -> Vec<SeenRun> {
    decode_all(|producer, writer| {
        let block = producer.add_block_with_flags(0x1000, 9, slots, flags, operands);
        let mut record = vec![u64::from(block)];
        record.extend_from_slice(words);
        producer.record(writer, &record);
    })
    .expect("sound")
}

/// Addresses and sizes of one run that is one execution.
fn accesses(slots: u16, operands: &[Operand], words: &[u64]) -> Vec<(u64, u32)> {
    let runs = decode(0, slots, operands, words);
    let [(1, 1, operands)] = &runs[..] else {
        panic!("not one run: {runs:?}")
    };
    operands
        .iter()
        .map(|operand| (operand.address, operand.bytes))
        .collect()
}

#[test]
fn base_index_displacement_segment() {
    let plain = Operand {
        bytes: 8,
        ..Operand::default()
    };
    let indexed = Operand {
        index_slot: 1,
        scale: 4,
        displacement: -8,
        ..plain
    };
    let absolute = Operand {
        slot: NO_SLOT,
        displacement: 0x123,
        ..plain
    };
    let thread_local = Operand {
        slot: NO_SLOT,
        displacement: -16,
        flags: FS,
        ..plain
    };
    let short = Operand {
        flags: ADDRESS_32,
        displacement: 0x10,
        ..plain
    };
    assert_eq!(
        accesses(
            2,
            &[plain, indexed, absolute, thread_local, short],
            &[0xffff_fff8, 3]
        ),
        [
            (0xffff_fff8, 8),
            (0xffff_fffc, 8),
            (0x123, 8),
            (0x6ff0, 8),
            (0x8, 8)
        ]
    );
}

#[test]
fn a_loop_is_one_run() {
    let load = Operand {
        bytes: 4,
        index_slot: 1,
        scale: 4,
        stride: 4,
        ..Operand::default()
    };
    let store = Operand {
        bytes: 8,
        kind: STORE,
        displacement: 64,
        stride: -24,
        ..Operand::default()
    };
    let runs = decode(LOOP, 2, &[load, store], &[0x9000, 5, 1000]);
    assert_eq!(runs.len(), 1);
    let (iterations, executions, operands) = &runs[0];
    assert_eq!((*iterations, *executions), (1000, 1000));
    let found: Vec<_> = operands
        .iter()
        .map(|operand| (operand.address, operand.stride, operand.bytes))
        .collect();
    assert_eq!(found, [(0x9014, 4, 4), (0x9040, -24, 8)]);
}

/// A loop of a load at header slot 0 that grows by 4 and a store at iteration slot 1, in words 8 times it; its first part
/// has the load only, its second part both.
fn decode_loop(part: u64, header: u64, iterations: &[u64]) -> Result<Vec<SeenRun>, StreamError> {
    let load = Operand {
        bytes: 4,
        stride: 4,
        ..Operand::default()
    };
    let store = Operand {
        bytes: 8,
        kind: STORE,
        slot: NO_SLOT,
        index_slot: 1,
        scale: 8,
        ..Operand::default()
    };
    decode_all(|producer, writer| {
        let block = producer.add_part(0x1000, 9, 1, LOOP, 0, 1, 2, &[load, store]);
        producer.add_part(0x1000, 3, 1, PART, block, 0, 1, &[]);
        producer.add_part(0x1000, 6, 1, PART, block, 1, 2, &[]);
        let mut record = vec![u64::from(block) | part << 32, header, iterations.len() as u64 * 8];
        record.extend_from_slice(iterations);
        producer.record(writer, &record);
    })
}

/// Iterations, executions, and of each operand address, stride and bytes.
type Shape = (u64, u64, Vec<(u64, i64, u32)>);

fn shapes(runs: &[SeenRun]) -> Vec<Shape> {
    let shape = |(iterations, executions, operands): &SeenRun| {
        let operands = operands.iter().map(|o| (o.address, o.stride, o.bytes)).collect();
        (*iterations, *executions, operands)
    };
    runs.iter().map(shape).collect()
}

#[test]
fn a_loop_with_words_for_each_iteration() {
    // Two apart, five that grow evenly, one apart.
    let words = [100, 7, 10, 12, 14, 16, 18, 3];
    let runs = decode_loop(0, 0x9000, &words).expect("sound");
    assert_eq!(
        shapes(&runs),
        [
            (1, 1, vec![(0x9000, 0, 4), (800, 0, 8)]),
            (1, 1, vec![(0x9004, 0, 4), (56, 0, 8)]),
            (5, 5, vec![(0x9008, 4, 4), (80, 16, 8)]),
            (1, 1, vec![(0x901c, 0, 4), (24, 0, 8)]),
        ]
    );
    assert_eq!(decode_loop(0, 0x9000, &[]).expect("sound"), []);
}

#[test]
fn a_loop_left_in_the_middle() {
    let runs = decode_loop(1, 0x9000, &[5, 50]).expect("sound");
    assert_eq!(
        shapes(&runs),
        [
            (1, 1, vec![(0x9000, 0, 4), (40, 0, 8)]),
            (1, 1, vec![(0x9004, 0, 4), (400, 0, 8)]),
            (1, 1, vec![(0x9008, 0, 4)]),
        ]
    );
    // The second part's store is the last of the words.
    let runs = decode_loop(2, 0x9000, &[5, 50]).expect("sound");
    assert_eq!(
        shapes(&runs),
        [
            (1, 1, vec![(0x9000, 0, 4), (40, 0, 8)]),
            (1, 1, vec![(0x9004, 0, 4), (400, 0, 8)]),
        ]
    );
    let runs = decode_loop(2, 0x9000, &[5]).expect("sound");
    assert_eq!(shapes(&runs), [(1, 1, vec![(0x9000, 0, 4), (40, 0, 8)])]);
    for part in [3, 0xff_ffff] {
        let error = decode_loop(part, 0x9000, &[5, 50]).expect_err("no such part");
        assert!(error.to_string().contains("no part of loop 0"), "{error}");
    }
    let error = decode_loop(2, 0x9000, &[]).expect_err("the part's word is missing");
    assert!(error.to_string().contains("0 bytes of iterations"), "{error}");
}

#[test]
fn a_counted_loop_left_in_the_middle() {
    let load = Operand {
        bytes: 4,
        stride: -8,
        ..Operand::default()
    };
    let runs = decode_all(|producer, writer| {
        let block = producer.add_part(0x1000, 9, 1, LOOP, 0, 0, 2, &[load, load]);
        producer.add_part(0x1000, 3, 1, PART, block, 0, 1, &[]);
        for count in [0, 3] {
            producer.record(writer, &[u64::from(block) | 1 << 32, 0x9000, count]);
        }
    });
    let operands = |address, stride| vec![(address, stride, 4), (address, stride, 4)];
    assert_eq!(
        shapes(&runs.expect("sound")),
        [
            (1, 1, vec![(0x9000, 0, 4)]),
            (3, 3, operands(0x9000, -8)),
            (1, 1, vec![(0x9000 - 24, 0, 4)]),
        ]
    );
}

#[test]
fn a_block_left_early_has_the_sites_of_the_whole() {
    let operand = |slot| Operand {
        bytes: 4,
        slot,
        ..Operand::default()
    };
    let runs = decode_all(|producer, writer| {
        let block = producer.add_block(0x1000, 9, 2, &[operand(0), operand(1)]);
        let part = producer.add_part(0x1000, 3, 1, PART, block, 0, 1, &[]);
        producer.record(writer, &[u64::from(part), 0x100]);
        producer.record(writer, &[u64::from(block), 0x200, 0x300]);
    })
    .expect("sound");
    let sites: Vec<Vec<(u64, u32)>> = runs
        .iter()
        .map(|(_, _, operands)| operands.iter().map(|o| (o.address, o.site)).collect())
        .collect();
    // Site 0 is the fetch of the whole.
    assert_eq!(sites, [vec![(0x100, 1)], vec![(0x200, 1), (0x300, 2)]]);
}

#[test]
fn parts_that_are_no_beginnings_are_refused() {
    let operand = Operand {
        bytes: 4,
        slot: 1,
        ..Operand::default()
    };
    // Parent, slots, iteration slots, operands.
    for (parent, slots, iteration_slots, operands) in [
        (7, 2, 0, 1),
        (0, 2, 0, 2),
        (0, 3, 0, 1),
        (0, 1, 0, 1),
        (0, 2, 1, 1),
    ] {
        let result = decode_all(|producer, writer| {
            producer.add_block(0x1000, 9, 2, &[operand]);
            let part = producer.add_part(0x1000, 3, slots, PART, parent, iteration_slots, operands, &[]);
            producer.record(writer, &[u64::from(part), 1, 2, 3]);
        });
        assert!(result.is_err(), "{parent} {slots} {iteration_slots} {operands}");
    }
}

#[test]
fn gathers_by_lane() {
    let gather = Operand {
        bytes: 4,
        form: 1,
        index_slot: 1,
        mask_slot: 3,
        scale: 8,
        displacement: 0x10,
        lanes: 4,
        index_bytes: 4,
        ..Operand::default()
    };
    // Indices 1, -1, 2, 7; lanes 0, 1 and 3.
    let words = [0x5000, 0xffff_ffff_0000_0001, 0x0000_0007_0000_0002, 0b1011];
    assert_eq!(
        accesses(4, &[gather], &words),
        [(0x5018, 4), (0x5008, 4), (0x5048, 4)]
    );
    let by_sign = Operand {
        flags: VECTOR_MASK,
        ..gather
    };
    // Signs of lanes 1 and 2.
    let words = [
        0x5000,
        0xffff_ffff_0000_0001,
        0x0000_0007_0000_0002,
        0x8000_0000_7fff_ffff,
        0x0000_0000_8000_0000,
    ];
    assert_eq!(accesses(5, &[by_sign], &words), [(0x5008, 4), (0x5020, 4)]);
}

#[test]
fn masked_lanes_are_no_accesses() {
    let masked = Operand {
        bytes: 4,
        form: 2,
        mask_slot: 1,
        lanes: 16,
        kind: STORE,
        ..Operand::default()
    };
    assert_eq!(
        accesses(2, &[masked], &[0x100, 0xc03e]),
        [(0x104, 20), (0x138, 8)]
    );
    assert_eq!(accesses(2, &[masked], &[0x100, 0xf_0000]), []);
    let any = Operand { form: 3, ..masked };
    assert_eq!(accesses(2, &[any], &[0x100, 0x8000]), [(0x100, 4)]);
    assert_eq!(accesses(2, &[any], &[0x100, 0]), []);
    let compress = Operand { form: 4, ..masked };
    assert_eq!(accesses(2, &[compress], &[0x100, 0b1011]), [(0x100, 12)]);
}

#[test]
fn a_table_and_a_tile() {
    let table = Operand {
        bytes: 1,
        form: 6,
        index_slot: 1,
        ..Operand::default()
    };
    assert_eq!(accesses(2, &[table], &[0x800, 0xffff_ff05]), [(0x805, 1)]);
    let tile = Operand {
        bytes: 64,
        form: 7,
        index_slot: 1,
        scale: 2,
        mask_slot: 2,
        lanes: 2,
        ..Operand::default()
    };
    let mut words = vec![0x8000, 50];
    // Palette 1; row bytes of tile 2 at byte 20, its rows at byte 50.
    words.extend([1, 0, 40 << 32, 0, 0, 0, 3 << 16, 0]);
    assert_eq!(
        accesses(10, &[tile], &words),
        [(0x8000, 40), (0x8064, 40), (0x80c8, 40)]
    );
}

#[test]
fn strings_come_in_lines() {
    let load = Operand {
        bytes: 1,
        form: 5,
        slot: 0,
        index_slot: 2,
        mask_slot: 1,
        ..Operand::default()
    };
    let store = Operand {
        kind: STORE,
        slot: 1,
        ..load
    };
    let (from, to, bytes) = (0x1003u64, 0x2010u64, 48 + 3 * 64 + 7);
    let runs = decode(0, 3, &[load, store], &[from, to, to + bytes]);
    let found: Vec<_> = runs
        .iter()
        .map(|(iterations, executions, operands)| {
            let list: Vec<_> = operands.iter().map(|o| (o.address, o.stride, o.bytes)).collect();
            (*iterations, *executions, list)
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, 1, vec![(from, 0, 48), (to, 0, 48)]),
            (3, 0, vec![(from + 48, 64, 64), (to + 48, 64, 64)]),
            (1, 0, vec![(from + 240, 0, 7), (to + 240, 0, 7)]),
        ]
    );
    // Downwards from the element at 0x2038: bytes 0x2020 … 0x203f.
    let words = Operand {
        bytes: 8,
        kind: STORE,
        form: 5,
        index_slot: 1,
        mask_slot: 0,
        ..Operand::default()
    };
    assert_eq!(accesses(2, &[words], &[0x2038, 0x2018]), [(0x2020, 32)]);
    // Not a single iteration.
    assert_eq!(accesses(2, &[words], &[0x2038, 0x2038]), []);
}
