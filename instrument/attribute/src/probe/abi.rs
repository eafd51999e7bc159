//! Where a function's arguments are at its entry: the System V ABI for amd64, section 3.2.3.
//!
//! Scalars go to rdi, rsi, rdx, rcx, r8, r9; floating point goes to vector registers, which probes do not read; structs up
//! to 16 bytes go to registers by eightbytes, larger ones to the stack; C++ objects that are not trivially copied go by
//! reference; a large result takes rdi for its address. Where DWARF contradicts, DWARF is believed and the probe refused.

use super::dwarf::{Debug, EntryLocation, Function, Parameter};
use super::types::{Type, TypeRef};

/// Encoding numbers of the registers for integer arguments.
const INTEGER_REGISTERS: [u8; 6] = [7, 6, 2, 1, 8, 9];
const VECTOR_REGISTERS: usize = 8;
const RSP: u8 = 4;
/// Encoding numbers of DWARF's registers 0 to 7; the others are the same in both.
const FROM_DWARF: [u8; 8] = [0, 2, 1, 3, 6, 7, 5, 4];
/// A type of more eightbytes is in memory.
const EIGHTBYTES: usize = 2;

/// Where a value is when the function is entered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// `offset` bytes into a row of registers; `None` stands for a vector register.
    Registers { words: Vec<Option<u8>>, offset: u64 },
    /// At the end of a pointer chain, as in [`memloupe_stream::Fetch::Memory`].
    Memory { register: u8, offsets: Vec<i32> },
}

impl Place {
    fn stack(offset: i32) -> Self {
        Self::Memory {
            register: RSP,
            offsets: vec![offset],
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Eightbyte {
    Padding,
    Integer,
    Vector,
}

/// Where each parameter is, or why it can't be told.
pub(super) fn places<'d>(
    debug: &Debug<'d>,
    function: &Function<'d>,
    is_clone: bool,
) -> Result<Vec<Result<Place, String>>, String> {
    if is_clone || !function.follows_abi {
        return Ok(function.parameters.iter().map(by_dwarf).collect());
    }
    let mut integers = INTEGER_REGISTERS.iter().copied();
    let mut vectors = VECTOR_REGISTERS;
    let mut stack = 8; // above the return address
    if is_returned_in_memory(debug, &function.result)? {
        integers.next();
    }
    let mut places = Vec::new();
    for parameter in &function.parameters {
        let place = match eightbytes(debug, &parameter.ty)? {
            Passing::ByReference => match integers.next() {
                Some(register) => Place::Memory {
                    register,
                    offsets: vec![0],
                },
                None => {
                    stack += 8;
                    Place::Memory {
                        register: RSP,
                        offsets: vec![stack - 8, 0],
                    }
                }
            },
            Passing::Registers(words)
                if words.iter().filter(|word| **word == Eightbyte::Integer).count() <= integers.len()
                    && words.iter().filter(|word| **word == Eightbyte::Vector).count() <= vectors =>
            {
                let words = words.into_iter().map(|word| {
                    vectors -= usize::from(word == Eightbyte::Vector);
                    (word == Eightbyte::Integer).then(|| integers.next()).flatten()
                });
                Place::Registers {
                    words: words.collect(),
                    offset: 0,
                }
            }
            Passing::Registers(_) | Passing::Memory => {
                let too_large = || format!("argument `{}` is too large", parameter.name);
                let bytes = i32::try_from(debug.bytes(&parameter.ty)?).map_err(|_| too_large())?;
                let alignment = if alignment(debug, &parameter.ty, 0)? > 8 {
                    16
                } else {
                    8
                };
                // The caller's stack pointer, where arguments start, is a multiple of 16.
                let start = (stack - 8 + alignment - 1) / alignment * alignment + 8;
                stack = bytes.checked_add(start + 7).ok_or_else(too_large)? / 8 * 8;
                Place::stack(start)
            }
        };
        places.push(agree(parameter, place));
    }
    Ok(places)
}

/// A place by DWARF alone.
fn by_dwarf(parameter: &Parameter<'_>) -> Result<Place, String> {
    match parameter.location {
        EntryLocation::Register(register) if register < 16 => Ok(Place::Registers {
            words: vec![Some(amd64(register))],
            offset: 0,
        }),
        EntryLocation::Pointed(register) if register < 16 => Ok(Place::Memory {
            register: amd64(register),
            offsets: vec![0],
        }),
        EntryLocation::Stack(offset) => Ok(Place::stack(i32::try_from(offset).map_err(|_| "damaged")?)),
        _ => Err(format!(
            "the compiler changed this function's arguments and does not say where `{}` is at its entry",
            parameter.name
        )),
    }
}

/// The place by the ABI, unless DWARF says another.
fn agree(parameter: &Parameter<'_>, place: Place) -> Result<Place, String> {
    let agrees = match (parameter.location, &place) {
        (EntryLocation::Register(register), Place::Registers { words, .. }) if register < 16 => {
            words.first() == Some(&Some(amd64(register)))
        }
        (
            EntryLocation::Stack(offset),
            Place::Memory {
                register: RSP,
                offsets,
            },
        ) => offsets.len() > 1 || i64::from(offsets[0]) == offset,
        (
            EntryLocation::Pointed(register),
            Place::Memory {
                register: pointer, ..
            },
        ) => amd64(register) == *pointer,
        (EntryLocation::Pointed(_), Place::Registers { .. }) => false,
        (EntryLocation::Register(register), Place::Memory { .. }) => register >= 16,
        _ => true,
    };
    if agrees {
        Ok(place)
    } else {
        Err(format!(
            "argument `{}` is not where the calling convention puts it",
            parameter.name
        ))
    }
}

fn amd64(dwarf: u16) -> u8 {
    FROM_DWARF.get(usize::from(dwarf)).copied().unwrap_or(dwarf as u8)
}

enum Passing {
    Registers(Vec<Eightbyte>),
    Memory,
    ByReference,
}

fn is_returned_in_memory<'d>(debug: &Debug<'d>, result: &TypeRef<'d>) -> Result<bool, String> {
    Ok(match debug.peel(result)? {
        Type::Struct { .. } => !matches!(eightbytes(debug, result)?, Passing::Registers(_)),
        _ => false,
    })
}

fn eightbytes<'d>(debug: &Debug<'d>, ty: &TypeRef<'d>) -> Result<Passing, String> {
    let bytes = debug.bytes(ty)?;
    match debug.peel(ty)? {
        Type::Struct { .. } if debug.is_passed_by_reference(ty)? => return Ok(Passing::ByReference),
        Type::Struct {
            name,
            complete: false,
            ..
        } => {
            return Err(format!(
                "struct {name}, passed by value, is not described in its unit"
            ));
        }
        Type::Array { vector: true, .. } => return Ok(Passing::Registers(vec![Eightbyte::Vector])),
        Type::Struct { .. } if debug.members(ty)?.is_empty() && bytes <= 1 => {
            return Ok(Passing::Registers(Vec::new())); // an empty class is not passed
        }
        _ => {}
    }
    if bytes > 8 * EIGHTBYTES as u64 {
        return Ok(Passing::Memory);
    }
    let mut words = vec![Eightbyte::Padding; (bytes as usize).div_ceil(8).max(1)];
    Ok(if classify(debug, ty, 0, &mut words, 0)? {
        // What no member covers is a bit field's.
        let integer = |word| {
            if word == Eightbyte::Padding {
                Eightbyte::Integer
            } else {
                word
            }
        };
        Passing::Registers(words.into_iter().map(integer).collect())
    } else {
        Passing::Memory
    })
}

/// Enters a type's scalars into the eightbytes they lie in; false if the whole must be in memory.
fn classify<'d>(
    debug: &Debug<'d>,
    ty: &TypeRef<'d>,
    offset: u64,
    words: &mut [Eightbyte],
    depth: usize,
) -> Result<bool, String> {
    let bytes = debug.bytes(ty)?;
    let class = match debug.peel(ty)? {
        _ if depth > 16 => return Err("a struct passed by value is nested too deep".to_owned()),
        Type::Struct { .. } => {
            for member in debug.members(ty)? {
                if !classify(
                    debug,
                    &member.ty,
                    offset.saturating_add(member.offset),
                    words,
                    depth + 1,
                )? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Type::Array {
            element,
            vector: false,
            ..
        } => {
            let step = debug.bytes(&element)?.max(1);
            for at in (0..debug.bytes(ty)?).step_by(step as usize).take(16) {
                if !classify(debug, &element, offset + at, words, depth + 1)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Type::Float { bytes: 16.. } => return Ok(false), // x87
        Type::Float { .. } | Type::Array { .. } => Eightbyte::Vector,
        _ => Eightbyte::Integer,
    };
    if bytes == 0 || !offset.is_multiple_of(bytes) {
        return Ok(bytes == 0);
    }
    for word in words
        .iter_mut()
        .skip((offset / 8) as usize)
        .take((bytes as usize).div_ceil(8))
    {
        if *word != Eightbyte::Integer {
            *word = class;
        }
    }
    Ok(true)
}

fn alignment<'d>(debug: &Debug<'d>, ty: &TypeRef<'d>, depth: usize) -> Result<u64, String> {
    Ok(match debug.peel(ty)? {
        _ if depth > 16 => 8,
        Type::Struct { .. } => {
            let mut largest = 1;
            for member in debug.members(ty)? {
                largest = largest.max(alignment(debug, &member.ty, depth + 1)?);
            }
            largest
        }
        Type::Array {
            element,
            vector: false,
            ..
        } => alignment(debug, &element, depth + 1)?,
        _ => debug.bytes(ty)?,
    })
}
