//! What a producer writes is what a sink receives: accesses, order over threads, events, what a killed target leaves.

mod producer;

use std::time::Duration;

use memloupe_stream::{
    AccessKind, Checker, Consumer, Event, Geometry, MapKind, Probe, Progress, RunBatch, Sink, SiteTable,
    StreamError,
};
use producer::{Operand, Producer, text};
use proptest::prelude::*;

const SMALL: Geometry = Geometry {
    sites_bytes: 1 << 20,
    probes: 4,
    rings: 4,
    chunk_bytes: 32768,
    chunks: 2,
};
const TICK: Duration = Duration::from_millis(20);

/// One access as received: thread, address, bytes, kind.
type Seen = (u32, u64, u32, AccessKind);

#[derive(Debug, Default)]
struct Collect {
    accesses: Vec<Seen>,
    events: Vec<Event>,
    probes: Vec<Probe>,
}

impl Sink for Collect {
    fn runs(&mut self, thread: u32, _: &SiteTable, batch: &RunBatch) {
        for run in batch.runs() {
            assert!(run.iterations >= 1);
            for operand in run.operands {
                if operand.kind != AccessKind::Fetch {
                    self.accesses
                        .push((thread, operand.address, operand.bytes, operand.kind));
                }
            }
        }
    }

    fn event(&mut self, _: u32, event: Event) {
        self.events.push(event);
    }

    fn probes(&mut self, _: u32) -> Vec<Probe> {
        std::mem::take(&mut self.probes)
    }
}

fn load(slot: u16, displacement: i64, conditional: bool) -> Operand {
    Operand {
        ip_offset: 4,
        bytes: 8,
        kind: 0,
        conditional,
        slot,
        displacement,
        ..Operand::default()
    }
}

fn poll_to_end(consumer: &mut Consumer, sink: &mut impl Sink) {
    while consumer.poll(sink, TICK).expect("sound stream") != Progress::Finished {}
}

#[test]
fn slots_displacements_and_absent_accesses() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = producer.add_block(
        0x1000,
        20,
        2,
        &[
            load(0, -8, false),
            load(1, 0, true),
            Operand {
                ip_offset: 9,
                bytes: 64,
                kind: 2,
                slot: 0,
                displacement: 0x100,
                ..Operand::default()
            },
        ],
    );
    let mut writer = producer.claim(0, 0);
    producer.record(&mut writer, &[u64::from(block), 0x8000, u64::MAX]);
    producer.record(&mut writer, &[u64::from(block), 0x9000, 0x50]);
    producer.end(&writer);
    producer.finish();
    let mut sink = Collect::default();
    poll_to_end(&mut consumer, &mut sink);
    assert_eq!(
        sink.accesses,
        [
            (0, 0x7ff8, 8, AccessKind::Load),
            (0, 0x8100, 64, AccessKind::ReadModifyWrite),
            (0, 0x8ff8, 8, AccessKind::Load),
            (0, 0x50, 8, AccessKind::Load),
            (0, 0x9100, 64, AccessKind::ReadModifyWrite),
        ]
    );
    let block = consumer.sites().blocks()[0];
    assert_eq!((block.instructions, block.flops, block.operands), (3, 7, 3));
    assert_eq!(consumer.sites().site(block.first_operand + 2).ip, 0x1009);
}

#[test]
fn chunks_of_threads_come_in_order_and_a_full_ring_holds_the_producer_back() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = producer.add_block(0x1000, 4, 1, &[load(0, 0, false)]);
    const SWITCHES: u64 = 200;
    const EACH: u64 = 500;
    let target = std::thread::spawn(move || {
        let mut writers = [producer.claim(0, 0), producer.claim(1, 1)];
        // Opening both rings numbered their first chunks; an engine that switches threads does the same.
        for switch in 0..SWITCHES {
            let writer = &mut writers[(switch % 2) as usize];
            for i in 0..EACH {
                producer.record(writer, &[u64::from(block), switch * EACH + i]);
            }
            producer.close(writer);
        }
        producer.end(&writers[0]);
        producer.end(&writers[1]);
        producer.finish();
    });
    let mut sink = Collect::default();
    poll_to_end(&mut consumer, &mut sink);
    target.join().expect("producer");
    assert_eq!(sink.accesses.len() as u64, SWITCHES * EACH);
    for thread in 0..2 {
        let addresses: Vec<u64> = sink
            .accesses
            .iter()
            .filter(|a| a.0 == thread)
            .map(|a| a.1)
            .collect();
        assert!(addresses.is_sorted(), "program order of thread {thread}");
    }
}

#[test]
fn segments_of_closed_and_open_chunks_come_in_order() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = u64::from(producer.add_block(0x1000, 4, 1, &[load(0, 0, false)]));
    let (mut first, mut second) = (producer.claim(0, 0), producer.claim(1, 1));
    producer.record(&mut first, &[block, 1]);
    producer.record(&mut second, &[block, 2]);
    producer.mark(&mut first);
    producer.record(&mut first, &[block, 3]);
    producer.mark(&mut second);
    producer.record(&mut second, &[block, 4]);
    producer.mark(&mut first);
    producer.record(&mut first, &[block, 5]);
    // The second ring's chunk is closed: whatever comes before its last segment is in the first one's open chunk.
    producer.close(&mut second);
    let mut sink = Collect::default();
    while consumer.poll(&mut sink, Duration::ZERO).expect("sound stream") != Progress::Idle {}
    let addresses = |sink: &Collect| sink.accesses.iter().map(|access| access.1).collect::<Vec<_>>();
    assert_eq!(addresses(&sink), [1, 2, 3, 4]);
    consumer.drain(&mut sink).expect("sound stream");
    assert_eq!(addresses(&sink), [1, 2, 3, 4, 5]);
}

#[test]
fn the_last_block_of_an_open_chunk_can_be_taken_back() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = u64::from(producer.add_block(0x1000, 4, 1, &[load(0, 0, false)]));
    let (mut first, mut second) = (producer.claim(0, 0), producer.claim(1, 1));
    producer.record(&mut first, &[block, 1]);
    producer.record(&mut first, &[block, 2]);
    producer.close(&mut second);
    let mut sink = Collect::default();
    while consumer.poll(&mut sink, Duration::ZERO).expect("sound stream") != Progress::Idle {}
    assert_eq!(sink.accesses, [(0, 1, 8, AccessKind::Load)]);
    producer.take_back(&mut first, 2);
    producer.record(&mut first, &[block, 3]);
    producer.end(&first);
    producer.end(&second);
    producer.finish();
    poll_to_end(&mut consumer, &mut sink);
    assert_eq!(
        sink.accesses,
        [(0, 1, 8, AccessKind::Load), (0, 3, 8, AccessKind::Load)]
    );
}

#[test]
fn rounds_of_a_spinning_thread_are_counted_and_not_unrolled() {
    const ROUNDS: u64 = 500;
    #[derive(Default)]
    struct Rounds {
        runs: u64,
        executions: u64,
        /// Executions of a thread up to its first access of each address of the other.
        before: Vec<u64>,
    }
    impl Sink for Rounds {
        fn runs(&mut self, thread: u32, _: &SiteTable, batch: &RunBatch) {
            for run in batch.runs() {
                if thread == 0 {
                    self.runs += 1;
                    self.executions += run.executions();
                } else {
                    self.before.push(self.executions);
                }
            }
        }
        fn event(&mut self, _: u32, _: Event) {}
    }
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let poll = u64::from(producer.add_block(0x1000, 4, 1, &[load(0, 0, false), load(0, 8, false)]));
    let pause = u64::from(producer.add_block(0x1010, 4, 0, &[]));
    let (mut spinner, mut worker) = (producer.claim(0, 0), producer.claim(1, 1));
    for round in 0..ROUNDS {
        producer.record(&mut spinner, &[poll, 0x100]);
        producer.record(&mut spinner, &[pause]);
        producer.mark(&mut spinner);
        if round == 99 {
            producer.mark(&mut worker);
            producer.record(&mut worker, &[poll, 0x100]);
        }
    }
    producer.record(&mut spinner, &[poll, 0x100]);
    producer.end(&spinner);
    producer.end(&worker);
    producer.finish();
    let mut sink = Rounds::default();
    poll_to_end(&mut consumer, &mut sink);
    assert_eq!(sink.executions, 2 * ROUNDS + 1);
    assert!(sink.runs < 20, "{} runs", sink.runs);
    // The worker's segment began behind 100 rounds. The round after them has a segment that began before it.
    assert_eq!(sink.before, [2 * 101]);
}

/// What a thread does, or the consumer.
#[derive(Clone, Copy, Debug)]
enum Step {
    Event(usize),
    Mark(usize),
    Close(usize),
    Poll,
}

proptest! {
    /// What was recorded before a segment began is handed on before the segment's content, in whichever state the chunks
    /// are and whenever the consumer looks; and in each ring, order is the program's.
    #[test]
    fn segments_come_behind_what_was_there_when_they_began(
        steps in prop::collection::vec(
            prop_oneof![
                8 => (0usize..3).prop_map(Step::Event),
                4 => (0usize..3).prop_map(Step::Mark),
                1 => (0usize..3).prop_map(Step::Close),
                1 => Just(Step::Poll),
            ],
            0..200,
        ),
    ) {
        let mut consumer = Consumer::create(&Geometry { chunks: 64, ..SMALL }).expect("create");
        let mut producer = Producer::attach(consumer.descriptor());
        let mut writers = [producer.claim(0, 0), producer.claim(1, 1), producer.claim(2, 2)];
        // By event: its thread, and how many events there were when its segment began.
        let mut expected: Vec<(usize, usize)> = Vec::new();
        let mut began = [0; 3];
        let mut sink = Collect::default();
        for step in steps {
            match step {
                Step::Event(thread) => {
                    producer.event(&mut writers[thread], 7, &[expected.len() as u64]);
                    expected.push((thread, began[thread]));
                }
                Step::Mark(thread) => {
                    producer.mark(&mut writers[thread]);
                    began[thread] = expected.len();
                }
                Step::Close(thread) => {
                    producer.close(&mut writers[thread]);
                    began[thread] = expected.len();
                }
                Step::Poll => { consumer.poll(&mut sink, Duration::ZERO).expect("sound"); }
            }
        }
        for writer in &writers {
            producer.end(writer);
        }
        producer.finish();
        poll_to_end(&mut consumer, &mut sink);
        let numbers = sink.events.iter().map(|event| match event {
            Event::Free { address } => *address as usize,
            other => panic!("{other:?}"),
        });
        let order: Vec<usize> = numbers.collect();
        prop_assert_eq!(order.len(), expected.len());
        let mut place = vec![0; order.len()];
        for (at, &event) in order.iter().enumerate() {
            place[event] = at;
        }
        for (event, &(thread, before)) in expected.iter().enumerate() {
            for (earlier, &(other, _)) in expected.iter().enumerate().take(event) {
                if other == thread || earlier < before {
                    prop_assert!(place[earlier] < place[event], "{} behind {} in {:?}", earlier, event, order);
                }
            }
        }
    }
}

#[test]
fn what_a_killed_target_recorded_is_not_lost() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = producer.add_block(0x1000, 4, 1, &[load(0, 0, false)]);
    let mut first = producer.claim(0, 0);
    let mut second = producer.claim(1, 1);
    for address in 0..3000 {
        producer.record(&mut first, &[u64::from(block), address]);
    }
    producer.record(&mut second, &[u64::from(block), 77]);
    // No close, no finish: the process is gone.
    let mut sink = Collect::default();
    consumer.drain(&mut sink).expect("sound so far");
    assert!(!consumer.finished());
    assert_eq!(sink.accesses.len(), 3001);
    assert_eq!(
        sink.accesses
            .iter()
            .filter(|a| a.0 == 0)
            .map(|a| a.1)
            .collect::<Vec<_>>(),
        (0..3000).collect::<Vec<_>>()
    );
}

#[test]
fn events_keep_their_place_and_a_sync_is_answered_with_probes() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let mut writer = producer.claim(0, 0);
    let mut map = vec![0x40_0000, 0x2000, 5, 1, 0x1000, 0];
    map.extend(text("/usr/lib/libggml-cpu.so"));
    producer.event(&mut writer, 3, &map);
    producer.event(&mut writer, 12, &[1]);
    producer.close(&mut writer);
    let mut sink = Collect {
        probes: vec![Probe {
            address: 0x40_0123,
            keys: Vec::new(),
            fetches: vec![memloupe_stream::Fetch::Memory {
                source: memloupe_stream::Source { register: 6 },
                offsets: vec![152, 256],
                bytes: 64,
            }],
            allocator: None,
        }],
        ..Collect::default()
    };
    assert_eq!(consumer.poll(&mut sink, TICK).expect("poll"), Progress::Chunk);
    assert_eq!(
        sink.events,
        [Event::Map {
            address: 0x40_0000,
            bytes: 0x2000,
            protection: 5,
            kind: MapKind::File,
            file_offset: 0x1000,
            stack: 0,
            path: "/usr/lib/libggml-cpu.so".to_owned(),
        }]
    );
    assert_eq!(producer.read::<u64>(136), 1, "acknowledged");
    assert_eq!(producer.read::<u32>(132), 1, "one probe published");
    let table = producer.read::<u64>(40) as usize;
    assert_eq!(producer.read::<u64>(table), 0x40_0123);
    assert_eq!(producer.read::<u16>(table + 12), 1, "one fetch");
    assert_eq!(producer.read::<u8>(table + 16), 6, "rsi");
    assert_eq!(producer.read::<u8>(table + 17), 1, "one step before the value");
    assert_eq!(producer.read::<u16>(table + 18), 64);
    assert_eq!(producer.read::<i32>(table + 20), 152);
    assert_eq!(producer.read::<i32>(table + 24), 256);
}

#[test]
fn a_discarded_stream_is_still_answered() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    consumer.set_discards();
    let mut producer = Producer::attach(consumer.descriptor());
    let mut writer = producer.claim(0, 0);
    producer.event(&mut writer, 7, &[0x10]);
    producer.event(&mut writer, 12, &[1]);
    producer.discard(&mut writer);
    producer.ask_for(1);
    let mut sink = Collect::default();
    assert_eq!(
        consumer.discard(&mut sink, TICK).expect("discard"),
        Progress::Chunk
    );
    assert_eq!(producer.read::<u64>(136), 1, "acknowledged");
    assert_eq!(
        consumer
            .discard(&mut sink, Duration::from_millis(1))
            .expect("discard"),
        Progress::Idle
    );
    producer.event(&mut writer, 7, &[0x20]);
    producer.discard(&mut writer);
    producer.finish();
    while consumer.discard(&mut sink, TICK).expect("discard") != Progress::Finished {}
    assert_eq!(sink.events, []);
    assert_eq!(consumer.bytes_consumed(), 2 * 64 + 16 + 16 + 16);
}

#[test]
fn rings_are_reused_after_their_threads_end() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = producer.add_block(0x1000, 4, 1, &[load(0, 0, false)]);
    let mut sink = Collect::default();
    for thread in 0..10 {
        let mut writer = producer.claim(0, thread);
        producer.record(&mut writer, &[u64::from(block), u64::from(thread)]);
        producer.end(&writer);
        while consumer.poll(&mut sink, Duration::from_millis(1)).expect("poll") != Progress::Idle {}
    }
    let expected: Vec<Seen> = (0..10).map(|t| (t, u64::from(t), 8, AccessKind::Load)).collect();
    assert_eq!(sink.accesses, expected);
}

#[test]
fn the_checker_finds_planted_violations() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let block = producer.add_block(0x1000, 4, 1, &[load(0, 0, false)]);
    let mut writer = producer.claim(0, 0);
    producer.event(&mut writer, 1, &[0, 1, 0, 0x7000]);
    producer.record(&mut writer, &[u64::from(block), 1]); // unmapped code
    producer.event(&mut writer, 6, &[0x100, 16, 9]); // undefined stack
    producer.event(&mut writer, 8, &[9, 0x1000]);
    producer.event(&mut writer, 6, &[0x108, 16, 9]); // overlap
    producer.event(&mut writer, 11, &[0x7000]); // never entered
    producer.event(&mut writer, 2, &[5]); // never started
    producer.end(&writer);
    producer.finish();
    let mut checker = Checker::new(Collect::default());
    poll_to_end(&mut consumer, &mut checker);
    let found: Vec<&str> = checker.violations().iter().map(|v| v.what.as_str()).collect();
    assert_eq!(found.len(), 5, "{found:#?}");
    for (violation, word) in found.iter().zip([
        "executable",
        "undefined call stack",
        "overlaps",
        "not entered",
        "not started",
    ]) {
        assert!(violation.contains(word), "{violation} should mention {word}");
    }
}

#[test]
fn corrupt_records_name_thread_and_offset() {
    let mut consumer = Consumer::create(&SMALL).expect("create");
    let mut producer = Producer::attach(consumer.descriptor());
    let mut writer = producer.claim(0, 3);
    producer.event(&mut writer, 7, &[0x10]);
    producer.record(&mut writer, &[12345]); // no such block
    producer.close(&mut writer);
    let mut sink = Collect::default();
    let error = consumer.poll(&mut sink, TICK).expect_err("corrupt");
    assert_eq!(
        sink.events,
        [Event::Free { address: 0x10 }],
        "what came before is kept"
    );
    assert!(
        matches!(
            error,
            StreamError::Corrupt {
                thread: 3,
                offset: 80,
                ..
            }
        ),
        "{error}"
    );
}

prop_compose! {
    /// Any operand, sound or not.
    fn form()(
        bytes in 0u16..70,
        slots in (0u16..14, 0u16..14, 0u16..14),
        flags in 0u8..16,
        form in 0u8..9,
        scale in 0u8..9,
        lanes in 0u8..70,
        index_bytes in 0u8..9,
        loop_block in any::<bool>(),
    ) -> Operand {
        Operand {
            ip_offset: loop_block.into(),
            bytes,
            slot: slots.0,
            index_slot: slots.1,
            mask_slot: slots.2,
            flags,
            form,
            scale,
            lanes,
            index_bytes,
            ..Operand::default()
        }
    }
}

proptest! {
    /// Arbitrary words are decoded or refused, never a panic.
    #[test]
    fn no_words_make_the_decoder_panic(
        words in prop::collection::vec(
            prop_oneof![any::<u64>(), 0u64..8, (1u64..20, 0u64..40).prop_map(|(e, n)| 1 << 56 | e | n << 8)],
            0..300,
        ),
        forms in prop::collection::vec(form(), 0..4),
    ) {
        let mut consumer = Consumer::create(&SMALL).expect("create");
        let mut producer = Producer::attach(consumer.descriptor());
        for operand in forms {
            producer.add_block_with_flags(0x1000, 4, 12, operand.ip_offset as u16 & 1, &[operand]);
        }
        for n in 0..3u16 {
            let operands: Vec<Operand> = (0..n).map(|slot| load(slot, 0, slot == 1)).collect();
            producer.add_block(0x1000, 4, n, &operands);
        }
        let mut writer = producer.claim(0, 0);
        producer.record(&mut writer, &words);
        producer.end(&writer);
        producer.finish();
        let mut checker = Checker::new(Collect::default());
        loop {
            if let Ok(Progress::Finished) = consumer.poll(&mut checker, TICK) { break }
        }
    }
}
