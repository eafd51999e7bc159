//! Every format gives back what it keeps; what is damaged is placed.

use std::io::{BufReader, Cursor, Write};
use std::rc::Rc;

use memloupe_trace::{Coordinates, Format, Kind, Reference, Setting, TraceError, create, open};
use proptest::prelude::*;

const ROW_BURSTS: u64 = 128;

/// Four banks, interleaved by bursts of 32 bytes.
struct Banks;

impl Coordinates for Banks {
    fn burst_bytes(&self) -> u32 {
        32
    }

    fn levels(&self) -> &[&'static str] {
        &["bank", "row", "column"]
    }

    fn locate(&self, address: u64, values: &mut Vec<u64>) {
        let burst = address / 32;
        *values = vec![burst % 4, burst / 4 / ROW_BURSTS, burst / 4 % ROW_BURSTS];
    }

    fn address(&self, values: &[u64]) -> Option<u64> {
        let &[bank, row, column] = values else { return None };
        (bank < 4 && column < ROW_BURSTS).then(|| ((row * ROW_BURSTS + column) * 4 + bank) * 32)
    }
}

fn setting() -> Setting {
    Setting {
        clock_ps: 500,
        memory: Rc::new(Banks),
    }
}

fn references() -> impl Strategy<Value = Vec<Reference>> {
    let kinds = prop_oneof![
        Just(Kind::Read),
        Just(Kind::Write),
        Just(Kind::Modify),
        Just(Kind::Fetch),
        Just(Kind::Prefetch),
    ];
    // A few instructions, so that several references are one's.
    let reference = (0..9u64, 1..1u64 << 48, 0..200u32, kinds, 1..5u64, 0..3u32);
    prop::collection::vec(reference, 0..300).prop_map(|references| {
        let mut time = 0;
        references
            .into_iter()
            .map(|(gap, address, bytes, kind, pc, thread)| {
                time += gap;
                Reference {
                    time,
                    address,
                    bytes,
                    kind,
                    pc: 0x1000 + pc,
                    thread,
                }
            })
            .collect()
    })
}

fn written(format: &Format, references: &[Reference]) -> (Vec<Reference>, Vec<u8>) {
    let mut fitting = Vec::new();
    for &reference in references {
        format.fit(reference, &setting(), &mut fitting);
    }
    let mut bytes = Vec::new();
    let mut writer = format.writer(&mut bytes, &setting()).unwrap();
    for batch in fitting.chunks(7) {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    (fitting, bytes)
}

fn read(format: &Format, bytes: &[u8]) -> (Vec<Reference>, Option<TraceError>) {
    let input = Box::new(BufReader::new(Cursor::new(bytes.to_vec())));
    let mut reader = match format.reader(input, &setting()) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    loop {
        match reader.read(&mut batch) {
            Ok(()) if batch.is_empty() => return (all, None),
            Ok(()) => all.append(&mut batch),
            Err(error) => return (all, Some(error)),
        }
    }
}

/// What a format should make of the reference at a place, once it was written and read.
fn kept(format: &Format, reference: &Reference, place: usize) -> Reference {
    let keeps = format.keeps;
    Reference {
        time: if keeps.times { reference.time } else { place as u64 },
        bytes: if keeps.sizes {
            reference.bytes
        } else {
            format.default_length.bytes(&setting())
        },
        address: match keeps.addresses {
            true => reference.address,
            false => reference.address & !31,
        },
        pc: if keeps.instructions { reference.pc } else { 0 },
        thread: if keeps.threads { reference.thread } else { 0 },
        ..*reference
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_kept_comes_back(references in references()) {
        for format in Format::ALL {
            let (fitting, bytes) = written(format, &references);
            let (found, error) = read(format, &bytes);
            prop_assert!(error.is_none(), "{}: {}", format.name, error.unwrap());
            let mut expected: Vec<_> = fitting.iter().zip(0..).map(|(it, place)| kept(format, it, place)).collect();
            let mut found = found;
            if format.name == "champsim" {
                // Its time is the instruction's number; a fetch's address is known as that of an instruction.
                for reference in found.iter_mut().chain(&mut expected) {
                    reference.time = 0;
                }
            }
            if format.name == "drmemtrace" {
                for reference in &mut expected {
                    if reference.kind == Kind::Fetch {
                        reference.pc = reference.address;
                    }
                }
            }
            prop_assert_eq!(found, expected, "{}", format.name);
        }
    }

    #[test]
    fn a_cut_is_placed(references in references(), place in any::<prop::sample::Index>()) {
        for format in Format::ALL {
            let (_, bytes) = written(format, &references);
            if bytes.is_empty() {
                continue;
            }
            let cut = &bytes[..place.index(bytes.len())];
            let whole = read(format, &bytes).0;
            let (found, error) = read(format, cut);
            // The last number of a text may be shorter than it was.
            let sure = found.len().saturating_sub(usize::from(error.is_none()));
            prop_assert_eq!(&found[..sure], &whole[..sure], "{}", format.name);
            match error {
                Some(TraceError::Record { offset, .. } | TraceError::Line { offset, .. }) => {
                    prop_assert!(offset <= cut.len() as u64, "{}", format.name);
                }
                Some(TraceError::File(error)) => prop_assert!(false, "{}: {}", format.name, error),
                _ => {}
            }
        }
    }

    #[test]
    fn noise_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        for format in Format::ALL {
            let _ = read(format, &bytes);
            let _ = read(format, &[b"gem5".as_slice(), &bytes].concat());
        }
    }
}

#[test]
fn lines_of_others_are_understood() {
    let of = |name: &str| Format::named(name).unwrap();
    let one = |name: &str, text: &str| {
        let (found, error) = read(of(name), text.as_bytes());
        assert!(error.is_none(), "{name}: {}", error.unwrap());
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    let lackey = one(
        "lackey",
        "==12== Lackey, an example Valgrind tool\n\n M 1ffefffe7c,4\n",
    );
    assert_eq!(
        (lackey.address, lackey.bytes, lackey.kind),
        (0x1f_fefffe7c, 4, Kind::Modify)
    );
    let fetch = "   1   0:  99 <marker: version 6>\n  12  1:  99 ifetch  3 byte(s) @ 0x00007f43b3f6a2b0 48 89 e7  mov %rsp, %rdi\n";
    let fetch = one("drmemtrace", fetch);
    assert_eq!((fetch.pc, fetch.thread, fetch.bytes), (0x7f43_b3f6_a2b0, 99, 3));
    let old = one("dramsys", "31:\tread\t0x400140\n");
    assert_eq!((old.time, old.bytes), (31, 64));
    let spaced = one("dramsim3", "# a comment\n0x2000D5C0 read  30\n");
    assert_eq!((spaced.address, spaced.time), (0x2000_d5c0, 30));
}

#[test]
fn wrong_lines_are_named() {
    let (found, error) = read(Format::named("ramulator").unwrap(), b"LD 1\nLD 2\nXX 3\n");
    assert_eq!(found.len(), 2);
    assert_eq!(
        error.unwrap().to_string(),
        "line 3 (byte 10): 'XX 3' is not 'LD ADDRESS' or 'ST ADDRESS'"
    );
    let (found, error) = read(Format::named("ramulator-rw").unwrap(), b"W 3,7,0\nR 4,0,0\n");
    assert_eq!(
        (found[0].kind, found[0].address),
        (Kind::Write, (7 * ROW_BURSTS * 4 + 3) * 32)
    );
    assert_eq!(
        error.unwrap().to_string(),
        "line 2 (byte 8): 'R 4,0,0' is not 'R' or 'W' and bank,row,column within the memory"
    );
}

#[test]
fn names_of_files_say_how_they_are_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let format = Format::named("lackey").unwrap();
    let text = b" L 10,4\n".repeat(5000);
    for name in ["trace", "trace.gz", "trace.xz"] {
        let path = folder.path().join(name);
        let mut output = create(&path).unwrap();
        output.write_all(&text).unwrap();
        output.finish().unwrap();
        let all = |path: &std::path::Path| {
            let mut reader = format.reader(open(path).unwrap(), &setting()).unwrap();
            let (mut count, mut batch) = (0, Vec::new());
            loop {
                match reader.read(&mut batch) {
                    Ok(()) if batch.is_empty() => return (count, None),
                    Ok(()) => count += batch.len(),
                    Err(error) => return (count, Some(error.to_string())),
                }
            }
        };
        assert_eq!(all(&path), (5000, None), "{name}");
        let whole = std::fs::read(&path).unwrap();
        if name != "trace" {
            assert!(whole.len() < text.len() / 10);
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let (_, error) = all(&path);
            let error = error.unwrap_or_else(|| panic!("{name}: half of it is taken for all"));
            assert!(error.starts_with("at byte "), "{error}");
        }
    }
}
