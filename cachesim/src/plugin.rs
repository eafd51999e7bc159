//! Models of a user's own, loaded from shared libraries. The contract is `ffi/include/memloupe_plugin.h`; the tables here
//! are those of that header.
//!
//! Other crates load kinds of their own through [`Plugin`], by a [`Table`].
//!
//! A library that is loaded stays loaded: the tables and the code that they name are there for as long as the program.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libloading::Library;

/// The version of the header that is understood.
const VERSION: u32 = 1;

/// Why a model could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginError {
    /// The library cannot be opened.
    Library {
        /// Its path.
        library: PathBuf,
        /// What the loader says.
        message: String,
    },
    /// It does not bring a model of this kind.
    NoSymbol {
        /// Its path.
        library: PathBuf,
        /// The function that it lacks.
        symbol: &'static str,
    },
    /// It was compiled with a header of another version.
    Version {
        /// Its path.
        library: PathBuf,
        /// The header's version.
        version: u32,
    },
    /// Its table lacks a function that every model of the kind needs.
    NoFunction {
        /// Its path.
        library: PathBuf,
        /// The member of the table.
        function: &'static str,
    },
    /// It could not make a model.
    Create {
        /// Its path.
        library: PathBuf,
        /// What it says.
        message: String,
    },
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginError::Library { library, message } => {
                write!(f, "{}: cannot be loaded: {message}", library.display())
            }
            PluginError::NoSymbol { library, symbol } => {
                write!(f, "{}: exports no function {symbol}", library.display())
            }
            PluginError::Version { library, version } => write!(
                f,
                "{}: compiled for version {version} of memloupe_plugin.h, this is version {VERSION}: compile it again",
                library.display()
            ),
            PluginError::NoFunction { library, function } => {
                write!(f, "{}: its table has no {function}", library.display())
            }
            PluginError::Create { library, message } => {
                write!(f, "{}: cannot be created: {message}", library.display())
            }
        }
    }
}

impl std::error::Error for PluginError {}

/// A table of functions as the header declares it.
///
/// # Safety
/// The type begins with a `u32`, the version, and is what a library of [`VERSION`] returns from the function `SYMBOL`.
pub unsafe trait Table: Sized + 'static {
    /// The function that returns it.
    const SYMBOL: &'static str;
    /// The first function that it lacks and must have.
    fn lacks(&self) -> Option<&'static str>;
    /// What ends the state of a model.
    fn destroy(&self) -> Option<unsafe extern "C" fn(*mut c_void)>;
}

/// A library with the parameters that its models get.
#[derive(Debug)]
pub struct Plugin<T: Table> {
    library: PathBuf,
    parameters: CString,
    table: &'static T,
}

impl<T: Table> Plugin<T> {
    /// Loads it.
    ///
    /// # Errors
    /// If there is none of this kind at `library`.
    pub fn load(library: &Path, parameters: &str) -> Result<Self, PluginError> {
        Ok(Self {
            library: library.into(),
            parameters: CString::new(parameters).map_err(|_| PluginError::Create {
                library: library.into(),
                message: "its parameters contain a zero byte".into(),
            })?,
            table: table(library)?,
        })
    }

    /// As they were given.
    pub fn parameters(&self) -> &str {
        self.parameters.to_str().unwrap_or_default()
    }

    /// A model of the library. `make` calls its function for that, which takes the parameters, a buffer for a complaint and
    /// the buffer's size.
    ///
    /// # Errors
    /// What the library says if it can't make one.
    pub fn create(
        &self,
        make: impl FnOnce(&T, *const c_char, *mut c_char, usize) -> *mut c_void,
    ) -> Result<Model<T>, PluginError> {
        let mut complaint = Complaint([0; ERROR_BYTES]);
        let to = complaint.0.as_mut_ptr().cast();
        let state = make(self.table, self.parameters.as_ptr(), to, ERROR_BYTES);
        let state = NonNull::new(state).ok_or_else(|| PluginError::Create {
            library: self.library.clone(),
            message: complaint.text(),
        })?;
        Ok(Model {
            table: self.table,
            state,
        })
    }
}

/// A model at work: the library's functions and what they work on.
#[derive(Debug)]
pub struct Model<T: Table> {
    /// The library's functions.
    pub table: &'static T,
    state: NonNull<c_void>,
}

// SAFETY: the header lets calls with one state come from any thread, one after the other: each needs `&mut self`.
unsafe impl<T: Table> Send for Model<T> {}
// SAFETY: nothing is called through a shared reference.
unsafe impl<T: Table> Sync for Model<T> {}

impl<T: Table> Model<T> {
    /// What the library's functions take first: valid for calls until the model is dropped.
    pub fn state(&mut self) -> *mut c_void {
        self.state.as_ptr()
    }
}

impl<T: Table> Drop for Model<T> {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy() {
            // SAFETY: the state is what the library made, and this is the last call with it.
            unsafe { destroy(self.state.as_ptr()) }
        }
    }
}

/// The table of a kind that `library` exports.
fn table<T: Table>(library: &Path) -> Result<&'static T, PluginError> {
    let no_symbol = || PluginError::NoSymbol {
        library: library.into(),
        symbol: T::SYMBOL,
    };
    // SAFETY: what a library does when it is loaded can't be known; that the user names it is the user's consent.
    let opened = unsafe { Library::new(library) }.map_err(|error| PluginError::Library {
        library: library.into(),
        message: error.to_string(),
    })?;
    let opened = ManuallyDrop::new(opened);
    // SAFETY: the header declares the function with this type.
    let symbol = unsafe { opened.get::<unsafe extern "C" fn() -> *const T>(T::SYMBOL.as_bytes()) };
    let symbol = symbol.map_err(|_| no_symbol())?;
    // SAFETY: as above; the library is never unloaded.
    let table = unsafe { symbol() };
    if table.is_null() || !table.is_aligned() {
        return Err(no_symbol());
    }
    // SAFETY: a table of any version begins with its version.
    let version = unsafe { *table.cast::<u32>() };
    if version != VERSION {
        return Err(PluginError::Version {
            library: library.into(),
            version,
        });
    }
    // SAFETY: the version says that it is such a table; it lives as long as the library, which is never unloaded.
    let table = unsafe { &*table };
    match table.lacks() {
        None => Ok(table),
        Some(function) => Err(PluginError::NoFunction {
            library: library.into(),
            function,
        }),
    }
}

const ERROR_BYTES: usize = 256;

/// Where a library writes why it could not make a model.
struct Complaint([u8; ERROR_BYTES]);

impl Complaint {
    fn text(&self) -> String {
        let text = CStr::from_bytes_until_nul(&self.0).map_or(self.0.as_slice(), CStr::to_bytes);
        match text {
            [] => "the library does not say why".into(),
            text => String::from_utf8_lossy(text).replace(['\n', '\r'], " "),
        }
    }
}
