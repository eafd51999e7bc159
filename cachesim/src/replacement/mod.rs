//! Replacement policies: which line of a full set leaves, or that the new one had better not come in.
//!
//! One file per policy, each a [`Replacement`]; the table [`BUILTIN`] registers them, and names in machine files, error
//! messages and lists derive from it. [`opt`] is the bound that no policy can beat.

mod brrip;
mod drrip;
mod fifo;
mod hawkeye;
mod lfu;
#[allow(unsafe_code)]
mod loaded;
mod lru;
mod nru;
pub mod opt;
mod random;
mod rrpv;
mod ship;
mod srrip;
mod stamps;
mod tree_plru;

use std::path::Path;

use crate::plugin::{Plugin, PluginError};

/// The array that a policy works for.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Number of sets.
    pub sets: usize,
    /// Ways of each set, at most 64.
    pub ways: usize,
    /// Where policies that draw lots begin.
    pub seed: u64,
}

/// Who asks for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// A load or a read-modify-write, and below the first level what a miss of one asks for.
    Load = 0,
    /// A store.
    Store = 1,
    /// An instruction fetch.
    Fetch = 2,
    /// A software or hardware prefetch.
    Prefetch = 3,
    /// A victim of a level nearer to the core.
    Writeback = 4,
}

/// What a policy may know of an access.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The line; of a sectored cache the block of lines that share a tag.
    pub line: u64,
    /// The instruction that asked, by a number of the caller's choice; see [`crate::OwnerTraits`].
    pub site: u32,
    /// Why.
    pub purpose: Purpose,
}

/// The contract of a policy.
///
/// The cache finds lines and knows which ways are empty; the policy keeps whatever it needs per way and per set. For
/// each access the cache calls
/// - [`hit`](Replacement::hit), if the line is there; or
/// - [`fill`](Replacement::fill) with an empty way; or, if there is none,
/// - [`victim`](Replacement::victim), then [`leave`](Replacement::leave) for the way it chose, then `fill` for that way.
///   If it chose none, the line goes past this cache.
///
/// `leave` is also called for a line that is taken away by another cause: invalidation, or a move to another level.
/// Sets are independent of each other for the cache, not necessarily for the policy.
pub trait Replacement {
    /// Whether hits that are repeated in the same order change nothing more: what lets a loop that stays in its lines be
    /// simulated once.
    const REPEATED_HITS_ARE_IDLE: bool = false;
    /// The state of an empty cache.
    fn new(geometry: &Geometry) -> Self
    where
        Self: Sized;
    /// `request` found its line in `way` of `set`.
    fn hit(&mut self, set: usize, way: usize, request: &Request);
    /// The line of `request` was put into `way` of `set`.
    fn fill(&mut self, set: usize, way: usize, request: &Request);
    /// The way that shall make room, one of `candidates` (bit w stands for way w; never zero); or `None`, to let the
    /// line of `request` go past the cache. An inclusive cache takes the lowest candidate instead of `None`.
    fn victim(&mut self, set: usize, candidates: u64, request: &Request) -> Option<usize>;
    /// The line in `way` of `set` is gone.
    fn leave(&mut self, set: usize, way: usize) {
        let _ = (set, way);
    }
}

/// The ways of a mask, lowest first.
#[inline]
pub(crate) fn ways_of(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let way = mask.trailing_zeros() as usize;
        (mask != 0).then(|| {
            mask &= mask - 1;
            way
        })
    })
}

/// A kind of policy: a line of [`BUILTIN`], or from a library.
pub struct Builtin {
    /// What machine files call it.
    pub name: &'static str,
    /// What it is, for lists.
    pub summary: &'static str,
    make: Make,
}

/// How a kind makes a policy.
enum Make {
    Builtin(fn(&Geometry) -> Policy),
    Loaded(Plugin<loaded::CReplacement>),
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
    pub(crate) fn build(&self, geometry: &Geometry) -> Result<Policy, PluginError> {
        match &self.make {
            Make::Builtin(build) => Ok(build(geometry)),
            Make::Loaded(plugin) => loaded::Loaded::new(plugin, geometry).map(Policy::Loaded),
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

/// The policy of plain caches.
pub const LRU: &Builtin = &BUILTIN[0];

/// The policy of this name.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|builtin| builtin.name == name)
}

/// A policy of the library at `library`, an absolute path, with its parameters. It is never unloaded.
pub fn load(library: &Path, parameters: &str) -> Result<&'static Builtin, PluginError> {
    let plugin = Plugin::load(library, parameters)?;
    Ok(Box::leak(Box::new(Builtin {
        name: Box::leak(library.display().to_string().into_boxed_str()),
        summary: "from a library",
        make: Make::Loaded(plugin),
    })))
}

macro_rules! policies {
    ($($name:literal $variant:ident($type:ty): $summary:literal,)*) => {
        /// Every policy there is.
        pub const BUILTIN: &[Builtin] = &[$(Builtin {
            name: $name,
            summary: $summary,
            make: Make::Builtin(|geometry| Policy::$variant(<$type>::new(geometry))),
        }),*];

        /// A policy at work. An enum, so that an access costs a branch that is always taken alike and no virtual call.
        #[derive(Debug)]
        pub(crate) enum Policy {
            $($variant($type),)*
            Loaded(loaded::Loaded),
        }

        impl Policy {
            pub(crate) fn repeated_hits_are_idle(&self) -> bool {
                match self {
                    $(Policy::$variant(_) => <$type>::REPEATED_HITS_ARE_IDLE,)*
                    Policy::Loaded(_) => false,
                }
            }

            #[inline(always)]
            pub(crate) fn hit(&mut self, set: usize, way: usize, request: &Request) {
                match self {
                    $(Policy::$variant(policy) => policy.hit(set, way, request),)*
                    Policy::Loaded(policy) => policy.hit(set, way, request),
                }
            }

            #[inline(always)]
            pub(crate) fn fill(&mut self, set: usize, way: usize, request: &Request) {
                match self {
                    $(Policy::$variant(policy) => policy.fill(set, way, request),)*
                    Policy::Loaded(policy) => policy.fill(set, way, request),
                }
            }

            #[inline(always)]
            pub(crate) fn victim(&mut self, set: usize, candidates: u64, request: &Request) -> Option<usize> {
                match self {
                    $(Policy::$variant(policy) => policy.victim(set, candidates, request),)*
                    Policy::Loaded(policy) => policy.victim(set, candidates, request),
                }
            }

            #[inline(always)]
            pub(crate) fn leave(&mut self, set: usize, way: usize) {
                match self {
                    $(Policy::$variant(policy) => policy.leave(set, way),)*
                    Policy::Loaded(policy) => policy.leave(set, way),
                }
            }
        }
    };
}

policies! {
    "lru" Lru(lru::Lru): "least recently used",
    "tree-plru" TreePlru(tree_plru::TreePlru): "a binary tree of bits per set that points away from recent ways",
    "nru" Nru(nru::Nru): "not recently used, also called bit-PLRU: one bit per way",
    "fifo" Fifo(fifo::Fifo): "first in, first out",
    "random" Random(random::Random): "uniformly random, seeded",
    "lfu" Lfu(lfu::Lfu): "least frequently used since it came in",
    "srrip" Srrip(srrip::Srrip): "static re-reference interval prediction, 2 bits",
    "brrip" Brrip(brrip::Brrip): "bimodal re-reference interval prediction, 2 bits",
    "drrip" Drrip(drrip::Drrip): "set duelling between srrip and brrip",
    "ship" Ship(ship::Ship): "signature-based hit prediction by instruction, over srrip",
    "hawkeye" Hawkeye(hawkeye::Hawkeye): "learns by instruction what Belady's OPT would have kept",
}
