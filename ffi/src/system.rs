//! `memloupe_system`: the caches of a machine above its DRAM, access by access.

use std::ffi::{c_char, c_void};
use std::ptr;

use memloupe_cachesim::{AccessKind, Memory, Operand, OwnerTraits};
use memloupe_hierarchy::{Machine, MachineError, System};

use crate::argument::{give_text, input, output, text};
use crate::error::{Failure, Status, guarded};
use crate::handle::{Handle, Kind, call, make};
use crate::memory::Statistic;
use crate::statistics;
use crate::statistics::system::Names;

/// The largest access, `MEMLOUPE_MAX_ACCESS_BYTES`.
pub const MAX_ACCESS_BYTES: u32 = 65536;
/// The largest number of owners, `MEMLOUPE_MAX_OWNERS`.
pub const MAX_OWNERS: u32 = 1 << 24;

/// What `memloupe_system *` points to.
pub type SystemHandle = Handle<SystemState>;

/// `memloupe_line_callback`.
pub type LineCallback =
    unsafe extern "C" fn(user_data: *mut c_void, line_address: u64, size_bytes: u64, write: bool, owner: u32);

/// A system and its listener.
pub struct SystemState {
    system: System,
    names: Names,
    listener: Listener,
}

impl Kind for SystemState {
    const MARK: u32 = u32::from_le_bytes(*b"MLsy");
    const NAME: &'static str = "system";
}

/// Hears what leaves the last level.
struct Listener {
    callback: Option<LineCallback>,
    user_data: *mut c_void,
    line_bytes: u64,
}

impl Listener {
    fn tell(&self, line_address: u64, lines: u64, write: bool, owner: u32) {
        if let Some(callback) = self.callback {
            // SAFETY: the caller gave the callback with this user data and promised that it may be called so.
            unsafe {
                callback(
                    self.user_data,
                    line_address,
                    lines * self.line_bytes,
                    write,
                    owner,
                );
            }
        }
    }
}

impl Memory for Listener {
    fn read(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.tell(line_address, lines, false, owner);
    }

    fn write(&mut self, line_address: u64, lines: u64, owner: u32) {
        self.tell(line_address, lines, true, owner);
    }
}

/// `memloupe_answer`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answer {
    /// Position of the level that answered.
    pub level: u32,
    /// Not used.
    pub reserved: u32,
    /// Unloaded latency.
    pub latency_ns: f64,
}

/// `memloupe_system_create`.
///
/// # Safety
/// `machine` is NULL or a NUL-terminated text, `system` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_create(
    machine: *const c_char,
    system: *mut *mut SystemHandle,
) -> Status {
    // SAFETY: this function's contract is that of `create`.
    unsafe { create(machine, "machine", system, Machine::load) }
}

/// `memloupe_system_create_from_toml`.
///
/// # Safety
/// `toml` is NULL or a NUL-terminated text, `system` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_create_from_toml(
    toml: *const c_char,
    system: *mut *mut SystemHandle,
) -> Status {
    // SAFETY: this function's contract is that of `create`.
    unsafe { create(toml, "toml", system, |text| Machine::from_toml("toml", text)) }
}

/// # Safety
/// `text` is NULL or a NUL-terminated text, `system` NULL or writable.
unsafe fn create(
    text: *const c_char,
    name: &'static str,
    system: *mut *mut SystemHandle,
    resolve: impl FnOnce(&str) -> Result<Machine, MachineError>,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        make(system, || {
            let machine = resolve(self::text(text, name)?).map_err(Failure::machine)?;
            machine.without_classes().map_err(Failure::machine)?;
            let mut system = System::new(&machine).map_err(Failure::machine)?;
            system.reserve_owners(1);
            let listener = Listener {
                callback: None,
                user_data: ptr::null_mut(),
                line_bytes: machine.line_bytes().into(),
            };
            let names = Names::of(&system);
            Ok(SystemState {
                system,
                names,
                listener,
            })
        })
    }
}

/// `memloupe_system_destroy`.
///
/// # Safety
/// `system` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_destroy(system: *mut SystemHandle) -> Status {
    // SAFETY: this function's contract.
    guarded(|| unsafe { Handle::destroy(system) })
}

/// `memloupe_system_core_count`.
///
/// # Safety
/// `system` is NULL or a live handle, `core_count` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_core_count(
    system: *const SystemHandle,
    core_count: *mut u32,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(system, |state| {
            *output(core_count, "core_count")? = state.system.machine().core.count;
            Ok(())
        })
    }
}

/// `memloupe_system_reserve_owners`.
///
/// # Safety
/// `system` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_reserve_owners(
    system: *mut SystemHandle,
    owner_count: u32,
) -> Status {
    let reserve = |state: &mut SystemState| {
        if owner_count > MAX_OWNERS {
            let text = format!("owner_count: {owner_count} is more than {MAX_OWNERS}");
            return Err(Failure::bad(text));
        }
        state.system.reserve_owners(owner_count as usize);
        Ok(())
    };
    // SAFETY: this function's contract.
    unsafe { call(system, reserve) }
}

/// `memloupe_system_on_line`.
///
/// # Safety
/// `system` is NULL or a live handle; `callback` may be called with `user_data` until it is replaced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_on_line(
    system: *mut SystemHandle,
    callback: Option<LineCallback>,
    user_data: *mut c_void,
) -> Status {
    let listen = |state: &mut SystemState| {
        state.listener.callback = callback;
        state.listener.user_data = user_data;
        Ok(())
    };
    // SAFETY: this function's contract.
    unsafe { call(system, listen) }
}

/// `memloupe_access`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Access {
    /// First byte.
    pub address: u64,
    /// Its instruction.
    pub pc: u64,
    /// Length.
    pub size_bytes: u32,
    /// A `memloupe_access_kind`.
    pub kind: u32,
    /// Which core's.
    pub core: u32,
    /// What it is charged to.
    pub owner: u32,
}

impl Access {
    /// What policies and prefetchers that learn by instruction take for it. Without a pc, an owner is its own instruction.
    fn site(&self) -> u32 {
        match self.pc {
            0 => self.owner,
            pc => (pc ^ (pc >> 32)) as u32,
        }
    }

    fn operand(&self, system: &System) -> Result<Operand, Failure> {
        let Self {
            address,
            pc: _,
            size_bytes,
            kind,
            core,
            owner,
        } = *self;
        let kind = u8::try_from(kind)
            .ok()
            .and_then(|kind| AccessKind::try_from(kind).ok())
            .ok_or_else(|| Failure::bad(format!("kind: {kind} is no memloupe_access_kind")))?;
        let refused = |text| Err(Failure::bad(text));
        if core as usize >= system.cores() {
            return refused(format!("core: {core} of {}", system.cores()));
        }
        if owner as usize >= system.owner_count() {
            return refused(format!("owner: {owner} of {}", system.owner_count()));
        }
        if !(1..=MAX_ACCESS_BYTES).contains(&size_bytes) {
            return refused(format!(
                "size_bytes: {size_bytes} is not from 1 to {MAX_ACCESS_BYTES}"
            ));
        }
        if address.checked_add(u64::from(size_bytes) - 1).is_none() {
            return refused(format!("address: {address:#x} + {size_bytes} B wraps around"));
        }
        Ok(Operand {
            address,
            stride: 0,
            bytes: size_bytes,
            kind,
            owner,
        })
    }
}

/// `memloupe_system_access`.
///
/// # Safety
/// `system` is NULL or a live handle, `access` NULL or readable, `answer` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_access(
    system: *mut SystemHandle,
    access: *const Access,
    answer: *mut Answer,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(system, |state| {
            let access = input(access, "access")?;
            let operand = access.operand(&state.system)?;
            let SystemState { system, listener, .. } = state;
            let traits = OwnerTraits {
                site: access.site(),
                object: access.owner,
                class: 0,
            };
            system.describe_owner(access.owner, traits);
            let found = system.access(access.core as usize, operand, listener);
            if let Some(answer) = answer.as_mut() {
                *answer = Answer {
                    level: found.level as u32,
                    reserved: 0,
                    latency_ns: found.latency_ns,
                };
            }
            Ok(())
        })
    }
}

/// `memloupe_system_flush`.
///
/// # Safety
/// `system` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_flush(system: *mut SystemHandle) -> Status {
    let flush = |state: &mut SystemState| {
        let SystemState { system, listener, .. } = state;
        system.flush_heard(listener);
        Ok(())
    };
    // SAFETY: this function's contract.
    unsafe { call(system, flush) }
}

/// `memloupe_system_statistics_json`.
///
/// # Safety
/// `system` is NULL or a live handle, `buffer` NULL or writable for `capacity_bytes`, `needed_bytes` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_statistics_json(
    system: *const SystemHandle,
    buffer: *mut c_char,
    capacity_bytes: usize,
    needed_bytes: *mut usize,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(system, |state| {
            let text = statistics::system::to_json(&state.system);
            give_text(text, buffer, capacity_bytes, needed_bytes)
        })
    }
}

/// `memloupe_system_statistic_count`.
///
/// # Safety
/// `system` is NULL or a live handle, `count` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_statistic_count(
    system: *const SystemHandle,
    count: *mut u32,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(system, |state| {
            *output(count, "count")? = state.names.len() as u32;
            Ok(())
        })
    }
}

/// `memloupe_system_statistic_about`.
///
/// # Safety
/// `system` is NULL or a live handle, `about` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_statistic_about(
    system: *const SystemHandle,
    index: u32,
    about: *mut Statistic,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(system, |state| {
            let about = output(about, "about")?;
            let count = state.names.len();
            let (name, unit, description) = state
                .names
                .get(index)
                .ok_or_else(|| Failure::bad(format!("index: {index} of {count}")))?;
            *about = Statistic {
                name: name.as_ptr(),
                unit: unit.as_ptr(),
                description: description.as_ptr(),
                is_count: 1,
                reserved: 0,
            };
            Ok(())
        })
    }
}

/// `memloupe_system_statistic`.
///
/// # Safety
/// `system` is NULL or a live handle, `name` NULL or a NUL-terminated text, `value` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memloupe_system_statistic(
    system: *const SystemHandle,
    name: *const c_char,
    value: *mut f64,
) -> Status {
    // SAFETY: this function's contract.
    unsafe {
        call(system, |state| {
            let name = text(name, "name")?;
            let value = output(value, "value")?;
            *value = statistics::system::value(&state.system, name)
                .ok_or_else(|| Failure::bad(format!("name: there is no statistic '{name}'")))?;
            Ok(())
        })
    }
}
