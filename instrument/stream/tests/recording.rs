//! A replayed recording is the stream that was recorded; a damaged one says where.

mod producer;

use std::path::Path;
use std::time::Duration;

use memloupe_stream::{
    Captured, Consumer, Event, Geometry, Probe, Progress, Recorder, Replay, RunBatch, Sink, SiteTable,
    StreamError,
};
use producer::{Operand, Producer, text};
use proptest::prelude::*;

const GEOMETRY: Geometry = Geometry {
    sites_bytes: 1 << 20,
    probes: 16,
    rings: 4,
    chunk_bytes: 32768,
    chunks: 2,
};

/// Everything that a sink is told, as text.
#[derive(Debug, Default, PartialEq)]
struct Told {
    calls: Vec<String>,
    probes: Vec<Vec<Probe>>,
    firsts: Vec<u32>,
}

impl Sink for Told {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        for run in batch.runs() {
            let block = sites.block(run.block).expect("its entry came first");
            self.calls.push(format!("{thread} {block:?} {run:?}"));
        }
    }

    fn event(&mut self, thread: u32, event: Event) {
        self.calls.push(format!("{thread} {event:?}"));
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.firsts.push(first);
        self.probes.pop().unwrap_or_default()
    }
}

fn probe(address: u64) -> Probe {
    Probe {
        address,
        fetches: Vec::new(),
        keys: Vec::new(),
        allocator: None,
    }
}

/// Probes that two SYNCs are answered with, the second one's first.
fn probes() -> Vec<Vec<Probe>> {
    vec![vec![probe(0x30)], vec![probe(0x10), probe(0x20)]]
}

/// Records a stream of two threads with `executions` block executions and two SYNCs.
fn record(path: &Path, executions: &[(bool, u64)]) -> (Told, Captured) {
    let mut consumer = Consumer::create(&GEOMETRY).unwrap();
    consumer.record(Recorder::create(path, "about").unwrap());
    let mut producer = Producer::attach(consumer.descriptor());
    let operand = Operand {
        ip_offset: 4,
        bytes: 8,
        slot: 0,
        ..Operand::default()
    };
    let mut told = Told {
        probes: probes(),
        ..Told::default()
    };
    let blocks = [producer.add_block(0x1000, 20, 1, &[operand])];
    let mut writers = [producer.claim(0, 0), producer.claim(1, 1)];
    for (number, &(second, address)) in executions.iter().enumerate() {
        let writer = &mut writers[usize::from(second)];
        producer.record(writer, &[u64::from(blocks[0]), address]);
        if number % 50 == 49 {
            // Chunks are taken as they close: order is that of arrival.
            for writer in &mut writers {
                producer.close(writer);
            }
            while consumer.poll(&mut told, Duration::ZERO).unwrap() == Progress::Chunk {}
        }
    }
    // The program's path, then a wait for probes, twice.
    for number in 1..3u64 {
        producer.event(&mut writers[0], 14, &text("/a/program"));
        producer.event(&mut writers[0], 12, &[number]);
        for writer in &mut writers {
            producer.close(writer);
        }
        while consumer.poll(&mut told, Duration::ZERO).unwrap() == Progress::Chunk {}
    }
    writers.iter().for_each(|writer| producer.end(writer));
    producer.finish();
    while consumer.poll(&mut told, Duration::ZERO).unwrap() != Progress::Finished {}
    consumer.finish_recording("closing").unwrap();
    (told, consumer.captured())
}

fn replay(path: &Path) -> Result<(Told, Replay), StreamError> {
    let mut replay = Replay::open(path)?;
    let mut told = Told {
        probes: probes(),
        ..Told::default()
    };
    while replay.next(&mut told)? {}
    Ok((told, replay))
}

fn executions() -> impl Strategy<Value = Vec<(bool, u64)>> {
    prop::collection::vec(
        (any::<bool>(), any::<u64>().prop_map(|address| address >> 8)),
        1..400,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_tells_a_sink_the_same(executions in executions()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream");
        let (live, captured) = record(&path, &executions);
        let (told, replay) = replay(&path).unwrap();
        prop_assert_eq!(&told, &live);
        prop_assert!(told.calls.len() >= executions.len());
        prop_assert_eq!(told.firsts, vec![0, 2]);
        prop_assert_eq!((replay.about(), replay.closing()), ("about", Some("closing")));
        prop_assert!(!replay.probes_differ());
        prop_assert_eq!(format!("{:?}", replay.captured()), format!("{captured:?}"));
    }

    #[test]
    fn damage_is_found_and_placed(executions in executions(), place in any::<prop::sample::Index>(), bit in 0..8u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream");
        record(&path, &executions);
        let whole = std::fs::read(&path).unwrap();
        let place = place.index(whole.len());
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << bit;
        std::fs::write(&path, &damaged).unwrap();
        match replay(&path) {
            // What does not change the content: a bit of zstd's own that it does not use.
            Ok((told, _)) => prop_assert!(told.calls.len() >= executions.len()),
            Err(StreamError::Recording { offset, .. }) => prop_assert!(offset <= whole.len() as u64),
            Err(other) => prop_assert!(false, "{}", other),
        }
        std::fs::write(&path, &whole[..place]).unwrap();
        match replay(&path) {
            Err(StreamError::Recording { offset, what }) => {
                prop_assert!(offset <= place as u64);
                prop_assert!(place < 16 || what.contains("cut off"), "{}", what);
            }
            other => prop_assert!(false, "{:?}", other.map(|(told, _)| told)),
        }
    }
}

#[test]
fn other_probes_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    record(&path, &[(false, 8)]);
    let mut replay = Replay::open(&path).unwrap();
    let mut told = Told {
        probes: vec![vec![probe(0x30)], vec![probe(0x10), probe(0x21)]],
        ..Told::default()
    };
    while replay.next(&mut told).unwrap() {}
    assert!(replay.probes_differ());
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Replay::open(&path).err().expect("no recording").to_string()
    };
    assert!(refused(b"LD 0x1\nST 0x2\nLD 0x3\n").contains("no recording of memloupe"));
    assert!(refused(b"MLSTREAM\x09\0\0\0\x03\0\0\0").contains("layout 9"));
    assert!(refused(b"ML").contains("shorter"));
    std::fs::remove_file(&path).unwrap();
    let missing = Replay::open(&path).err().unwrap().to_string();
    assert!(missing.contains("cannot read the recording"), "{missing}");
}
