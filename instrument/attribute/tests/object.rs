//! Data objects against a model that keeps a record for each single byte.

mod gguf_writer;

use std::collections::HashMap;
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use memloupe_attribute::{Class, Extent, Modules, Objects, Preset, Probes, SeenObject};
use memloupe_stream::{Event, MapKind};
use proptest::prelude::*;

/// The addresses that the model covers: [BASE, BASE + SPACE).
const BASE: u64 = 0x10_0000;
const SPACE: u64 = 400;

#[derive(Clone, Debug)]
enum Action {
    Map {
        at: u64,
        bytes: u64,
        kind: MapKind,
    },
    MapModel {
        at: u64,
        bytes: u64,
        file_offset: u64,
    },
    Unmap {
        at: u64,
        bytes: u64,
    },
    Remap {
        from: u64,
        from_bytes: u64,
        to: u64,
        to_bytes: u64,
    },
    Alloc {
        at: u64,
        bytes: u64,
        caller: usize,
    },
    Free {
        at: u64,
    },
    FreeLive {
        which: usize,
    },
    Read {
        at: u64,
        bytes: u64,
        file_offset: u64,
    },
    Register {
        at: u64,
        bytes: u64,
        name: usize,
    },
    StartThread {
        thread: u32,
        at: u64,
    },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let at = || 0..SPACE - 120;
    let bytes = || 0..120u64;
    let kind = prop::sample::select(vec![MapKind::Anonymous, MapKind::Stack, MapKind::Brk]);
    let action = prop_oneof![
        3 => (at(), bytes(), kind).prop_map(|(at, bytes, kind)| Action::Map { at, bytes, kind }),
        2 => (at(), bytes(), 0..600u64).prop_map(|(at, bytes, file_offset)| Action::MapModel { at, bytes, file_offset }),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Action::Unmap { at, bytes }),
        1 => (at(), 0..60u64, at(), 0..60u64).prop_map(|(from, from_bytes, to, to_bytes)| Action::Remap { from, from_bytes, to, to_bytes }),
        6 => (at(), 0..40u64, 0..2usize).prop_map(|(at, bytes, caller)| Action::Alloc { at, bytes, caller }),
        1 => at().prop_map(|at| Action::Free { at }),
        4 => any::<usize>().prop_map(|which| Action::FreeLive { which }),
        2 => (at(), bytes(), 0..600u64).prop_map(|(at, bytes, file_offset)| Action::Read { at, bytes, file_offset }),
        4 => (at(), 0..50u64, 0..3usize).prop_map(|(at, bytes, name)| Action::Register { at, bytes, name }),
        1 => (1..4u32, at()).prop_map(|(thread, at)| Action::StartThread { thread, at }),
    ];
    prop::collection::vec(action, 1..60)
}

#[derive(Clone, Debug, PartialEq)]
struct MappingRecord {
    serial: u64,
    name: String,
    kind: MapKind,
    is_arena: bool,
    /// File offset less address, of the model file.
    shift: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Byte {
    tensor: Option<(String, bool)>,
    heap: Option<(u64, String)>,
    mapping: Option<MappingRecord>,
    /// Freed or unmapped, and nothing took its place yet.
    is_lost: bool,
}

impl Byte {
    fn name(&self) -> &str {
        match self {
            Self {
                tensor: Some((name, _)),
                ..
            }
            | Self {
                heap: Some((_, name)),
                ..
            } => name,
            Self {
                mapping: Some(mapping),
                ..
            } if mapping.is_arena => "heap arena (not handed out)",
            Self {
                mapping: Some(mapping),
                ..
            } => &mapping.name,
            _ => "memory of unknown origin",
        }
    }

    /// Equal keys of neighbours: one extent. None: an answer for one access.
    fn key(&self) -> Option<(u8, u64, &str)> {
        match self {
            Self {
                tensor: Some((name, is_mapped)),
                ..
            } => Some((0, u64::from(*is_mapped), name)),
            Self {
                heap: Some((serial, name)),
                ..
            } => Some((1, *serial, name)),
            Self {
                mapping: Some(mapping),
                ..
            } if mapping.is_arena => None,
            Self {
                mapping: Some(mapping),
                ..
            } => Some((2, mapping.serial, &mapping.name)),
            _ => Some((3, 0, "")),
        }
    }
}

struct Model {
    bytes: Vec<Byte>,
    serial: u64,
    /// Tensors of the model file: offset, length, name.
    tensors: Vec<(u64, u64, String)>,
    path: String,
    peaks: HashMap<String, u64>,
}

impl Model {
    fn range(at: u64, bytes: u64) -> std::ops::Range<usize> {
        at as usize..(at + bytes) as usize
    }

    fn unmap(&mut self, at: u64, bytes: u64) {
        for byte in &mut self.bytes[Self::range(at, bytes)] {
            *byte = Byte {
                is_lost: true,
                ..Byte::default()
            };
        }
    }

    fn map(&mut self, at: u64, bytes: u64, mut record: MappingRecord) {
        self.serial += 1;
        record.serial = self.serial;
        self.unmap(at, bytes);
        for byte in &mut self.bytes[Self::range(at, bytes)] {
            *byte = Byte {
                mapping: Some(record.clone()),
                ..Byte::default()
            };
        }
        if let Some(shift) = record.shift {
            self.put_file(at, bytes, shift.wrapping_add(BASE + at), true);
        }
    }

    fn put_file(&mut self, at: u64, bytes: u64, file_offset: u64, is_mapped: bool) {
        for index in Self::range(at, bytes) {
            let offset = file_offset + index as u64 - at;
            let tensor = self
                .tensors
                .iter()
                .find(|(start, length, _)| (*start..start + length).contains(&offset));
            let byte = &mut self.bytes[index];
            byte.tensor = tensor.map(|(_, _, name)| (name.clone(), is_mapped));
            byte.is_lost &= byte.tensor.is_none();
        }
    }

    /// The bytes around one for which `same` holds without a gap.
    fn run(&self, at: u64, same: impl Fn(&Byte) -> bool) -> std::ops::Range<usize> {
        let at = at as usize;
        let start = (0..at)
            .rev()
            .take_while(|index| same(&self.bytes[*index]))
            .last()
            .unwrap_or(at);
        let end = (at..self.bytes.len())
            .take_while(|index| same(&self.bytes[*index]))
            .last()
            .unwrap_or(at)
            + 1;
        start..end
    }

    fn apply(&mut self, action: &Action, callers: &[String; 2]) {
        match action {
            Action::Map { at, bytes, kind } => {
                let name = match kind {
                    MapKind::Stack => "main stack",
                    _ => "anonymous memory",
                };
                let is_arena = *kind == MapKind::Brk;
                let record = MappingRecord {
                    serial: 0,
                    name: name.to_owned(),
                    kind: *kind,
                    is_arena,
                    shift: None,
                };
                self.map(*at, *bytes, record);
            }
            Action::MapModel {
                at,
                bytes,
                file_offset,
            } => {
                let record = MappingRecord {
                    serial: 0,
                    name: format!("file: {}", self.path),
                    kind: MapKind::File,
                    is_arena: false,
                    shift: Some(file_offset.wrapping_sub(BASE + at)),
                };
                self.map(*at, *bytes, record);
            }
            Action::Unmap { at, bytes } => self.unmap(*at, *bytes),
            Action::Remap {
                from,
                from_bytes,
                to,
                to_bytes,
            } => self.remap(*from, *from_bytes, *to, *to_bytes),
            Action::Alloc { at, bytes, caller } => {
                if *bytes == 0 {
                    return;
                }
                if let Some(mapping) = self.bytes[*at as usize].mapping.clone()
                    && (mapping.kind, mapping.is_arena) == (MapKind::Anonymous, false)
                    && mapping.name == "anonymous memory"
                {
                    for index in self.run(*at, |byte| {
                        byte.mapping.as_ref().is_some_and(|m| m.serial == mapping.serial)
                    }) {
                        self.bytes[index].mapping.as_mut().expect("same mapping").is_arena = true;
                    }
                }
                self.serial += 1;
                let heap = (self.serial, callers[*caller].clone());
                for byte in &mut self.bytes[Self::range(*at, *bytes)] {
                    *byte = Byte {
                        tensor: None,
                        heap: Some(heap.clone()),
                        is_lost: false,
                        ..byte.clone()
                    };
                }
            }
            Action::Free { at } => {
                let Some((serial, _)) = self.bytes[*at as usize].heap.clone() else {
                    return;
                };
                let of_it = |byte: &Byte| byte.heap.as_ref().is_some_and(|heap| heap.0 == serial);
                let run = self.run(*at, of_it);
                if run.start as u64 == *at {
                    for byte in &mut self.bytes[run] {
                        *byte = Byte {
                            tensor: None,
                            heap: None,
                            is_lost: true,
                            ..byte.clone()
                        };
                    }
                }
            }
            Action::FreeLive { .. } => unreachable!("made a Free"),
            Action::Read {
                at,
                bytes,
                file_offset,
            } => self.put_file(*at, *bytes, *file_offset, false),
            Action::Register { at, bytes, name } => {
                if matches!(self.bytes[*at as usize].tensor, Some((_, true))) {
                    return;
                }
                for byte in &mut self.bytes[Self::range(*at, *bytes)] {
                    byte.tensor = Some((format!("tensor {name}"), false));
                    byte.is_lost = false;
                }
            }
            Action::StartThread { thread, at } => {
                let Some(mapping) = self.bytes[*at as usize].mapping.clone() else {
                    return;
                };
                // The main thread's stack has its name already.
                let is_stack = mapping.name == "main stack" || mapping.name.starts_with("stack of");
                if *thread == 0 || mapping.is_arena || !(mapping.name == "anonymous memory" || is_stack) {
                    return;
                }
                for index in self.run(*at, |byte| {
                    byte.mapping.as_ref().is_some_and(|m| m.serial == mapping.serial)
                }) {
                    let name = format!("stack of thread {thread}");
                    self.bytes[index].mapping.as_mut().expect("same mapping").name = name;
                }
            }
        }
    }

    fn remap(&mut self, from: u64, from_bytes: u64, to: u64, to_bytes: u64) {
        let kept = self.bytes[Self::range(from, from_bytes.min(to_bytes))].to_vec();
        let mut record = self.bytes[from as usize]
            .mapping
            .clone()
            .unwrap_or(MappingRecord {
                serial: 0,
                name: "anonymous memory".to_owned(),
                kind: MapKind::Anonymous,
                is_arena: false,
                shift: None,
            });
        record.shift = record
            .shift
            .map(|shift| shift.wrapping_sub(to.wrapping_sub(from)));
        self.unmap(from, from_bytes);
        self.map(to, to_bytes, record.clone());
        let mut serials: HashMap<(u64, bool), u64> = HashMap::new();
        let mut previous = None;
        for (moved, kept) in self.bytes[Self::range(to, to_bytes)].iter_mut().zip(kept) {
            moved.tensor = kept.tensor;
            moved.heap = kept.heap.map(|(serial, name)| {
                if previous != Some(serial) {
                    self.serial += 1;
                    serials.insert((serial, true), self.serial);
                }
                previous = Some(serial);
                (serials[&(serial, true)], name)
            });
            if moved.heap.is_none() {
                previous = None;
            }
        }
    }

    fn note_peaks(&mut self) {
        let mut live: HashMap<&str, u64> = HashMap::new();
        for byte in &self.bytes {
            let tensor = byte.tensor.as_ref().map(|(name, _)| name.as_str());
            let heap = byte.heap.as_ref().map(|(_, name)| name.as_str());
            let mapping = byte.mapping.as_ref().map(|mapping| match mapping.is_arena {
                true => "heap arena (not handed out)",
                false => mapping.name.as_str(),
            });
            for name in [tensor, heap, mapping].into_iter().flatten() {
                *live.entry(name).or_default() += 1;
            }
        }
        for (name, bytes) in live {
            let peak = self.peaks.entry(name.to_owned()).or_default();
            *peak = bytes.max(*peak);
        }
    }
}

#[inline(never)]
fn first_caller() -> u64 {
    std::hint::black_box(1)
}

#[inline(never)]
fn second_caller() -> u64 {
    std::hint::black_box(2)
}

/// This test program's own modules, as an engine would report them.
fn own_modules() -> Modules {
    let mut modules = Modules::default();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(path) = fields.get(5).filter(|path| path.starts_with('/')) else {
            continue;
        };
        let (start, end) = fields[0].split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        let protection = if fields[1].contains('x') { 5 } else { 1 };
        modules.event(&Event::Map {
            address: number(start),
            bytes: number(end) - number(start),
            protection,
            kind: MapKind::File,
            file_offset: number(fields[2]),
            stack: 0,
            path: (*path).to_owned(),
        });
    }
    modules
}

fn name_of(objects: &Objects, extent: Extent) -> &str {
    &objects.table()[extent.object as usize].name
}

fn event(action: &Action, path: &str) -> Option<Event> {
    Some(match action {
        Action::Map { at, bytes, kind } => Event::Map {
            address: BASE + at,
            bytes: *bytes,
            protection: 3,
            kind: *kind,
            file_offset: 0,
            stack: 0,
            path: String::new(),
        },
        Action::MapModel {
            at,
            bytes,
            file_offset,
        } => Event::Map {
            address: BASE + at,
            bytes: *bytes,
            protection: 1,
            kind: MapKind::File,
            file_offset: *file_offset,
            stack: 0,
            path: path.to_owned(),
        },
        Action::Unmap { at, bytes } => Event::Unmap {
            address: BASE + at,
            bytes: *bytes,
        },
        Action::Remap {
            from,
            from_bytes,
            to,
            to_bytes,
        } => Event::Remap {
            from: BASE + from,
            from_bytes: *from_bytes,
            to: BASE + to,
            to_bytes: *to_bytes,
        },
        Action::Alloc { at, bytes, caller } => Event::Alloc {
            address: BASE + at,
            bytes: *bytes,
            stack: *caller as u64,
        },
        Action::Free { at } => Event::Free { address: BASE + at },
        Action::Read {
            at,
            bytes,
            file_offset,
        } => Event::FileRead {
            address: BASE + at,
            bytes: *bytes,
            file_offset: *file_offset,
            path: path.to_owned(),
        },
        Action::StartThread { thread, at } => Event::ThreadStart {
            thread: *thread,
            os_tid: 0,
            parent: 0,
            stack_pointer: BASE + at,
        },
        Action::Register { .. } | Action::FreeLive { .. } => return None,
    })
}

fn check(actions: &[Action], probes: &[u64]) -> Result<(), TestCaseError> {
    let (file, data) = gguf_writer::write(
        32,
        &[
            ("a.weight", &[16], 0, 64),
            ("b.weight", &[5], 0, 20),
            ("c.weight", &[40], 1, 80),
        ],
    );
    let mut on_disk = tempfile::NamedTempFile::new().expect("a temporary file");
    on_disk.write_all(&file).expect("written");
    let path = on_disk.path().to_str().expect("UTF-8").to_owned();
    static MODULES: LazyLock<Mutex<Modules>> = LazyLock::new(|| Mutex::new(own_modules()));
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    modules.event(&Event::Unmap {
        address: BASE,
        bytes: SPACE,
    });
    let mut objects = Objects::new(Vec::new());
    let mut model = Model {
        bytes: vec![Byte::default(); SPACE as usize],
        serial: 0,
        tensors: vec![
            (data, 64, "a.weight".to_owned()),
            (data + 64, 20, "b.weight".to_owned()),
            (data + 96, 80, "c.weight".to_owned()),
        ],
        path: path.clone(),
        peaks: HashMap::new(),
    };
    let callers = [
        first_caller as *const () as u64,
        second_caller as *const () as u64,
    ];
    for (stack, ip) in callers.iter().enumerate() {
        objects.event(
            &Event::Stack {
                stack: stack as u64,
                frames: vec![*ip + 1],
            },
            &modules,
        );
    }
    let program = std::env::current_exe().expect("a path");
    let program = program
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let callers = ["first_caller", "second_caller"].map(|name| format!("heap: object::{name} ({program})"));

    // What a caller would have kept: the answer's name, and the generation it belongs to.
    let mut kept: Vec<(u64, Extent, String)> = Vec::new();
    for action in actions {
        let mut action = action.clone();
        if let Action::FreeLive { which } = action {
            let starts: Vec<u64> = (1..SPACE)
                .filter(|at| {
                    let serial = |at: u64| model.bytes[at as usize].heap.as_ref().map(|heap| heap.0);
                    serial(*at).is_some() && serial(*at) != serial(at - 1)
                })
                .collect();
            let Some(at) = starts.get(which % starts.len().max(1)) else {
                continue;
            };
            action = Action::Free { at: *at };
        }
        model.apply(&action, &callers);
        model.note_peaks();
        match &action {
            Action::Register { at, bytes, name } => objects.register(&SeenObject {
                name: format!("tensor {name}"),
                class: Class::Activation,
                address: BASE + at,
                bytes: *bytes,
            }),
            other => {
                let event = event(other, &path).expect("an event");
                modules.event(&event);
                objects.event(&event, &modules);
            }
        }
        for (generation, extent, name) in &kept {
            if *generation != objects.generation() {
                continue;
            }
            for address in extent.start.max(BASE)..extent.end.min(BASE + SPACE) {
                let byte = &model.bytes[(address - BASE) as usize];
                prop_assert!(
                    byte.is_lost || byte.name() == name,
                    "{address:#x} was {name}, is {} after {action:?}, and the generation is the same",
                    byte.name()
                );
            }
        }
        for at in probes {
            let extent = objects.lookup(BASE + at, &modules);
            let byte = &model.bytes[*at as usize];
            prop_assert_eq!(
                name_of(&objects, extent),
                byte.name(),
                "at {} after {:?}",
                at,
                action
            );
            let expected = match byte.key() {
                Some(key) => model.run(*at, |other| other.key() == Some(key)),
                None => *at as usize..*at as usize,
            };
            let clamp = |address: u64| address.clamp(BASE, BASE + SPACE) - BASE;
            let found = clamp(extent.start) as usize..clamp(extent.end) as usize;
            prop_assert_eq!(found, expected, "at {} after {:?}", at, action);
            kept.push((objects.generation(), extent, byte.name().to_owned()));
        }
    }
    for at in 0..SPACE {
        let extent = objects.lookup(BASE + at, &modules);
        prop_assert_eq!(name_of(&objects, extent), model.bytes[at as usize].name());
    }
    for object in objects.table() {
        let peak = model.peaks.get(&object.name).copied().unwrap_or(0);
        prop_assert_eq!(object.bytes, peak, "most bytes of {}", object.name);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_byte_has_the_object_of_the_naive_model(
        actions in actions(),
        probes in prop::collection::vec(0..SPACE, 1..12),
    ) {
        check(&actions, &probes)?;
    }
}

fn allocate(objects: &mut Objects, modules: &Modules, address: u64, bytes: u64) {
    objects.event(
        &Event::Alloc {
            address,
            bytes,
            stack: 0,
        },
        modules,
    );
}

#[test]
fn freeing_and_allocating_the_same_thing_keeps_the_generation() {
    let modules = Modules::default();
    let mut objects = Objects::new(Vec::new());
    objects.event(
        &Event::Map {
            address: BASE,
            bytes: 0x10_0000,
            protection: 3,
            kind: MapKind::Brk,
            file_offset: 0,
            stack: 0,
            path: String::new(),
        },
        &modules,
    );
    allocate(&mut objects, &modules, BASE + 16, 64);
    let kept = objects.lookup(BASE + 20, &modules);
    let generation = objects.generation();
    for round in 0..1000 {
        objects.event(&Event::Free { address: BASE + 16 }, &modules);
        // The allocator writes to its free list.
        let own = objects.lookup(BASE + 16, &modules);
        assert_eq!((own.start, own.end), (BASE + 16, BASE + 16));
        allocate(&mut objects, &modules, BASE + 16, 64);
        allocate(&mut objects, &modules, BASE + 4096 + round * 64, 48);
    }
    assert_eq!(objects.generation(), generation);
    assert_eq!(objects.lookup(BASE + 20, &modules), kept);
    let seen = SeenObject {
        name: "ffn_out-0".to_owned(),
        class: Class::Activation,
        address: BASE + 16,
        bytes: 32,
    };
    objects.register(&seen);
    assert_ne!(objects.generation(), generation);
    let generation = objects.generation();
    objects.lookup(BASE + 20, &modules);
    for _ in 0..1000 {
        objects.register(&seen);
    }
    assert_eq!(objects.generation(), generation);
}

#[test]
fn another_program_starts_from_nothing() {
    let mut modules = own_modules();
    let mut objects = Objects::new(Vec::new());
    allocate(&mut objects, &modules, BASE, 64);
    let before = objects.lookup(BASE, &modules);
    let generation = objects.generation();
    let exec = Event::Exec {
        path: "/bin/true".to_owned(),
    };
    modules.event(&exec);
    objects.event(&exec, &modules);
    assert_ne!(objects.generation(), generation);
    assert_ne!(objects.lookup(BASE, &modules).object, before.object);
    assert_eq!(modules.module_at(first_caller as *const () as u64), None);
    assert!(modules.all().iter().all(|module| !module.is_loaded));
}

/// Memory that a program maps is named by who mapped it; a rule can tell code without a symbol by its module. What an
/// allocator hands out of it is the allocator's from then on.
#[test]
fn mapped_memory_is_named_by_who_mapped_it() {
    let modules = own_modules();
    let preset = r#"
        name = "test"
        description = ""
        [[object]]
        function = "[object-*+0x*]"
        class = "workspace"
        name = "scratch"
    "#;
    let rules = Probes::new(vec![Preset::parse(preset, "test").expect("a preset")]).stack_rules();
    let mut objects = Objects::new(rules);
    // The ELF header is mapped with the module, and is nobody's function.
    let named = first_caller as *const () as u64;
    let nameless = modules.get(modules.module_at(named).expect("own code")).bias + 16;
    for (stack, frame) in [(1, named), (2, nameless)] {
        let frames = vec![frame];
        objects.event(&Event::Stack { stack, frames }, &modules);
        let address = BASE + stack * 0x1_0000;
        let map = Event::Map {
            address,
            bytes: 0x1_0000,
            protection: 3,
            kind: MapKind::Anonymous,
            file_offset: 0,
            stack,
            path: String::new(),
        };
        objects.event(&map, &modules);
        let extent = objects.lookup(address + 8, &modules);
        assert_eq!((extent.start, extent.end), (address, address + 0x1_0000));
        let object = &objects.table()[extent.object as usize];
        if stack == 1 {
            assert_eq!(object.class, Class::Heap);
            assert!(
                object.name.starts_with("mapped: ") && object.name.contains("first_caller"),
                "{}",
                object.name
            );
        } else {
            assert_eq!(
                (object.class, object.name.as_str()),
                (Class::Workspace, "scratch")
            );
        }
        allocate(&mut objects, &modules, address + 64, 32);
        let rest = objects.lookup(address + 8, &modules);
        assert_eq!(name_of(&objects, rest), "heap arena (not handed out)");
    }
}

/// Two models that use the same names, as a draft beside its target: each tensor is its file's.
#[test]
fn tensors_of_two_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let modules = Modules::default();
    let mut objects = Objects::new(Vec::new());
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/layers.safetensors");
    let mut names = Vec::new();
    for (place, name) in ["target.safetensors", "draft.safetensors"]
        .into_iter()
        .enumerate()
    {
        let path = folder.path().join(name);
        std::fs::copy(model, &path).unwrap();
        let address = BASE + 0x10_0000 * place as u64;
        objects.event(
            &Event::Map {
                address,
                bytes: std::fs::metadata(&path).unwrap().len(),
                protection: 1,
                kind: MapKind::File,
                file_offset: 0,
                stack: 0,
                path: path.to_str().unwrap().to_owned(),
            },
            &modules,
        );
        let tensors = memloupe_attribute::model::Model::open(&path)
            .unwrap()
            .unwrap()
            .own;
        let tensor = &tensors.tensors()[0];
        let extent = objects.lookup(address + tensor.file_offset, &modules);
        names.push((tensor.name.clone(), name_of(&objects, extent).to_owned()));
    }
    assert_eq!(names[0].0, names[0].1);
    assert_eq!(format!("{} (draft.safetensors)", names[1].0), names[1].1);
    let notes = objects.notes();
    assert!(
        notes.len() == 1 && notes[0].contains("draft.safetensors"),
        "{notes:?}"
    );
}

/// A program may give each of millions of objects a name of its own: what that takes is bounded, and told.
#[test]
fn names_beyond_a_number_are_one() {
    const NAMES: u64 = 150_000;
    let modules = Modules::default();
    let mut objects = Objects::new(Vec::new());
    for number in 0..NAMES {
        objects.register(&SeenObject {
            name: format!("node {number}"),
            class: Class::Workspace,
            address: BASE + 16 * number,
            bytes: 16,
        });
    }
    assert!(objects.table().len() < 100_010);
    for (number, name) in [(7, "node 7"), (NAMES - 1, "(further objects)")] {
        let extent = objects.lookup(BASE + 16 * number, &modules);
        assert_eq!(name_of(&objects, extent), name);
        assert_eq!(objects.table()[extent.object as usize].class, Class::Workspace);
    }
    assert!(objects.notes()[0].contains("100000"), "{:?}", objects.notes());
}
