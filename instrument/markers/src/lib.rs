//! Tells memloupe what a program does: operators, phases, data objects, regions. Outside of `memloupe run` each call
//! costs a branch, after one look-up of the names.
//!
//! ```
//! use memloupe_markers::{Class, Operator, Phase, object};
//! let weights = vec![0.5f32; 1024];
//! object(Class::Weight, "classifier", &weights);
//! let _phase = Phase::numbered("step", 0);
//! {
//!     let _operator = Operator::new("DOT").name("classifier").layer("head").begin();
//!     assert_eq!(weights.iter().sum::<f32>(), 512.0);
//! }
//! ```
//!
//! Operators belong to the thread that begins them, and to threads that it has started if these never begin any
//! themselves. They nest, and end in the reverse order. Phases belong to the process. Of each text, 127 bytes count.
//!
//! The same in C and C++: `memloupe/markers.h`; in Python: `import memloupe`.

#![allow(unsafe_code)] // calls functions that it looks up by name

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::mem::transmute;
use std::ptr;
use std::sync::LazyLock;

type Text = *const c_char;

/// Functions that do nothing, exported by what memloupe preloads: being called is what counts.
struct Markers {
    operator_begin: extern "C" fn(Text, Text, Text, Text, Text),
    operator_end: extern "C" fn(),
    phase_begin: extern "C" fn(Text, i64),
    phase_end: extern "C" fn(),
    object: extern "C" fn(Text, Text, *const c_void, u64),
    object_end: extern "C" fn(*const c_void),
    region_begin: extern "C" fn(Text),
    region_end: extern "C" fn(Text),
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

static MARKERS: LazyLock<Option<Markers>> = LazyLock::new(Markers::find);

impl Markers {
    fn find() -> Option<Self> {
        let symbol = |name: &CStr| -> Option<*mut c_void> {
            // SAFETY: a null handle stands for the default search order; the name ends in a zero byte.
            let address = unsafe { dlsym(ptr::null_mut(), name.as_ptr()) };
            (!address.is_null()).then_some(address)
        };
        // SAFETY: functions of these names have these types (`instrument/engine/src/marker.rs`).
        unsafe {
            Some(Self {
                operator_begin: transmute::<*mut c_void, extern "C" fn(Text, Text, Text, Text, Text)>(
                    symbol(c"memloupe_marker_operator_begin")?,
                ),
                operator_end: transmute::<*mut c_void, extern "C" fn()>(symbol(
                    c"memloupe_marker_operator_end",
                )?),
                phase_begin: transmute::<*mut c_void, extern "C" fn(Text, i64)>(symbol(
                    c"memloupe_marker_phase_begin",
                )?),
                phase_end: transmute::<*mut c_void, extern "C" fn()>(symbol(c"memloupe_marker_phase_end")?),
                object: transmute::<*mut c_void, extern "C" fn(Text, Text, *const c_void, u64)>(symbol(
                    c"memloupe_marker_object",
                )?),
                object_end: transmute::<*mut c_void, extern "C" fn(*const c_void)>(symbol(
                    c"memloupe_marker_object_end",
                )?),
                region_begin: transmute::<*mut c_void, extern "C" fn(Text)>(symbol(
                    c"memloupe_marker_region_begin",
                )?),
                region_end: transmute::<*mut c_void, extern "C" fn(Text)>(symbol(
                    c"memloupe_marker_region_end",
                )?),
            })
        }
    }
}

/// Whether anybody listens: for programs that would have to compute what they tell.
#[must_use]
pub fn is_listening() -> bool {
    MARKERS.is_some()
}

/// A C string; one with a zero byte inside ends there.
fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// An operator about to begin.
#[derive(Clone, Copy, Debug)]
#[must_use = "it begins with `begin`"]
pub struct Operator<'t> {
    kind: &'t str,
    name: &'t str,
    layer: &'t str,
    shape: &'t str,
    element_type: &'t str,
}

impl<'t> Operator<'t> {
    /// What it computes: `MATMUL`.
    pub fn new(kind: &'t str) -> Self {
        Self {
            kind,
            name: "",
            layer: "",
            shape: "",
            element_type: "",
        }
    }

    /// Its own name: `ffn_up-7`.
    pub fn name(self, name: &'t str) -> Self {
        Self { name, ..self }
    }

    /// The part of the model that it belongs to: `blk.7`.
    pub fn layer(self, layer: &'t str) -> Self {
        Self { layer, ..self }
    }

    /// The result's shape: `1536x16`.
    pub fn shape(self, shape: &'t str) -> Self {
        Self { shape, ..self }
    }

    /// Type of the result's elements: `F32`.
    pub fn element_type(self, element_type: &'t str) -> Self {
        Self { element_type, ..self }
    }

    /// It begins on this thread, and ends when the value returned is dropped.
    pub fn begin(self) -> Running {
        if let Some(markers) = &*MARKERS {
            let texts = [self.kind, self.name, self.layer, self.shape, self.element_type].map(c_string);
            let [kind, name, layer, shape, element_type] = texts.each_ref().map(|text| text.as_ptr());
            (markers.operator_begin)(kind, name, layer, shape, element_type);
        }
        Running {
            end: |markers| (markers.operator_end)(),
            of_thread: PhantomData,
        }
    }
}

/// Something that goes on until this is dropped.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Running {
    end: fn(&Markers),
    /// Dropped on another thread, it would end what goes on there.
    of_thread: PhantomData<*const ()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(markers) = &*MARKERS {
            (self.end)(markers);
        }
    }
}

/// Phases of the process.
#[derive(Debug)]
pub struct Phase;

impl Phase {
    /// A phase begins: `prefill`, `forward`, `backward`, `optimizer`. It ends when the value returned is dropped.
    pub fn begin(name: &str) -> Running {
        Self::with(name, -1)
    }

    /// One of many phases of a name begins, such as a step of training.
    pub fn numbered(name: &str, number: u32) -> Running {
        Self::with(name, i64::from(number))
    }

    fn with(name: &str, number: i64) -> Running {
        if let Some(markers) = &*MARKERS {
            (markers.phase_begin)(c_string(name).as_ptr(), number);
        }
        Running {
            end: |markers| (markers.phase_end)(),
            of_thread: PhantomData,
        }
    }
}

/// What data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Model parameters.
    Weight,
    /// Keys and values of past tokens.
    KvCache,
    /// Intermediate results.
    Activation,
    /// Gradients.
    Gradient,
    /// Optimizer state.
    OptimizerState,
    /// Input data.
    Input,
    /// Scratch memory.
    Workspace,
}

impl Class {
    fn word(self) -> &'static CStr {
        match self {
            Self::Weight => c"weight",
            Self::KvCache => c"kv-cache",
            Self::Activation => c"activation",
            Self::Gradient => c"gradient",
            Self::OptimizerState => c"optimizer-state",
            Self::Input => c"input",
            Self::Workspace => c"workspace",
        }
    }
}

/// Data gets a name, until its memory is freed or named anew, or [`object_end`] is called.
pub fn object<T>(class: Class, name: &str, data: &[T]) {
    if let Some(markers) = &*MARKERS {
        let bytes = size_of_val(data) as u64;
        (markers.object)(
            class.word().as_ptr(),
            c_string(name).as_ptr(),
            data.as_ptr().cast(),
            bytes,
        );
    }
}

/// Data loses the name that [`object`] gave to it.
pub fn object_end<T>(data: &[T]) {
    if let Some(markers) = &*MARKERS {
        (markers.object_end)(data.as_ptr().cast());
    }
}

/// Runs a part of the program as a region for `memloupe run --region marker=NAME`.
pub fn region<R>(name: &str, part: impl FnOnce() -> R) -> R {
    let Some(markers) = &*MARKERS else { return part() };
    let name = c_string(name);
    (markers.region_begin)(name.as_ptr());
    let result = part();
    (markers.region_end)(name.as_ptr());
    result
}
