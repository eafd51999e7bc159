//! Hardware prefetchers: which lines a cache asks for before the program does.
//!
//! One file per prefetcher, each a [`Prefetcher`]; the table [`BUILTIN`] registers them, and names in machine files, error
//! messages and lists derive from it.

mod ampm;
mod best_offset;
#[allow(unsafe_code)]
mod loaded;
mod next_line;
mod sms;
mod spp;
mod stream;
mod stride;

use std::path::Path;

use crate::plugin::{Plugin, PluginError};

/// Prefetchers in hardware see physical addresses, so none of them follows a pattern out of a page of this size.
pub const PAGE_BYTES: u32 = 4096;

/// The cache that a prefetcher works for.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Lines of a page: a power of two.
    pub page_lines: u64,
}

/// An access that reached the cache: by the program or, below the first level, by a miss of it.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The line.
    pub line: u64,
    /// The instruction that asked, by a number of the caller's choice; see [`crate::OwnerTraits`].
    pub site: u32,
    /// Whether the line was there.
    pub hit: bool,
    /// Whether it was there because of a prefetch and is used for the first time.
    pub first_use: bool,
}

impl Access {
    /// Whether the access would have missed without the prefetcher: what prefetchers learn from.
    #[must_use]
    pub fn is_news(&self) -> bool {
        !self.hit || self.first_use
    }
}

/// The most lines that one access may ask for.
pub const MOST_REQUESTS: usize = 64;

/// The lines that a prefetcher asks for on an access, in order.
#[derive(Debug)]
pub struct Requests {
    page: u64,
    page_shift: u32,
    lines: [u64; MOST_REQUESTS],
    count: usize,
}

impl Requests {
    pub(crate) fn new(geometry: &Geometry, line: u64) -> Self {
        let page_shift = geometry.page_lines.trailing_zeros();
        Self {
            page: line >> page_shift,
            page_shift,
            lines: [0; MOST_REQUESTS],
            count: 0,
        }
    }

    /// Asks for `line`; returns whether it lies in the access's page. Others are dropped, as are more than
    /// [`MOST_REQUESTS`].
    pub fn push(&mut self, line: u64) -> bool {
        let inside = line >> self.page_shift == self.page;
        if inside && self.count < MOST_REQUESTS {
            self.lines[self.count] = line;
            self.count += 1;
        }
        inside
    }

    fn page_lines(&self) -> u64 {
        1 << self.page_shift
    }

    pub(crate) fn lines(&self) -> &[u64] {
        &self.lines[..self.count]
    }
}

/// The contract of a prefetcher.
///
/// The cache shows it every demand access in order and asks for what it wants, after the access: lines that are there
/// already are dropped, others are fetched from the next level. `filled` and `left` follow whatever comes in and leaves,
/// by demand or prefetch.
pub trait Prefetcher {
    /// The state before any access.
    fn new(geometry: &Geometry) -> Self
    where
        Self: Sized;
    /// An access; what shall be prefetched goes to `requests`.
    fn access(&mut self, access: &Access, requests: &mut Requests);
    /// `line` came in.
    fn filled(&mut self, line: u64, prefetched: bool) {
        let _ = (line, prefetched);
    }
    /// `line` was replaced or taken away.
    fn left(&mut self, line: u64) {
        let _ = line;
    }
}

/// A kind of prefetcher: a line of [`BUILTIN`], or from a library.
pub struct Builtin {
    /// What machine files call it.
    pub name: &'static str,
    /// What it is, for lists.
    pub summary: &'static str,
    make: Make,
}

/// How a kind makes a prefetcher.
enum Make {
    Builtin(fn(&Geometry) -> Engine),
    Loaded(Plugin<loaded::CPrefetcher>),
}

impl PartialEq for Builtin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.parameters() == other.parameters()
    }
}

impl Eq for Builtin {}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Builtin {
    /// The model at work, or why its library could not make it.
    pub(crate) fn build(&self, geometry: &Geometry) -> Result<Engine, PluginError> {
        match &self.make {
            Make::Builtin(build) => Ok(build(geometry)),
            Make::Loaded(plugin) => loaded::Loaded::new(plugin, geometry).map(Engine::Loaded),
        }
    }

    /// The parameters that its library gets; empty if it is built in.
    #[must_use]
    pub fn parameters(&self) -> &str {
        match &self.make {
            Make::Builtin(_) => "",
            Make::Loaded(plugin) => plugin.parameters(),
        }
    }
}

/// A prefetcher of the library at `library`, an absolute path, with its parameters. It is never unloaded.
pub fn load(library: &Path, parameters: &str) -> Result<&'static Builtin, PluginError> {
    let plugin = Plugin::load(library, parameters)?;
    Ok(Box::leak(Box::new(Builtin {
        name: Box::leak(library.display().to_string().into_boxed_str()),
        summary: "from a library",
        make: Make::Loaded(plugin),
    })))
}

macro_rules! prefetchers {
    ($($name:literal $variant:ident($type:ty): $summary:literal,)*) => {
        /// Every prefetcher there is.
        pub const BUILTIN: &[Builtin] = &[$(Builtin {
            name: $name,
            summary: $summary,
            make: Make::Builtin(|geometry| Engine::$variant(<$type>::new(geometry))),
        }),*];

        /// A prefetcher at work; an enum for the same reason as the replacement policies.
        #[derive(Debug)]
        pub(crate) enum Engine {
            $($variant($type),)*
            Loaded(loaded::Loaded),
        }

        impl Engine {
            pub(crate) fn access(&mut self, access: &Access, requests: &mut Requests) {
                match self {
                    $(Engine::$variant(engine) => engine.access(access, requests),)*
                    Engine::Loaded(engine) => engine.access(access, requests),
                }
            }

            pub(crate) fn filled(&mut self, line: u64, prefetched: bool) {
                match self {
                    $(Engine::$variant(engine) => engine.filled(line, prefetched),)*
                    Engine::Loaded(engine) => engine.filled(line, prefetched),
                }
            }

            pub(crate) fn left(&mut self, line: u64) {
                match self {
                    $(Engine::$variant(engine) => engine.left(line),)*
                    Engine::Loaded(engine) => engine.left(line),
                }
            }
        }
    };
}

prefetchers! {
    "next-line" NextLine(next_line::NextLine): "the next line after a miss or the first use of a prefetched line",
    "stride" Stride(stride::Stride): "constant strides by instruction",
    "stream" Stream(stream::Stream): "runs of neighbouring lines, in either direction",
    "best-offset" BestOffset(best_offset::BestOffset): "the offset that would have been in time most often",
    "spp" Spp(spp::Spp): "signature path: sequences of deltas in a page, as far ahead as they are sure",
    "ampm" Ampm(ampm::Ampm): "access map pattern matching: any stride in a map of the page",
    "sms" Sms(sms::Sms): "spatial memory streaming: the footprint that an instruction left in a region last time",
}

/// A hash of an instruction or a page to `bits` bits: the high bits of a product with 2³² / golden ratio.
fn hash(value: u64, bits: u32) -> usize {
    ((value as u32 ^ (value >> 32) as u32).wrapping_mul(0x9e37_79b9) >> (u32::BITS - bits)) as usize
}
