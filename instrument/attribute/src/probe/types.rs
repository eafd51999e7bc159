//! Types as DWARF describes them, and those that a preset states.

use std::rc::Rc;

use gimli::constants as c;
use gimli::{AttributeValue, UnitOffset};

use super::dwarf::{CHAIN_MAX, Debug, Unit, broken};

/// Structs and arrays nested deeper than this are taken for damage.
const NESTING_MAX: usize = 16;

/// A type.
#[derive(Clone)]
pub(super) enum TypeRef<'d> {
    Void,
    /// DWARF's entry for it.
    Entry(Rc<Unit<'d>>, UnitOffset),
    /// What a preset states of a parameter.
    Stated(Stated),
    /// What a stated text points to.
    Character,
}

/// What a preset can state of a parameter where there is no debug information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stated {
    /// A pointer to a text that ends in a zero byte.
    Text,
    /// A pointer: to addresses, of more pointers or of texts, as it is used.
    Pointer,
    /// An integer.
    Integer { bytes: u64, signed: bool },
}

/// What a type is, typedefs and qualifiers taken off.
pub(super) enum Type<'d> {
    Void,
    Integer {
        bytes: u64,
        signed: bool,
    },
    Character,
    Float {
        bytes: u64,
    },
    Pointer(TypeRef<'d>),
    Enum {
        bytes: u64,
        signed: bool,
    },
    Struct {
        what: &'static str,
        name: String,
        bytes: u64,
        complete: bool,
    },
    Array {
        element: TypeRef<'d>,
        extents: Vec<u64>,
        vector: bool,
    },
    Other(String),
}

/// A member of a struct.
pub(super) struct Member<'d> {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) ty: TypeRef<'d>,
}

impl<'d> Debug<'d> {
    /// What a type is.
    pub(super) fn peel(&self, ty: &TypeRef<'d>) -> Result<Type<'d>, String> {
        let ty = self.undecorated(ty)?;
        let (unit, offset) = match &ty {
            TypeRef::Void => return Ok(Type::Void),
            TypeRef::Character => return Ok(Type::Character),
            TypeRef::Stated(Stated::Text) => return Ok(Type::Pointer(TypeRef::Character)),
            TypeRef::Stated(Stated::Pointer) => return Ok(Type::Pointer(TypeRef::Stated(Stated::Pointer))),
            TypeRef::Stated(Stated::Integer { bytes, signed }) => {
                return Ok(Type::Integer {
                    bytes: *bytes,
                    signed: *signed,
                });
            }
            TypeRef::Entry(unit, offset) => (unit, offset),
        };
        let die = unit.entry(*offset).map_err(broken)?;
        let bytes = die
            .attr_value(c::DW_AT_byte_size)
            .and_then(|value| value.udata_value())
            .unwrap_or(0);
        Ok(match die.tag() {
            c::DW_TAG_pointer_type | c::DW_TAG_reference_type | c::DW_TAG_rvalue_reference_type => {
                Type::Pointer(self.type_of(unit, &die)?)
            }
            c::DW_TAG_base_type => match die.attr_value(c::DW_AT_encoding) {
                Some(AttributeValue::Encoding(c::DW_ATE_float | c::DW_ATE_complex_float)) => {
                    Type::Float { bytes }
                }
                Some(AttributeValue::Encoding(c::DW_ATE_signed_char | c::DW_ATE_unsigned_char))
                    if self.name(unit, &die)?.as_deref() == Some("char") =>
                {
                    Type::Character
                }
                Some(AttributeValue::Encoding(encoding)) => Type::Integer {
                    bytes,
                    signed: matches!(encoding, c::DW_ATE_signed | c::DW_ATE_signed_char),
                },
                _ => Type::Other("base type without encoding".to_owned()),
            },
            c::DW_TAG_enumeration_type => {
                // Without an underlying type it is signed as soon as one value is negative.
                let signed = self.enumerators(&ty)?.iter().any(|(value, _)| *value < 0);
                Type::Enum { bytes, signed }
            }
            tag @ (c::DW_TAG_structure_type | c::DW_TAG_class_type | c::DW_TAG_union_type) => Type::Struct {
                what: match tag {
                    c::DW_TAG_union_type => "union",
                    c::DW_TAG_class_type => "class",
                    _ => "struct",
                },
                name: self.name(unit, &die)?.unwrap_or_else(|| "(unnamed)".to_owned()),
                bytes,
                complete: die.attr(c::DW_AT_declaration).is_none(),
            },
            c::DW_TAG_array_type => Type::Array {
                element: self.type_of(unit, &die)?,
                extents: extents(unit, *offset)?,
                vector: die.attr(c::DW_AT_GNU_vector).is_some(),
            },
            tag => Type::Other(tag.static_string().unwrap_or("unknown entry").to_owned()),
        })
    }

    /// Bytes of a value of a type; 0 if it has none.
    pub(super) fn bytes(&self, ty: &TypeRef<'d>) -> Result<u64, String> {
        let mut ty = ty.clone();
        let mut count = 1u64;
        for _ in 0..NESTING_MAX {
            let bytes = match self.peel(&ty)? {
                Type::Void | Type::Other(_) => 0,
                Type::Character => 1,
                Type::Pointer(_) => 8,
                Type::Integer { bytes, .. }
                | Type::Float { bytes }
                | Type::Enum { bytes, .. }
                | Type::Struct { bytes, .. } => bytes,
                Type::Array { element, extents, .. } => {
                    count = extents
                        .iter()
                        .fold(count, |count, extent| count.saturating_mul(*extent));
                    ty = element;
                    continue;
                }
            };
            return Ok(bytes.checked_mul(count).unwrap_or(0));
        }
        Ok(0)
    }

    /// The members of a struct, those it inherits and those of unnamed members included. Virtual bases and bit fields
    /// are left out: they have no fixed byte offset.
    pub(super) fn members(&self, ty: &TypeRef<'d>) -> Result<Vec<Member<'d>>, String> {
        let mut members = Vec::new();
        self.collect_members(ty, 0, 0, &mut members)?;
        Ok(members)
    }

    fn collect_members(
        &self,
        ty: &TypeRef<'d>,
        base: u64,
        depth: usize,
        members: &mut Vec<Member<'d>>,
    ) -> Result<(), String> {
        let TypeRef::Entry(unit, offset) = self.undecorated(ty)? else {
            return Ok(());
        };
        if depth > NESTING_MAX {
            return Err("debug information is damaged: a struct contains itself".to_owned());
        }
        let mut tree = unit.entries_tree(Some(offset)).map_err(broken)?;
        let mut children = tree.root().map_err(broken)?.children();
        while let Some(child) = children.next().map_err(broken)? {
            let child = child.entry();
            let location = child.attr_value(c::DW_AT_data_member_location);
            let is_static = child.attr(c::DW_AT_declaration).is_some();
            let is_bit_field =
                child.attr(c::DW_AT_bit_size).is_some() || child.attr(c::DW_AT_data_bit_offset).is_some();
            if !matches!(child.tag(), c::DW_TAG_member | c::DW_TAG_inheritance) || is_static || is_bit_field {
                continue;
            }
            let offset = match location {
                None => 0, // a union's member
                Some(value) => match value.udata_value() {
                    Some(offset) => offset,
                    None => continue, // a virtual base
                },
            };
            let ty = self.type_of(&unit, child)?;
            match self.name(&unit, child)? {
                Some(name) if child.tag() == c::DW_TAG_member => {
                    members.push(Member {
                        name,
                        offset: base.saturating_add(offset),
                        ty,
                    });
                }
                _ => self.collect_members(&ty, base.saturating_add(offset), depth + 1, members)?,
            }
        }
        Ok(())
    }

    /// Whether C++ passes a value of this type by reference.
    pub(super) fn is_passed_by_reference(&self, ty: &TypeRef<'d>) -> Result<bool, String> {
        let ty = self.undecorated(ty)?;
        let TypeRef::Entry(unit, offset) = &ty else {
            return Ok(false);
        };
        let die = unit.entry(*offset).map_err(broken)?;
        match die.attr_value(c::DW_AT_calling_convention) {
            Some(AttributeValue::CallingConvention(how)) => Ok(how == c::DW_CC_pass_by_reference),
            // Not every compiler notes it (GCC 12 does not).
            _ => self.is_destroyed(&ty, 0),
        }
    }

    /// Whether a class or a part of it has a destructor of its own.
    fn is_destroyed(&self, ty: &TypeRef<'d>, depth: usize) -> Result<bool, String> {
        let TypeRef::Entry(unit, offset) = self.undecorated(ty)? else {
            return Ok(false);
        };
        let mut tree = unit.entries_tree(Some(offset)).map_err(broken)?;
        let root = tree.root().map_err(broken)?;
        match root.entry().tag() {
            _ if depth > NESTING_MAX => return Ok(false),
            c::DW_TAG_array_type => return self.is_destroyed(&self.type_of(&unit, root.entry())?, depth + 1),
            c::DW_TAG_structure_type | c::DW_TAG_class_type | c::DW_TAG_union_type => {}
            _ => return Ok(false),
        }
        let mut children = root.children();
        while let Some(child) = children.next().map_err(broken)? {
            let child = child.entry();
            let is_part = matches!(child.tag(), c::DW_TAG_member | c::DW_TAG_inheritance)
                && child.attr(c::DW_AT_declaration).is_none();
            let is_destructor = child.tag() == c::DW_TAG_subprogram
                && child.attr(c::DW_AT_artificial).is_none()
                && child.attr(c::DW_AT_defaulted).is_none()
                && self.name(&unit, child)?.is_some_and(|name| name.starts_with('~'));
            if is_destructor || is_part && self.is_destroyed(&self.type_of(&unit, child)?, depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An enum's values and names.
    pub(super) fn enumerators(&self, ty: &TypeRef<'d>) -> Result<Vec<(i64, String)>, String> {
        let mut enumerators = Vec::new();
        let TypeRef::Entry(unit, offset) = self.undecorated(ty)? else {
            return Ok(enumerators);
        };
        let mut tree = unit.entries_tree(Some(offset)).map_err(broken)?;
        let mut children = tree.root().map_err(broken)?.children();
        while let Some(child) = children.next().map_err(broken)? {
            let child = child.entry();
            // Forms of fixed size are unsigned here, whatever sign-extension their readers offer.
            let value = match child.attr_value_raw(c::DW_AT_const_value) {
                Some(AttributeValue::Data1(value)) => Some(i64::from(value)),
                Some(AttributeValue::Data2(value)) => Some(i64::from(value)),
                Some(AttributeValue::Data4(value)) => Some(i64::from(value)),
                Some(AttributeValue::Data8(value) | AttributeValue::Udata(value)) => Some(value as i64),
                Some(AttributeValue::Sdata(value)) => Some(value),
                _ => None,
            };
            if let (Some(value), Some(name)) = (value, self.name(&unit, child)?) {
                enumerators.push((value, name));
            }
        }
        Ok(enumerators)
    }

    /// The type's entry, typedefs and qualifiers taken off.
    fn undecorated(&self, ty: &TypeRef<'d>) -> Result<TypeRef<'d>, String> {
        let mut ty = ty.clone();
        for _ in 0..CHAIN_MAX {
            let TypeRef::Entry(unit, offset) = &ty else {
                return Ok(ty);
            };
            let die = unit.entry(*offset).map_err(broken)?;
            match die.tag() {
                c::DW_TAG_typedef
                | c::DW_TAG_const_type
                | c::DW_TAG_volatile_type
                | c::DW_TAG_restrict_type
                | c::DW_TAG_atomic_type => ty = self.type_of(unit, &die)?,
                _ => return Ok(ty),
            }
        }
        Err("debug information is damaged: a type refers to itself".to_owned())
    }
}

/// An array's element counts, outermost first; 0 where none is given.
fn extents(unit: &Unit<'_>, array: UnitOffset) -> Result<Vec<u64>, String> {
    let mut extents = Vec::new();
    let mut tree = unit.entries_tree(Some(array)).map_err(broken)?;
    let mut children = tree.root().map_err(broken)?.children();
    while let Some(child) = children.next().map_err(broken)? {
        let child = child.entry();
        if child.tag() == c::DW_TAG_subrange_type {
            let number = |attribute| child.attr(attribute).and_then(|value| value.udata_value());
            let upper = number(c::DW_AT_upper_bound).map(|last| last.wrapping_add(1));
            extents.push(number(c::DW_AT_count).or(upper).unwrap_or(0));
        }
    }
    Ok(extents)
}
