//! A timed memory against the DRAM it drives, against itself restored, and against what its sender is promised.

mod tiers;

use std::num::NonZero;

use memloupe_hierarchy::Machine;
use memloupe_hierarchy::dram::{
    Command, ControllerConfig, Device, DramSystem, Pace, Place, RowOutcome, Topology, Workload,
};
use memloupe_hierarchy::timed::{
    MemoryCompletion, MemoryRequest, RequestError, RequestKind, TimedConfig, TimedMemory,
};
use proptest::prelude::*;

fn machine(device: &str, channels: u32) -> Machine {
    let toml = format!(
        "extends = \"desktop\"\n[memory]\ndevice = \"{device}\"\nchannels = {channels}\nmapping = \"RoBaRaCoCh\"\n"
    );
    Machine::from_toml("test", &toml).unwrap()
}

fn memory(device: &str, channels: u32, config: &str) -> TimedMemory {
    TimedMemory::new(
        &machine(device, channels),
        TimedConfig::from_toml(config).unwrap(),
    )
    .unwrap()
}

fn request(id: u64, address: u64, bytes: u32, kind: RequestKind) -> MemoryRequest {
    MemoryRequest {
        id,
        address,
        bytes,
        kind,
        core: 0,
        tag: 0,
    }
}

/// Sends each request at its time or as soon after that as it is taken, and sees all through; `look` is when to come
/// back at the latest.
fn drive(
    memory: &mut TimedMemory,
    requests: &[(u64, MemoryRequest)],
    mut look: impl FnMut(&mut TimedMemory) -> Option<u64>,
) -> Vec<MemoryCompletion> {
    let mut done = Vec::new();
    let mut now = memory.now_ps();
    for (time, request) in requests {
        while let Some(next) = look(memory).filter(|next| *next < (*time).max(now)) {
            memory.advance(next, |end| done.push(*end)).unwrap();
        }
        now = now.max(*time);
        while !memory.send(now, request).unwrap() {
            now = memory
                .next_event_ps()
                .expect("a refused request has others before it");
            memory.advance(now, |end| done.push(*end)).unwrap();
        }
    }
    memory.drain(|end| done.push(*end)).unwrap();
    done
}

fn at_events(memory: &mut TimedMemory) -> Option<u64> {
    memory.next_event_ps()
}

#[derive(Clone, Debug)]
struct Traffic(Vec<(u64, u64, u32, u8, u32)>);

fn traffic(most_bytes: u32) -> impl Strategy<Value = Traffic> {
    let one = (0..40_000u64, 0..1u64 << 22, 1..=most_bytes, 0..4u8, 0..5u32);
    prop::collection::vec(one, 1..400).prop_map(Traffic)
}

impl Traffic {
    fn requests(&self) -> Vec<(u64, MemoryRequest)> {
        let mut time = 0;
        let numbered = self.0.iter().enumerate();
        numbered
            .map(|(id, &(gap, address, bytes, kind, tag))| {
                time += if gap < 30_000 { gap % 700 } else { gap };
                let kind = RequestKind::ALL[usize::from(kind)];
                (
                    time,
                    MemoryRequest {
                        tag,
                        ..request(id as u64, address, bytes, kind)
                    },
                )
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn requests_of_a_burst_fare_as_in_the_dram_alone(traffic in traffic(1), channels in 1..4u32) {
        for device in ["DDR4-3200AA", "DDR5-6400AN"] {
            let requests = traffic.requests();
            let topology = Topology { channels, ranks: 1, mapping: "RoBaRaCoCh".into() };
            let found = Device::find(device).unwrap();
            let mut alone = DramSystem::new(&found, &topology, ControllerConfig::default()).unwrap();
            let mut workload = Workload::default();
            let mut memory = memory(device, channels, "");
            // On clock edges, and one to a clock: the list's sender has one offer per tick.
            let mut edge = 0;
            let mut timed = Vec::new();
            for (time, request) in &requests {
                edge = (time / found.t_ck_ps).max(edge + 1);
                timed.push((edge * found.t_ck_ps, *request));
                workload.push(&alone, Place::Address(request.address), 1, request.kind.writes(), edge);
            }
            workload.run(&mut alone, Pace::AsTimed, NonZero::<usize>::MIN);
            let done = drive(&mut memory, &timed, at_events);
            // A list has a sender for each channel, which a refusal by another does not hold up.
            if memory.refusals() == 0 {
                let (mine, theirs) = (memory.statistics().unwrap(), alone.statistics());
                prop_assert_eq!(&mine.requests, &theirs.requests);
                prop_assert_eq!(&mine.outcomes, &theirs.outcomes);
                // The list's sender goes home with the last command, this one with the last data: a refresh may have begun.
                for command in [Command::Activate, Command::Read, Command::Write] {
                    prop_assert_eq!(mine.commands_of(command), theirs.commands_of(command));
                }
                prop_assert_eq!(&mine.read_latency, &theirs.read_latency);
                prop_assert_eq!(&mine.write_latency, &theirs.write_latency);
            }
            prop_assert_eq!(done.len(), requests.len());
        }
    }

    #[test]
    fn nothing_happens_before_the_next_event(traffic in traffic(300), wck in any::<bool>(), deep in any::<bool>()) {
        let device = if wck { "LPDDR5-6400" } else { "DDR4-3200AA" };
        let config = "latency_ps = 7000\n[controller]\nread_queue = 4\nwrite_queue = 4\n";
        let config = if deep { "latency_ps = 7000\n" } else { config };
        let requests = traffic.requests();
        let (mut seldom, mut often) = (memory(device, 2, config), memory(device, 2, config));
        let few = drive(&mut seldom, &requests, at_events);
        // Comes back every so often although there is nothing to do.
        let many = drive(&mut often, &requests, |memory| {
            memory.next_event_ps().map(|next| next.min(memory.now_ps() + 1013))
        });
        prop_assert_eq!(&few, &many);
        prop_assert_eq!(seldom.totals(), often.totals());
        prop_assert_eq!(few.len(), requests.len());
        prop_assert!(few.windows(2).all(|pair| pair[0].finished_ps <= pair[1].finished_ps));
        prop_assert_eq!(seldom.outstanding(), 0);
    }

    #[test]
    fn a_restored_memory_goes_on_as_if_nothing_had_been(traffic in traffic(200), cut in 0..400usize) {
        let requests = traffic.requests();
        let cut = cut.min(requests.len());
        let config = "[controller]\nread_queue = 8\nscheduler = { fr-fcfs-cap = 4 }\n";
        let mut whole = memory("DDR4-3200AA", 2, config);
        let mut early = Vec::new();
        for (time, request) in &requests[..cut] {
            if *time >= whole.now_ps() {
                whole.advance(*time, |end| early.push(*end)).unwrap();
                while !whole.send(whole.now_ps(), request).unwrap() {
                    let next = whole.next_event_ps().unwrap();
                    whole.advance(next, |end| early.push(*end)).unwrap();
                }
            }
        }
        whole.store().write(4090, b"kept over pages");
        let bytes = whole.checkpoint().unwrap();
        let mut restored = memory("DDR4-3200AA", 2, config);
        restored.restore(&bytes).unwrap();
        let rest: Vec<_> = requests[cut..].iter().filter(|(time, _)| *time >= whole.now_ps()).copied().collect();
        prop_assert_eq!(drive(&mut whole, &rest, at_events), drive(&mut restored, &rest, at_events));
        prop_assert_eq!(whole.statistics(), restored.statistics());
        prop_assert_eq!(whole.tags(), restored.tags());
        let mut text = [0; 15];
        restored.store().read(4090, &mut text);
        prop_assert_eq!(&text, b"kept over pages");
        // Whatever byte is changed or missing, it is refused.
        let place = cut * 31 % bytes.len();
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        prop_assert!(restored.restore(&changed).is_err());
        prop_assert!(restored.restore(&bytes[..place]).is_err());
    }
}

#[test]
fn counts_by_tag_add_up_to_those_of_the_device() {
    let mut memory = memory("DDR4-3200AA", 1, "");
    let kinds = RequestKind::ALL;
    let requests: Vec<_> = (0..2000u64)
        .map(|id| {
            let address = id * 0x9e37_79b9 % (1 << 26) / 64 * 64;
            let tag = (id % 3) as u32;
            let kind = kinds[(id % 4) as usize];
            (
                id * 5000,
                MemoryRequest {
                    tag,
                    ..request(id, address, 64, kind)
                },
            )
        })
        .collect();
    drive(&mut memory, &requests, at_events);
    let (sum, device) = (memory.totals(), memory.statistics().unwrap());
    assert_eq!(sum.requests, [500; 4]);
    assert_eq!(sum.done, sum.requests);
    assert_eq!(sum.bytes, [500 * 64; 4]);
    for outcome in [RowOutcome::Hit, RowOutcome::Miss, RowOutcome::Conflict] {
        assert_eq!(sum.outcomes[outcome as usize], device.row_outcomes(outcome));
    }
    let read_ps = (sum.latency_ps[0] + sum.latency_ps[2]) as f64 / 1000.0;
    let mean_ps = device.read_latency.mean().unwrap() * 625.0;
    assert!((read_ps - mean_ps).abs() < 1e-6, "{read_ps} and {mean_ps}");
    assert_eq!(memory.tags().len(), 3);
}

#[test]
fn a_fixed_latency_is_that_of_every_request() {
    let mut memory = memory(
        "DDR4-3200AA",
        1,
        "model = \"fixed\"\nlatency_ps = 100_000\nmax_outstanding = 4\n",
    );
    let requests: Vec<_> = (0..1000)
        .map(|id| (id, request(id, id * 64, 64, RequestKind::Read)))
        .collect();
    let done = drive(&mut memory, &requests, at_events);
    assert!(
        done.iter()
            .all(|end| end.finished_ps - end.accepted_ps == 100_000)
    );
    // Four at a time.
    assert_eq!(done.last().unwrap().finished_ps, 250 * 100_000 + 3);
    assert!(memory.refusals() > 0);
    assert_eq!(memory.statistics(), None);
}

#[test]
fn a_large_request_is_done_with_its_last_burst() {
    let mut memory = memory("DDR4-3200AA", 2, "[controller]\nread_queue = 2\n");
    let large = request(7, 0, 4096, RequestKind::Read);
    assert!(memory.send(0, &large).unwrap());
    assert!(!memory.send(0, &request(8, 0, 64, RequestKind::Read)).unwrap());
    let mut done = Vec::new();
    memory.drain(|end| done.push(*end)).unwrap();
    assert_eq!((done.len(), done[0].id), (1, 7));
    let device = memory.statistics().unwrap();
    assert_eq!(device.requests, [64, 0]);
    // The data of 32 bursts on each of two channels, one after the other, behind the first activate and read.
    let least_ps = (22 + 22 + 4 + 31 * 4) * 625;
    assert!(
        (least_ps..2 * least_ps).contains(&done[0].finished_ps),
        "{done:?}"
    );
}

#[test]
fn idle_memories_have_no_events() {
    let mut memory = memory("DDR4-3200AA", 1, "");
    assert_eq!(memory.next_event_ps(), None);
    memory.send(10, &request(0, 0, 64, RequestKind::Write)).unwrap();
    memory.drain(|_| {}).unwrap();
    assert_eq!(memory.next_event_ps(), None);
    // Refresh goes on all the same.
    let later = memory.now_ps() + 1_000_000_000;
    memory.advance(later, |_| {}).unwrap();
    let refreshes = memory.statistics().unwrap().commands.iter().sum::<u64>();
    assert!((128..134).contains(&refreshes), "{refreshes}");
}

#[test]
fn what_can_not_be_is_refused() {
    let mut memory = memory("DDR4-3200AA", 1, "");
    memory.advance(100, |_| {}).unwrap();
    let good = request(0, 0, 64, RequestKind::Read);
    let time = memory.send(99, &good).unwrap_err();
    assert_eq!(
        time.to_string(),
        "time: 99 ps lies before 100 ps, where the memory is already"
    );
    assert!(matches!(
        memory.advance(u64::MAX, |_| {}),
        Err(RequestError::Time { .. })
    ));
    for (bad, text) in [
        (
            MemoryRequest { bytes: 0, ..good },
            "size_bytes: 0 is not from 1 to 65536",
        ),
        (
            MemoryRequest {
                address: u64::MAX,
                ..good
            },
            "address: 0xffffffffffffffff + 64 B wraps around",
        ),
        (
            MemoryRequest { tag: 1 << 24, ..good },
            "tag: 16777216 is not below 16777216",
        ),
        (
            MemoryRequest { core: 65536, ..good },
            "core: 65536 is not below 65536",
        ),
    ] {
        assert_eq!(memory.send(100, &bad).unwrap_err().to_string(), text);
    }
    let other = self::memory("DDR4-3200AA", 2, "").checkpoint().unwrap();
    assert_eq!(
        memory.restore(&other).unwrap_err().to_string(),
        "checkpoint: it is of another memory, with channels: 2; this one has channels: 1"
    );
    let error = TimedConfig::from_toml("latency_ps = 1\n[controller]\nread_queue = \"x\"\n").unwrap_err();
    assert!(error.starts_with("line 3: "), "{error}");
}

#[test]
fn the_last_byte_of_the_address_space_can_be_read() {
    let mut memory = memory("DDR4-3200AA", 1, "");
    for address in [u64::MAX, u64::MAX - 99] {
        let bytes = (u64::MAX - address + 1) as u32;
        assert!(
            memory
                .send(0, &request(0, address, bytes, RequestKind::Read))
                .unwrap()
        );
    }
    memory.drain(|_| {}).unwrap();
    assert_eq!(memory.statistics().unwrap().requests, [3, 0]);
}

/// What once came to be accepted at another time if one looked more often.
const BEHIND_A_STARTED_DATA_CLOCK: &[(u64, u64, u32, u8, u32)] = &[
    (33219, 2160040, 240, 3, 2),
    (2260, 1919005, 266, 0, 3),
    (4898, 700020, 6, 1, 1),
    (34837, 249499, 205, 2, 0),
    (16071, 1816280, 210, 2, 0),
    (34553, 3038107, 106, 0, 4),
    (1209, 3393501, 277, 1, 4),
    (27474, 452777, 47, 3, 0),
    (20376, 4116276, 69, 1, 1),
    (12988, 3108270, 67, 3, 0),
    (22736, 3139748, 156, 0, 1),
    (30017, 110737, 58, 1, 4),
    (13655, 3991112, 270, 2, 4),
    (9448, 3902753, 254, 2, 4),
    (15370, 2991055, 138, 2, 4),
    (3258, 266802, 184, 2, 3),
    (7491, 614287, 223, 2, 3),
    (20589, 1916059, 9, 0, 0),
    (13962, 3609215, 129, 3, 4),
    (15181, 598997, 255, 1, 2),
    (10047, 3340087, 104, 1, 1),
    (37302, 4163903, 275, 1, 2),
    (35860, 3848625, 31, 2, 0),
    (11175, 1625093, 122, 0, 0),
    (16410, 59191, 212, 1, 3),
    (4166, 934823, 286, 1, 2),
    (1130, 777812, 133, 2, 0),
    (6419, 3985049, 197, 2, 2),
    (14867, 1124859, 104, 1, 0),
];

#[test]
fn room_behind_a_started_data_clock_is_an_event() {
    let requests = Traffic(BEHIND_A_STARTED_DATA_CLOCK.to_vec()).requests();
    let of = || memory("LPDDR5-6400", 2, "latency_ps = 7000\n");
    let few = drive(&mut of(), &requests, at_events);
    let many = drive(&mut of(), &requests, |memory| {
        memory
            .next_event_ps()
            .map(|next| next.min(memory.now_ps() + 1013))
    });
    assert_eq!(few, many);
}
