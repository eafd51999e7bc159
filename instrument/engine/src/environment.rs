//! The environment: what memloupe has put there for the engine, and that it goes on to the program that the target
//! becomes by `exec`. `env -i` and its like would lose it, and the rest of the target would go unrecorded.
//!
//! The new program sees the two variables even where natively its environment would be empty.

use std::ffi::{CStr, c_char};

use crate::lock::Lock;
use crate::stream::FD_VARIABLE;
use crate::system;

const PRELOAD: &str = "LD_PRELOAD";
const PAGE_BYTES: u64 = 4096;

/// Where the engine's library and the stream are.
struct Own {
    library: Vec<u8>,
    descriptor: Vec<u8>,
}

static OWN: Lock<Option<Own>> = Lock::new(None);

/// The value of an environment variable.
///
/// # Safety
/// `environment` is a list of C strings that ends in a null pointer.
pub(crate) unsafe fn variable(environment: *const *const c_char, name: &str) -> Option<&'static [u8]> {
    let mut entry = environment;
    // SAFETY: as the caller promises; the strings stay.
    unsafe {
        while !(*entry).is_null() {
            if let Some(value) = value(CStr::from_ptr(*entry).to_bytes(), name) {
                return Some(value);
            }
            entry = entry.add(1);
        }
    }
    None
}

fn value<'a>(entry: &'a [u8], name: &str) -> Option<&'a [u8]> {
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// The libraries of an `LD_PRELOAD`.
fn libraries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| matches!(byte, b':' | b' '))
}

/// Keeps what [`complete`] puts back.
///
/// # Safety
/// As for [`variable`].
pub(crate) unsafe fn keep(environment: *const *const c_char) {
    // SAFETY: as the caller promises.
    let (preload, descriptor) =
        unsafe { (variable(environment, PRELOAD), variable(environment, FD_VARIABLE)) };
    // The engine comes before what the target preloads itself.
    let library = preload.and_then(|value| libraries(value).next());
    if let (Some(library), Some(descriptor)) = (library, descriptor) {
        *OWN.lock() = Some(Own {
            library: library.to_vec(),
            descriptor: descriptor.to_vec(),
        });
    }
}

/// A list of environment strings like the one at `list`, with the engine's among them; nothing if they are there already, or
/// if the list can't be read. It stays: a successful `exec` leaves nothing behind.
pub(crate) fn complete(list: u64) -> Option<u64> {
    let own = OWN.lock();
    let own = own.as_ref()?;
    let mut entries = read_list(list)?;
    let mut preload = own.library.clone();
    let mut found = [false; 2];
    let mut stale = Vec::new();
    for (index, &entry) in entries.iter().enumerate() {
        let text = read_text(entry)?;
        if let Some(value) = value(&text, PRELOAD) {
            found[0] = libraries(value).any(|library| library == own.library);
            preload.push(b':');
            preload.extend_from_slice(value);
            stale.extend((!found[0]).then_some(index));
        } else if let Some(value) = value(&text, FD_VARIABLE) {
            found[1] = value == own.descriptor;
            stale.extend((!found[1]).then_some(index));
        }
    }
    if found == [true; 2] {
        return None;
    }
    for index in stale.into_iter().rev() {
        entries.remove(index);
    }
    let missing = [(PRELOAD, &preload), (FD_VARIABLE, &own.descriptor)];
    for ((name, value), found) in missing.into_iter().zip(found) {
        if !found {
            let text = [name.as_bytes(), b"=", value, b"\0"].concat();
            entries.push(text.leak().as_ptr() as u64);
        }
    }
    entries.push(0);
    Some(entries.leak().as_ptr() as u64)
}

/// The pointers of a list that ends in a null pointer. The kernel takes a null list for an empty one.
fn read_list(list: u64) -> Option<Vec<u64>> {
    let mut entries = Vec::new();
    if list == 0 {
        return Some(entries);
    }
    loop {
        let mut word = [0; 8];
        if !system::read_memory(list + entries.len() as u64 * 8, &mut word) {
            return None;
        }
        match u64::from_le_bytes(word) {
            0 => return Some(entries),
            entry => entries.push(entry),
        }
    }
}

/// A string of the target's, page by page: what lies behind its end may not be mapped.
fn read_text(address: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let at = address + text.len() as u64;
        let mut part = vec![0; (PAGE_BYTES - at % PAGE_BYTES) as usize];
        if !system::read_memory(at, &mut part) {
            return None;
        }
        let end = part.iter().position(|&byte| byte == 0);
        text.extend_from_slice(&part[..end.unwrap_or(part.len())]);
        if end.is_some() {
            return Some(text);
        }
    }
}
