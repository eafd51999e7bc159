//! Accesses and allocations of threads that work together come in an order in which they can have happened.

mod recording;

use memloupe_stream::AccessKind::{Load, Store};
use recording::{Recording, compile};

const ROUNDS: u64 = 100;

/// Runs the program with one way of synchronisation.
fn check(way: &str) {
    // At a fixed address, so that the accesses of its own code can be told from the libraries'.
    let program = compile("tests/programs/order.c", &["-O2", "-pthread", "-no-pie"]);
    let recording = Recording::within(&program, &[way], 0x40_0000..0x80_0000);
    assert_eq!(recording.code(), Some(0), "{way}");
    assert!(recording.finished, "{way}");
    // Blocks are freed by one thread and handed out to the other.
    assert_eq!(recording.violations, Vec::<String>::new(), "{way}");
    let output = String::from_utf8_lossy(&recording.output);
    let arrays: Vec<u64> = output
        .split_whitespace()
        .map(|word| word.parse().expect("an address"))
        .collect();
    let handed = |array: u64, round: u64| {
        let address = array + round * 8;
        let place = |kind| {
            recording
                .accesses
                .iter()
                .position(|access| access.address == address && access.kind == kind)
                .unwrap_or_else(|| panic!("{way}: no {kind:?} of round {round}"))
        };
        [place(Store), place(Load)]
    };
    let places: Vec<usize> = (0..ROUNDS)
        .flat_map(|round| [handed(arrays[0], round), handed(arrays[1], round)])
        .flatten()
        .collect();
    let early = places.windows(2).position(|pair| pair[0] > pair[1]);
    assert_eq!(
        early,
        None,
        "{way}: access {early:?} of {} comes late",
        places.len()
    );
}

#[test]
fn through_a_spinning_loop() {
    check("spin");
}

#[test]
fn through_a_lock_of_atomic_instructions() {
    check("lock");
}

#[test]
fn through_mutex_and_condition() {
    check("condition");
}

#[test]
fn through_pipes() {
    check("pipe");
}
