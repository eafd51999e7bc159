//! Each form of operand becomes the accesses that `PROTOCOL.md` promises.

mod producer;

use std::time::Duration;

use memloupe_stream::{
    AccessKind, Consumer, Event, Geometry, Progress, RunBatch, RunOperand, Sink, SiteTable,
};
use producer::{Operand, Producer};

const NO_SLOT: u16 = 0xffff;
const FS: u8 = 2;
const ADDRESS_32: u8 = 4;
const VECTOR_MASK: u8 = 8;
const LOOP: u16 = 1;
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

/// Decodes one record of one block. The thread's FS base is 0x7000.
fn decode(flags: u16, slots: u16, operands: &[Operand], words: &[u64]) -> Vec<SeenRun> {
    let geometry = Geometry {
        sites_bytes: 1 << 16,
        probes: 1,
        rings: 1,
        chunk_bytes: 32768,
        chunks: 2,
    };
    let mut consumer = Consumer::create(&geometry).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = producer.add_block_with_flags(0x1000, 9, slots, flags, operands);
    let mut writer = producer.claim(0, 0);
    producer.event(&mut writer, 17, &[0x7000]);
    let mut record = vec![u64::from(block)];
    record.extend_from_slice(words);
    producer.record(&mut writer, &record);
    producer.end(&writer);
    producer.finish();
    let mut runs = Runs::default();
    while consumer
        .poll(&mut runs, Duration::from_millis(20))
        .expect("sound")
        != Progress::Finished
    {}
    runs.0
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
