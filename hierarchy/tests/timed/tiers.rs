//! Several memories one behind the other, and the link before one of them.

use memloupe_hierarchy::Machine;
use memloupe_hierarchy::timed::{MemoryRequest, RequestKind, TimedConfig, TimedMemory};
use proptest::prelude::*;

use super::{at_events, drive, request, traffic};

/// Where the far memory begins.
const FAR: u64 = 2 << 20;

/// What a line costs on the wires in a direction that carries it, and in one that carries a header: flits of 68 bytes with 64 of
/// payload, 64 + 16 and 16 bytes, at 34 GB/s.
const LINE_WIRE_PS: u64 = (64 + 16) * 68 / 64 * 1000 / 34;
const HEADER_WIRE_PS: u64 = 16 * 68 / 64 * 1000 / 34;

/// Two memories of the same device; the far one has a link of 34 GB/s and 50 ns, and 20 ns of its own.
fn memory(config: &str) -> TimedMemory {
    let toml = "extends = \"desktop\"
        [memory]
        name = \"near\"
        device = \"DDR4-3200AA\"
        channels = 2
        latency = \"70 ns\"
        capacity = \"2 MiB\"
        [memory.tier.far]
        device = \"DDR4-3200AA\"
        channels = 2
        ranks = 1
        latency = \"90 ns\"
        [memory.tier.far.link]
        latency = \"50 ns\"
        bandwidth = \"34 GB/s\"
        flit = \"68 B\"
        flit_payload = \"64 B\"
        header = \"16 B\"
        [memory.placement]
        page = \"4 KiB\"
        policy = \"first touch\"
        ";
    let machine = Machine::from_toml("test", toml).unwrap();
    TimedMemory::new(&machine, TimedConfig::from_toml(config).unwrap()).unwrap()
}

#[test]
fn a_lone_read_of_the_far_memory_crosses_the_link_both_ways() {
    let latency = |address, kind| {
        let done = drive(&mut memory(""), &[(0, request(0, address, 64, kind))], at_events);
        done[0].finished_ps
    };
    let tick_ps = 625;
    for (kind, wires_ps) in [
        (RequestKind::Read, HEADER_WIRE_PS + LINE_WIRE_PS),
        (RequestKind::Writeback, LINE_WIRE_PS + HEADER_WIRE_PS),
    ] {
        let (near, far) = (latency(64, kind), latency(FAR + 64, kind));
        let expected = near + 50_000 + 20_000 + wires_ps;
        assert!(
            (expected..expected + tick_ps).contains(&far),
            "{near} and {far}: {expected}"
        );
    }
}

#[test]
fn a_stream_from_the_far_memory_is_as_fast_as_its_link() {
    let reads = |base| {
        let requests: Vec<_> = (0..20_000)
            .map(|id| (0, request(id, base + id * 64 % FAR, 64, RequestKind::Read)))
            .collect();
        let mut memory = memory("");
        let done = drive(&mut memory, &requests, at_events);
        let counts: Vec<u64> = memory.parts().map(|part| part.statistics().requests[0]).collect();
        (done.last().unwrap().finished_ps as f64 / 20_000.0, counts)
    };
    let (near_ps, near_counts) = reads(0);
    let (far_ps, far_counts) = reads(FAR);
    assert_eq!((near_counts, far_counts), (vec![20_000, 0], vec![0, 20_000]));
    let link_ps = LINE_WIRE_PS as f64;
    assert!(near_ps < 0.9 * link_ps, "{near_ps} for {link_ps}");
    assert!(
        (link_ps..1.01 * link_ps).contains(&far_ps),
        "{far_ps} for {link_ps}"
    );
}

#[test]
fn what_can_not_be_placed_is_refused() {
    let mut memory = memory("");
    let error = memory
        .send(0, &request(0, FAR - 32, 64, RequestKind::Read))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "address: 0x1fffe0 + 64 B reaches into another memory"
    );
    assert!(
        memory
            .send(0, &request(0, FAR - 64, 64, RequestKind::Read))
            .unwrap()
    );
    assert_eq!(memory.statistics(), None);
    assert_eq!(
        memory
            .parts()
            .map(|part| (part.name().to_owned(), part.base()))
            .collect::<Vec<_>>(),
        [("near".to_owned(), 0), ("far".to_owned(), FAR)]
    );

    let toml = "extends = \"desktop\"\n[memory]\nname = \"near\"\n[memory.tier.far]\ndevice = \"DDR4-3200AA\"\n\
                channels = 1\nranks = 1\nlatency = \"90 ns\"\n[memory.placement]\npage = \"4 KiB\"\npolicy = \"interleave\"\n";
    let machine = Machine::from_toml("test", toml).unwrap();
    let error = TimedMemory::new(&machine, TimedConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "machine desktop: memory far begins where that before it ends: give that one a capacity"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_makes_no_difference_how_often_one_looks(traffic in traffic(300), shallow in any::<bool>()) {
        let config = if shallow { "[controller]\nread_queue = 3\nwrite_queue = 3\n" } else { "latency_ps = 7000\n" };
        let fits = |request: &MemoryRequest| {
            (request.address < FAR) == (request.address + u64::from(request.bytes) <= FAR)
        };
        let requests: Vec<_> = traffic.requests().into_iter().filter(|(_, request)| fits(request)).collect();
        let (mut seldom, mut often) = (memory(config), memory(config));
        let few = drive(&mut seldom, &requests, at_events);
        let many = drive(&mut often, &requests, |memory| {
            memory.next_event_ps().map(|next| next.min(memory.now_ps() + 1013))
        });
        prop_assert_eq!(&few, &many);
        prop_assert_eq!(few.len(), requests.len());
        prop_assert_eq!(seldom.totals(), often.totals());
        // And none if it is put away in between.
        let half = requests.len() / 2;
        let mut first = memory(config);
        let mut done = Vec::new();
        for (time, request) in &requests[..half] {
            first.advance((*time).max(first.now_ps()), |end| done.push(*end)).unwrap();
            let _ = first.send(first.now_ps(), request).unwrap();
        }
        let mut second = memory(config);
        second.restore(&first.checkpoint().unwrap()).unwrap();
        let rest: Vec<_> = requests[half..].iter().filter(|(time, _)| *time >= first.now_ps()).copied().collect();
        prop_assert_eq!(drive(&mut first, &rest, at_events), drive(&mut second, &rest, at_events));
    }
}
