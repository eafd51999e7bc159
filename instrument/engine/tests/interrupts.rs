//! Signals that come at any moment: the target notices no difference, and no access is lost or counted twice.

mod recording;

use std::collections::HashMap;
use std::ops::Range;
use std::process::Command;

use recording::{Recording, compile};

fn split(output: &[u8]) -> (Vec<String>, Vec<String>) {
    let output = String::from_utf8_lossy(output);
    output
        .lines()
        .map(str::to_owned)
        .partition(|line| line.starts_with("case "))
}

fn sum(counts: &HashMap<u64, u64>, range: &Range<u64>) -> u64 {
    let inside = counts.iter().filter(|(address, _)| range.contains(address));
    inside.map(|(_, count)| count).sum()
}

#[test]
fn interrupted_code_is_recorded_exactly_once() {
    let program = compile("tests/programs/interrupts.c", &["-O2", "-pthread"]);
    let native = Command::new(&program).output().expect("the program runs");
    let recording = Recording::with_sums(&program);
    let status = recording.status.expect("it has ended");
    assert!(status.success(), "the program ended with {status}");
    assert_eq!(recording.violations, Vec::<String>::new());
    let (cases, told) = split(&recording.output);
    assert_eq!(told, split(&native.stdout).1);
    assert_eq!(cases.len(), 5, "{cases:?}");
    let sums = recording.sums.expect("they were asked for");
    for case in cases {
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let words: Vec<&str> = case.split(' ').collect();
        let [start, end, bytes, instructions] =
            std::array::from_fn(|place| number(words[2 + place]).expect("a number"));
        let range = start..end;
        assert_eq!(sum(&sums.bytes, &range), bytes, "{case}: bytes");
        assert_eq!(
            sum(&sums.instructions, &range),
            instructions,
            "{case}: instructions"
        );
    }
    assert_eq!(recording.counters.unobserved_instructions, 0);
}
