//! Random calls in random order, with NULL, handles of the wrong kind and numbers out of all range, also out of callbacks:
//! each gets a status, and the handles go on working.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use memloupe_ffi::error::Status;
use memloupe_ffi::memloupe_last_error;
use memloupe_ffi::memory::*;
use memloupe_ffi::system::*;
use proptest::prelude::*;

/// Which pointer a call is given.
#[derive(Clone, Copy, Debug)]
enum Which {
    Memory,
    System,
    Null,
}

#[derive(Clone, Debug)]
enum Call {
    Send {
        time: u64,
        address: u64,
        size: u32,
        kind: u32,
        core: u32,
        tag: u32,
        null: bool,
    },
    Advance(u64),
    NextEvent,
    Drain,
    Take(usize),
    Outstanding,
    Callback(bool),
    Store(u64, usize),
    Checkpoint,
    Restore(Vec<u8>),
    Json(usize),
    Statistic(String),
    About(u32),
    SystemAbout(u32),
    Tag(u32),
    Reserve(u32),
    Access {
        address: u64,
        size: u32,
        kind: u32,
        core: u32,
        owner: u32,
    },
    Flush,
    OnLine(bool),
    SystemJson(usize),
    Cores,
    Destroy,
}

fn wild() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(1 << 63),
        0..100_000u64,
        any::<u64>()
    ]
}

fn wild32(most: u32) -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..=most, 1 => any::<u32>()]
}

fn call() -> impl Strategy<Value = Call> {
    let send = (
        0..20_000u64,
        wild(),
        wild32(300),
        wild32(4),
        wild32(8),
        wild32(3),
        any::<u8>(),
    );
    let access = (wild(), wild32(200), wild32(7), wild32(9), wild32(4));
    prop_oneof![
        6 => send.prop_map(|(time, address, size, kind, core, tag, null)| {
            // Rows of counters for every tag below a wild one are memory that the caller asked for.
            let tag = if tag < 1 << 24 { tag % 100_000 } else { tag };
            Call::Send { time, address, size, kind, core, tag, null: null == 0 }
        }),
        3 => (0..50_000u64).prop_map(Call::Advance),
        1 => prop_oneof![Just(u64::MAX), Just((1 << 63) + 1)].prop_map(Call::Advance),
        2 => Just(Call::NextEvent),
        1 => Just(Call::Drain),
        2 => prop_oneof![0..5usize, Just(usize::MAX)].prop_map(Call::Take),
        1 => Just(Call::Outstanding),
        1 => any::<bool>().prop_map(Call::Callback),
        1 => (wild(), 0..10_000usize).prop_map(|(address, size)| Call::Store(address, size)),
        1 => Just(Call::Checkpoint),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Call::Restore),
        1 => (0..8000usize).prop_map(Call::Json),
        1 => ".{0,12}".prop_map(Call::Statistic),
        1 => wild32(40).prop_map(Call::About),
        1 => wild32(60).prop_map(Call::SystemAbout),
        1 => any::<u32>().prop_map(Call::Tag),
        1 => prop_oneof![0..5u32, ((1 << 24) + 1)..=u32::MAX].prop_map(Call::Reserve),
        4 => access.prop_map(|(address, size, kind, core, owner)| Call::Access { address, size, kind, core, owner }),
        1 => Just(Call::Flush),
        1 => any::<bool>().prop_map(Call::OnLine),
        1 => (0..8000usize).prop_map(Call::SystemJson),
        1 => Just(Call::Cores),
        1 => Just(Call::Destroy),
    ]
}

/// What callbacks see and do.
struct Heard {
    memory: *mut MemoryHandle,
    system: *mut SystemHandle,
    calls: u64,
}

unsafe extern "C" fn completed(user_data: *mut c_void, completion: *const Completion) {
    // SAFETY: the user data of this callback is a `Heard` that nothing else refers to during the call.
    let heard = unsafe { &mut *user_data.cast::<Heard>() };
    heard.calls += 1;
    // SAFETY: the handle is alive: its call is at work.
    unsafe {
        assert!((*completion).finished_ps >= (*completion).accepted_ps);
        assert_eq!(memloupe_memory_drain(heard.memory, ptr::null_mut()), Status::Busy);
        assert_eq!(memloupe_memory_destroy(heard.memory), Status::Busy);
    }
}

unsafe extern "C" fn line(user_data: *mut c_void, address: u64, size: u64, _write: bool, _owner: u32) {
    // SAFETY: as above.
    let heard = unsafe { &mut *user_data.cast::<Heard>() };
    heard.calls += 1;
    assert!(address.is_multiple_of(64) && size.is_multiple_of(64) && size > 0);
    // SAFETY: as above.
    unsafe {
        assert_eq!(memloupe_system_flush(heard.system), Status::Busy);
        assert_eq!(memloupe_system_destroy(heard.system), Status::Busy);
    }
}

/// What the handles must have counted.
#[derive(Default)]
struct Expected {
    accepted: u64,
    now_ps: u64,
}

struct Session {
    memory: *mut MemoryHandle,
    system: *mut SystemHandle,
    heard: *mut Heard,
    expected: Expected,
    checkpoint: Option<(Vec<u8>, u64, u64)>,
}

impl Session {
    fn new() -> Self {
        let (mut memory, mut system) = (ptr::null_mut(), ptr::null_mut());
        let config = c"[controller]\nread_queue = 3\nwrite_queue = 3\n";
        // SAFETY: texts and places for results.
        unsafe {
            let made = memloupe_memory_create(c"desktop".as_ptr(), config.as_ptr(), &raw mut memory);
            assert_eq!(made, Status::Ok);
            assert_eq!(
                memloupe_system_create(c"embedded".as_ptr(), &raw mut system),
                Status::Ok
            );
        }
        let heard = Box::into_raw(Box::new(Heard {
            memory,
            system,
            calls: 0,
        }));
        Self {
            memory,
            system,
            heard,
            expected: Expected::default(),
            checkpoint: None,
        }
    }

    fn memory(&self, which: Which) -> *mut MemoryHandle {
        match which {
            Which::Memory => self.memory,
            Which::System => self.system.cast(),
            Which::Null => ptr::null_mut(),
        }
    }

    fn system(&self, which: Which) -> *mut SystemHandle {
        match which {
            Which::System => self.system,
            Which::Memory => self.memory.cast(),
            Which::Null => ptr::null_mut(),
        }
    }

    /// Makes a call; returns its status and whether it was for the memory.
    fn call(&mut self, which: Which, call: &Call) -> (Status, bool) {
        let (memory, system) = (self.memory(which), self.system(which));
        let heard: *mut c_void = self.heard.cast();
        let mut needed = 0;
        // SAFETY: handles are alive, of whatever kind, or NULL; everything else points to what it says.
        unsafe {
            match call {
                Call::Send {
                    time,
                    address,
                    size,
                    kind,
                    core,
                    tag,
                    null,
                } => {
                    let time = self.expected.now_ps + time;
                    let request = Request {
                        id: 1,
                        address: *address,
                        pc: 0,
                        size_bytes: *size,
                        kind: *kind,
                        core: *core,
                        tag: *tag,
                    };
                    let mut accepted = true;
                    let request = if *null { ptr::null() } else { &raw const request };
                    let status = memloupe_memory_send(memory, time, request, &raw mut accepted);
                    if status == Status::Ok {
                        self.expected.accepted += u64::from(accepted);
                        self.expected.now_ps = time;
                    }
                    (status, true)
                }
                Call::Advance(time) => {
                    let time = if *time < 1 << 40 {
                        self.expected.now_ps + time
                    } else {
                        *time
                    };
                    let status = memloupe_memory_advance(memory, time);
                    if status == Status::Ok {
                        self.expected.now_ps = time;
                    }
                    (status, true)
                }
                Call::NextEvent => {
                    let mut time = 0;
                    let status = memloupe_memory_next_event(memory, &raw mut time);
                    assert!(status != Status::Ok || time >= self.expected.now_ps);
                    (status, true)
                }
                Call::Drain => {
                    let mut end = 0;
                    let status = memloupe_memory_drain(memory, &raw mut end);
                    if status == Status::Ok {
                        self.expected.now_ps = end;
                    }
                    (status, true)
                }
                Call::Take(capacity) => {
                    let mut room = vec![
                        Completion {
                            id: 0,
                            accepted_ps: 0,
                            finished_ps: 0,
                            kind: 0,
                            tag: 0
                        };
                        4
                    ];
                    let capacity = if *capacity == usize::MAX {
                        *capacity
                    } else {
                        (*capacity).min(4)
                    };
                    if capacity == usize::MAX {
                        // A capacity that no array has is only safe where nothing waits or there is no array.
                        let status = memloupe_memory_take_completions(
                            memory,
                            ptr::null_mut(),
                            capacity,
                            &raw mut needed,
                        );
                        return (
                            if status == Status::NullArgument {
                                self.statusless(which, true)
                            } else {
                                status
                            },
                            true,
                        );
                    }
                    let status = memloupe_memory_take_completions(
                        memory,
                        room.as_mut_ptr(),
                        capacity,
                        &raw mut needed,
                    );
                    assert!(needed <= capacity);
                    (status, true)
                }
                Call::Outstanding => {
                    let mut count = 0;
                    (memloupe_memory_outstanding(memory, &raw mut count), true)
                }
                Call::Callback(on) => {
                    let callback: Option<CompletionCallback> = on.then_some(completed);
                    (memloupe_memory_on_completion(memory, callback, heard), true)
                }
                Call::Store(address, size) => {
                    let bytes = vec![7u8; *size];
                    let status = memloupe_memory_write_store(memory, *address, bytes.as_ptr(), *size);
                    let mut back = vec![0u8; *size];
                    if status == Status::Ok {
                        memloupe_memory_read_store(memory, *address, back.as_mut_ptr(), *size);
                        assert_eq!(bytes, back);
                    }
                    let huge = memloupe_memory_read_store(memory, *address, back.as_mut_ptr(), usize::MAX);
                    assert_ne!(huge, Status::Ok);
                    (status, true)
                }
                Call::Checkpoint => {
                    let status = memloupe_memory_checkpoint(memory, ptr::null_mut(), 0, &raw mut needed);
                    if status != Status::BufferTooSmall {
                        return (status, true);
                    }
                    let mut bytes = vec![0; needed];
                    let status =
                        memloupe_memory_checkpoint(memory, bytes.as_mut_ptr(), needed, &raw mut needed);
                    assert_eq!(status, Status::Ok);
                    self.checkpoint = Some((bytes, self.expected.accepted, self.expected.now_ps));
                    (status, true)
                }
                Call::Restore(junk) => {
                    let status = memloupe_memory_restore(memory, junk.as_ptr(), junk.len());
                    assert_ne!(status, Status::Ok);
                    match &self.checkpoint {
                        Some((bytes, accepted, now_ps)) => {
                            let status = memloupe_memory_restore(memory, bytes.as_ptr(), bytes.len());
                            if status == Status::Ok {
                                self.expected = Expected {
                                    accepted: *accepted,
                                    now_ps: *now_ps,
                                };
                            }
                            (status, true)
                        }
                        None => (
                            if status == Status::BadCheckpoint {
                                Status::Ok
                            } else {
                                status
                            },
                            true,
                        ),
                    }
                }
                Call::Json(capacity) => {
                    let mut text = vec![0 as c_char; *capacity];
                    let status = memloupe_memory_statistics_json(
                        memory,
                        text.as_mut_ptr(),
                        *capacity,
                        &raw mut needed,
                    );
                    (
                        if status == Status::BufferTooSmall {
                            Status::Ok
                        } else {
                            status
                        },
                        true,
                    )
                }
                Call::Statistic(name) => {
                    let name = CString::new(name.replace('\0', "")).unwrap();
                    let mut value = 0.0;
                    let status = memloupe_memory_statistic(memory, name.as_ptr(), &raw mut value);
                    (
                        if status == Status::BadArgument {
                            Status::Ok
                        } else {
                            status
                        },
                        true,
                    )
                }
                Call::SystemAbout(index) => {
                    let mut about = std::mem::zeroed::<Statistic>();
                    let status = memloupe_system_statistic_about(system, *index, &raw mut about);
                    if status == Status::Ok {
                        let mut value = -1.0;
                        let known = memloupe_system_statistic(system, about.name, &raw mut value);
                        assert!(known == Status::Ok && value >= 0.0);
                    }
                    let mut count = 0;
                    let counted = memloupe_system_statistic_count(system, &raw mut count);
                    assert_eq!(status == Status::Ok, counted == Status::Ok && *index < count);
                    (counted, false)
                }
                Call::About(index) => {
                    let mut about = Statistic {
                        name: ptr::null(),
                        unit: ptr::null(),
                        description: ptr::null(),
                        is_count: 0,
                        reserved: 0,
                    };
                    let status = memloupe_memory_statistic_about(*index, &raw mut about);
                    assert_eq!(status == Status::Ok, *index < memloupe_memory_statistic_count());
                    if status == Status::Ok {
                        let mut value = 0.0;
                        let known = memloupe_memory_statistic(self.memory, about.name, &raw mut value);
                        assert_eq!(known, Status::Ok);
                    }
                    (self.statusless(which, true), true)
                }
                Call::Tag(tag) => {
                    let mut counters = std::mem::zeroed::<TagCounters>();
                    (
                        memloupe_memory_tag_counters(memory, *tag, &raw mut counters),
                        true,
                    )
                }
                Call::Reserve(owners) => (memloupe_system_reserve_owners(system, *owners), false),
                Call::Access {
                    address,
                    size,
                    kind,
                    core,
                    owner,
                } => {
                    let access = Access {
                        address: *address,
                        pc: *address >> 20,
                        size_bytes: *size,
                        kind: *kind,
                        core: *core,
                        owner: *owner,
                    };
                    let mut answer = Answer {
                        level: 0,
                        reserved: 0,
                        latency_ns: 0.0,
                    };
                    let status = memloupe_system_access(system, &raw const access, &raw mut answer);
                    assert!(status != Status::Ok || answer.latency_ns > 0.0);
                    (status, false)
                }
                Call::Flush => (memloupe_system_flush(system), false),
                Call::OnLine(on) => {
                    let callback: Option<LineCallback> = on.then_some(line);
                    (memloupe_system_on_line(system, callback, heard), false)
                }
                Call::SystemJson(capacity) => {
                    let mut text = vec![0 as c_char; *capacity];
                    let status = memloupe_system_statistics_json(
                        system,
                        text.as_mut_ptr(),
                        *capacity,
                        &raw mut needed,
                    );
                    (
                        if status == Status::BufferTooSmall {
                            Status::Ok
                        } else {
                            status
                        },
                        false,
                    )
                }
                Call::Cores => {
                    let mut cores = 0;
                    (memloupe_system_core_count(system, &raw mut cores), false)
                }
                Call::Destroy => {
                    // NULL is allowed, a handle of another kind is refused; a live one is kept for the calls to come.
                    assert_eq!(memloupe_memory_destroy(ptr::null_mut()), Status::Ok);
                    assert_eq!(memloupe_memory_destroy(self.system.cast()), Status::WrongHandle);
                    assert_eq!(memloupe_system_destroy(self.memory.cast()), Status::WrongHandle);
                    (self.statusless(which, true), true)
                }
            }
        }
    }

    /// The status that a handle of the wrong kind would have been given, where the call took none.
    fn statusless(&self, which: Which, for_memory: bool) -> Status {
        match (which, for_memory) {
            (Which::Null, _) => Status::NullArgument,
            (Which::Memory, true) | (Which::System, false) => Status::Ok,
            _ => Status::WrongHandle,
        }
    }

    fn end(self) {
        let (mut count, mut needed) = (0, 0);
        // SAFETY: both handles are alive and not used again.
        unsafe {
            assert_eq!(
                memloupe_memory_on_completion(self.memory, None, ptr::null_mut()),
                Status::Ok
            );
            assert_eq!(memloupe_memory_drain(self.memory, ptr::null_mut()), Status::Ok);
            assert_eq!(
                memloupe_memory_outstanding(self.memory, &raw mut count),
                Status::Ok
            );
            assert_eq!(count, 0);
            let kinds = [c"reads", c"writes", c"prefetches", c"writebacks"];
            let accepted = kinds.map(|name| {
                let mut value = 0.0;
                let status = memloupe_memory_statistic(self.memory, name.as_ptr(), &raw mut value);
                assert_eq!(status, Status::Ok);
                value as u64
            });
            assert_eq!(accepted.iter().sum::<u64>(), self.expected.accepted);
            let none = memloupe_system_statistics_json(self.system, ptr::null_mut(), 0, &raw mut needed);
            assert_eq!(none, Status::BufferTooSmall);
            assert_eq!(memloupe_memory_destroy(self.memory), Status::Ok);
            assert_eq!(memloupe_system_destroy(self.system), Status::Ok);
            drop(Box::from_raw(self.heard));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_call_has_a_status(
        calls in prop::collection::vec((prop_oneof![
            6 => Just(Which::Memory), 4 => Just(Which::System), 1 => Just(Which::Null)
        ], call()), 1..200)
    ) {
        let mut session = Session::new();
        for (which, call) in &calls {
            let (status, for_memory) = session.call(*which, call);
            // SAFETY: the text is valid until the next failure on this thread.
            let text = unsafe { CStr::from_ptr(memloupe_last_error()) }.to_str().unwrap();
            prop_assert_ne!(status, Status::InternalError, "{:?}: {}", call, text);
            match session.statusless(*which, for_memory) {
                Status::Ok => prop_assert!(
                    [Status::Ok, Status::BadArgument, Status::NullArgument].contains(&status),
                    "{:?}: {:?} {}", call, status, text
                ),
                other => prop_assert_eq!(status, other, "{:?}", call),
            }
        }
        session.end();
    }
}
